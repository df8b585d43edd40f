//! The interface of the shared log, keys and messages, and the types that they exchange.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::chain::Chain;
use super::error::{CompareAndSetError, RequestError, SharedAppendError, Unavailable};
use super::place::{LogPlace, Subject};
use crate::model::Epoch;

/// A message of the shared log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Kind.
    pub subject: Subject,
    /// Checksum over this message and all accepted messages before it.
    pub chain: Chain,
    /// The bytes.
    pub payload: Bytes,
}

/// A message as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub place: LogPlace,
    /// The message.
    pub message: Message,
}

/// Identity of the two logs of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedIdentity {
    /// Epoch of the account's log.
    pub epoch: Epoch,
    /// Epoch of its side log.
    pub side_epoch: Epoch,
}

impl SharedIdentity {
    /// Returns the identity of a log that begins with replicas. It is the same for all, also where nothing states it.
    pub const fn of_log(epoch: Epoch) -> Self {
        Self { epoch, side_epoch: Epoch(!epoch.0) }
    }
}

/// State of the shared log. `first` and `last` may be stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// Identity of this incarnation of the log: another one after it was deleted and created again.
    pub created: String,
    /// Identity of the account's logs, as named when the shared log was created.
    pub identity: SharedIdentity,
    /// Place of the oldest message; `last` + 1 if there is none.
    pub first: LogPlace,
    /// Place of the newest message; the last one ever used if all are trimmed.
    pub last: LogPlace,
}

impl LogInfo {
    /// True if there are no messages: none was written, or all are trimmed.
    pub fn is_empty(&self) -> bool {
        self.first > self.last
    }
}

/// A shared log with one order, that several replicas read and one of them writes.
pub trait QuorumLog: Send + Sync {
    /// Returns the state of the log. `None` if the backend as a whole knows no such log; while its nodes elect a leader
    /// it may report that by mistake, so only a report that lasts means that the log is gone.
    fn info(&self) -> BoxFuture<'_, Result<Option<LogInfo>, Unavailable>>;

    /// Creates the log with this identity. If there is one already, returns its state, whose identity may differ.
    fn create(&self, identity: SharedIdentity) -> BoxFuture<'_, Result<LogInfo, Unavailable>>;

    /// Stores a message directly after `expected`, and returns its place when a quorum has it. An `Ok` is always
    /// `expected` + 1.
    fn append(&self, expected: LogPlace, message: Message) -> BoxFuture<'_, Result<LogPlace, SharedAppendError>>;

    /// Returns messages from `from` (included) on in order: about `bytes_max` bytes, at least one message if any is
    /// found. The first one is later than `from` if the messages before it are trimmed. Stale: an empty result proves
    /// nothing.
    fn read(&self, from: LogPlace, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, Unavailable>>;
}

/// Identity of a stored value. It has no order: after a restore, later values have lower numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub u64);

/// A value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// Identity of this value.
    pub revision: Revision,
    /// The value.
    pub value: Bytes,
}

/// Keys with compare-and-set.
pub trait SharedKeys: Send + Sync {
    /// Returns the value of a key, `None` if it was never set. May be stale.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeyEntry>, Unavailable>>;

    /// Replaces the value of revision `expected`; `None` creates the key. Returns the new revision.
    fn compare_and_set<'a>(
        &'a self,
        key: &'a str,
        expected: Option<Revision>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Revision, CompareAndSetError>>;
}

/// Address of the answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplyTo(pub String);

/// A message of the bus as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusMessage {
    /// The bytes.
    pub payload: Bytes,
    /// Where the sender expects an answer, if it does.
    pub reply_to: Option<ReplyTo>,
}

/// Messages between the replicas of an account, each delivered at most once.
pub trait Bus: Send + Sync {
    /// Sends a message to all subscriptions of `subject`, those of this replica included.
    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), Unavailable>>;

    /// Receives the messages of `subject` from now on. A subscription that is not read loses messages.
    fn subscribe<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<BoxStream<'static, BusMessage>, Unavailable>>;

    /// Sends a message and returns the first answer, within `limit`.
    fn request<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Bytes, RequestError>>;

    /// Answers a request.
    fn respond<'a>(&'a self, to: &'a ReplyTo, payload: Bytes) -> BoxFuture<'a, Result<(), Unavailable>>;
}

/// A replica's access to what the replicas of one account share.
#[derive(Clone)]
pub struct Quorum {
    /// The shared log.
    pub log: Arc<dyn QuorumLog>,
    /// Keys.
    pub keys: Arc<dyn SharedKeys>,
    /// Messages.
    pub bus: Arc<dyn Bus>,
}
