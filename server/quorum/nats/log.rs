//! The shared log as a stream.

use async_nats::HeaderMap;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::error::{AppendError, Unavailable};
use super::super::place::{Place, Subject};
use super::super::traits::{Log, LogInfo, Message, Stored};
use super::batch;
use super::connection::{CallError, NatsConnection, is_conflict, is_rejection};
use super::stream::{self, StreamLimits};
use crate::model::{AccountName, Epoch};

/// The log of an account.
pub(super) struct NatsLog {
    connection: NatsConnection,
    account: AccountName,
    stream: String,
    limits: StreamLimits,
}

impl NatsLog {
    pub(super) fn new(connection: NatsConnection, account: &AccountName, limits: StreamLimits) -> Self {
        Self { connection, account: account.clone(), stream: stream::log_name(account), limits }
    }

    fn subject(&self, subject: Subject) -> String {
        format!("psgw.{}.{}", self.account, stream::suffix(subject))
    }

    async fn publish(&self, expected: Place, message: Message) -> Result<Place, AppendError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, expected.to_string().as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, self.stream.as_str());
        headers.insert(stream::CHAIN, message.chain.to_string().as_str());
        let subject = self.subject(message.subject);
        let stored = self.connection.publish(subject, headers, message.payload).await;
        match stored {
            Ok(Ok(place)) if place == expected + 1 => Ok(place),
            Ok(Ok(actual)) => Err(AppendError::Misplaced { expected: expected + 1, actual }),
            Ok(Err((code, _))) if is_conflict(code) => Err(AppendError::Conflict { expected }),
            Ok(Err((code, error))) if is_rejection(code) => Err(AppendError::Rejected(error)),
            Ok(Err((_, error))) => Err(AppendError::Unknown(error)),
            Err(CallError::Rejected(error)) => Err(AppendError::Rejected(error)),
            // While the nodes elect a leader, none of them responds for the stream.
            Err(error @ (CallError::NoResponders | CallError::Unknown(_))) => {
                Err(AppendError::Unknown(Unavailable::from(error).0))
            }
        }
    }

    async fn create_log(&self, epoch: Epoch) -> Result<LogInfo, Unavailable> {
        stream::create(&self.connection, &stream::log_config(&self.account, epoch, self.limits)).await?;
        let info = stream::info(&self.connection, &self.stream).await?;
        info.ok_or_else(|| Unavailable(format!("stream {} is not known yet", self.stream)))
    }
}

impl Log for NatsLog {
    fn info(&self) -> BoxFuture<'_, Result<Option<LogInfo>, Unavailable>> {
        stream::info(&self.connection, &self.stream).boxed()
    }

    fn create(&self, epoch: Epoch) -> BoxFuture<'_, Result<LogInfo, Unavailable>> {
        self.create_log(epoch).boxed()
    }

    fn append(&self, expected: Place, message: Message) -> BoxFuture<'_, Result<Place, AppendError>> {
        self.publish(expected, message).boxed()
    }

    fn read(&self, from: Place, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, Unavailable>> {
        batch::read(&self.connection, &self.stream, from, bytes_max).boxed()
    }
}
