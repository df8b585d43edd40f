//! The shared log as a stream.

use async_nats::HeaderMap;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::error::{SharedAppendError, Unavailable};
use super::super::place::{LogPlace, Subject};
use super::super::traits::{LogInfo, Message, QuorumLog, SharedIdentity, Stored};
use super::batch;
use super::connection::{NatsCallError, NatsConnection, is_conflict, is_rejection};
use super::stream::{self, StreamLimits};
use crate::model::AccountName;

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

    async fn publish(&self, expected: LogPlace, message: Message) -> Result<LogPlace, SharedAppendError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, expected.to_string().as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, self.stream.as_str());
        headers.insert(stream::CHAIN, message.chain.to_string().as_str());
        let subject = self.subject(message.subject);
        let stored = self.connection.publish(subject, headers, message.payload).await;
        match stored {
            Ok(Ok(place)) if place == expected + 1 => Ok(place),
            Ok(Ok(actual)) => Err(SharedAppendError::Misplaced { expected: expected + 1, actual }),
            Ok(Err((code, _))) if is_conflict(code) => Err(SharedAppendError::Conflict { expected }),
            Ok(Err((code, error))) if is_rejection(code) => Err(SharedAppendError::Rejected(error)),
            Ok(Err((_, error))) => Err(SharedAppendError::Unknown(error)),
            Err(NatsCallError::Rejected(error)) => Err(SharedAppendError::Rejected(error)),
            // While the nodes elect a leader, none of them responds for the stream.
            Err(error @ (NatsCallError::NoResponders | NatsCallError::Unknown(_))) => {
                Err(SharedAppendError::Unknown(Unavailable::from(error).0))
            }
        }
    }

    async fn create_log(&self, identity: SharedIdentity) -> Result<LogInfo, Unavailable> {
        stream::create(&self.connection, &stream::log_config(&self.account, identity, self.limits)).await?;
        let info = stream::info(&self.connection, &self.stream).await?;
        info.ok_or_else(|| Unavailable(format!("stream {} is not known yet", self.stream)))
    }
}

impl QuorumLog for NatsLog {
    fn info(&self) -> BoxFuture<'_, Result<Option<LogInfo>, Unavailable>> {
        stream::info(&self.connection, &self.stream).boxed()
    }

    fn create(&self, identity: SharedIdentity) -> BoxFuture<'_, Result<LogInfo, Unavailable>> {
        self.create_log(identity).boxed()
    }

    fn append(&self, expected: LogPlace, message: Message) -> BoxFuture<'_, Result<LogPlace, SharedAppendError>> {
        self.publish(expected, message).boxed()
    }

    fn read(&self, from: LogPlace, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, Unavailable>> {
        batch::read(&self.connection, &self.stream, from, bytes_max).boxed()
    }
}
