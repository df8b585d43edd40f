//! Messages between replicas over core NATS, on subjects outside of the stream.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::super::error::{RequestError, Unavailable};
use super::super::traits::{Bus, BusMessage, ReplyTo};
use super::connection::{NatsCallError, NatsConnection};
use crate::model::AccountName;

/// The bus of an account.
pub(super) struct NatsBus {
    connection: NatsConnection,
    prefix: String,
}

impl NatsBus {
    pub(super) fn new(connection: NatsConnection, account: &AccountName) -> Self {
        Self { connection, prefix: format!("psgw-{account}") }
    }

    async fn send(&self, subject: String, payload: Bytes) -> Result<(), Unavailable> {
        let NatsConnection { client, clock, call_timeout } = &self.connection;
        match clock.timeout(*call_timeout, client.publish(subject, payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Unavailable(error.to_string())),
            Err(_) => Err(Unavailable("queue of the connection is full".into())),
        }
    }

    async fn receive(&self, subject: String) -> Result<BoxStream<'static, BusMessage>, Unavailable> {
        let NatsConnection { client, clock, call_timeout } = &self.connection;
        let subscribing = async {
            let subscriber = client.subscribe(subject).await.map_err(|error| Unavailable(error.to_string()))?;
            // Until the server has it, messages would be lost.
            client.flush().await.map_err(|error| Unavailable(error.to_string()))?;
            Ok::<_, Unavailable>(subscriber)
        };
        let subscriber = clock.timeout(*call_timeout, subscribing).await;
        let subscriber = subscriber.map_err(|_| Unavailable("no answer in time".into()))??;
        let delivery = |message: async_nats::Message| BusMessage {
            payload: message.payload,
            reply_to: message.reply.map(|reply| ReplyTo(reply.to_string())),
        };
        Ok(subscriber.map(delivery).boxed())
    }
}

impl Bus for NatsBus {
    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), Unavailable>> {
        self.send(format!("{}.{subject}", self.prefix), payload).boxed()
    }

    fn subscribe<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<BoxStream<'static, BusMessage>, Unavailable>> {
        self.receive(format!("{}.{subject}", self.prefix)).boxed()
    }

    fn request<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Bytes, RequestError>> {
        async move {
            let answer = self.connection.call(format!("{}.{subject}", self.prefix), None, payload, limit).await;
            answer.map(|message| message.payload).map_err(|error| match error {
                NatsCallError::NoResponders => RequestError::NoResponders,
                NatsCallError::Unknown(_) => RequestError::Timeout,
                NatsCallError::Rejected(reason) => RequestError::Unavailable(Unavailable(reason)),
            })
        }
        .boxed()
    }

    fn respond<'a>(&'a self, to: &'a ReplyTo, payload: Bytes) -> BoxFuture<'a, Result<(), Unavailable>> {
        self.send(to.0.clone(), payload).boxed()
    }
}
