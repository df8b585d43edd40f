//! Keys as a bucket of NATS KV, by direct gets and expected sequences of the key's subject.

use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::error::{CompareAndSetError, Unavailable};
use super::super::traits::{KeyEntry, Revision, SharedKeys};
use super::batch::number;
use super::connection::{NatsCallError, NatsConnection, is_conflict, is_rejection};
use super::stream::{self, StreamLimits};
use crate::model::AccountName;

/// Status of a key without a value.
const NOT_FOUND: u16 = 404;

/// The keys of an account.
pub(super) struct NatsKeys {
    connection: NatsConnection,
    bucket: String,
    config: Config,
    /// The bucket was created or found. False again when no node responds: it may be gone.
    is_created: AtomicBool,
}

impl NatsKeys {
    pub(super) fn new(connection: NatsConnection, account: &AccountName, limits: StreamLimits) -> Self {
        let (bucket, config) = (stream::bucket_name(account), stream::bucket_config(account, limits));
        Self { connection, bucket, config, is_created: AtomicBool::new(false) }
    }

    async fn create(&self) -> Result<(), Unavailable> {
        if !self.is_created.load(Ordering::Relaxed) {
            stream::create(&self.connection, &self.config).await?;
            self.is_created.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn failed(&self, error: NatsCallError) -> Unavailable {
        if error == NatsCallError::NoResponders {
            self.is_created.store(false, Ordering::Relaxed);
        }
        error.into()
    }

    async fn read(&self, key: &str) -> Result<Option<KeyEntry>, Unavailable> {
        self.create().await?;
        let subject = format!("$JS.API.DIRECT.GET.{}.$KV.{}.{key}", self.config.name, self.bucket);
        let NatsConnection { call_timeout, .. } = self.connection;
        let answer = self.connection.call(subject, None, Bytes::new(), call_timeout).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        match answer.status.map(|status| status.as_u16()) {
            None => {
                let revision = answer.headers.as_ref().and_then(|headers| number(headers, "Nats-Sequence"));
                let revision = revision.ok_or_else(|| Unavailable("answer has no sequence".into()))?;
                // A key that an operator deleted has an empty value, as a released lease has.
                Ok(Some(KeyEntry { revision: Revision(revision), value: answer.payload }))
            }
            Some(NOT_FOUND) => Ok(None),
            Some(status) => Err(Unavailable(format!("read of key refused with status {status}"))),
        }
    }

    async fn write(&self, key: &str, expected: Option<Revision>, value: Bytes) -> Result<Revision, CompareAndSetError> {
        self.create().await.map_err(|error| CompareAndSetError::Unknown(error.0))?;
        let mut headers = HeaderMap::new();
        // 0: the key has no value yet.
        let expected = expected.map_or(0, |revision| revision.0);
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string().as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, self.config.name.as_str());
        let subject = format!("$KV.{}.{key}", self.bucket);
        match self.connection.publish(subject, headers, value).await {
            Ok(Ok(revision)) => Ok(Revision(revision)),
            Ok(Err((code, _))) if is_conflict(code) => Err(CompareAndSetError::Conflict),
            Ok(Err((code, error))) if is_rejection(code) => Err(CompareAndSetError::Rejected(error)),
            Ok(Err((_, error))) => Err(CompareAndSetError::Unknown(error)),
            Err(NatsCallError::Rejected(error)) => Err(CompareAndSetError::Rejected(error)),
            Err(error) => Err(CompareAndSetError::Unknown(self.failed(error).0)),
        }
    }
}

impl SharedKeys for NatsKeys {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeyEntry>, Unavailable>> {
        self.read(key).boxed()
    }

    fn compare_and_set<'a>(
        &'a self,
        key: &'a str,
        expected: Option<Revision>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Revision, CompareAndSetError>> {
        self.write(key, expected, value).boxed()
    }
}
