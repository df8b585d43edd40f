//! What the nodes of a memory backend store: the log and the keys. Pure.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::super::error::{CompareAndSetError, SharedAppendError, Unavailable};
use super::super::place::LogPlace;
use super::super::traits::{KeyEntry, LogInfo, Message, Revision, SharedIdentity, Stored};

/// States of a key that stale reads can return.
const PAST_VALUES: usize = 4;

/// The stored state. A clone is a copy of the volumes; messages share their bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryStore {
    log: Option<StoredLog>,
    keys: BTreeMap<String, StoredKey>,
    revision: u64,
    logs_created: u64,
}

#[derive(Clone, Debug)]
struct StoredLog {
    created: u64,
    identity: SharedIdentity,
    /// Place of the oldest message.
    first: LogPlace,
    messages: VecDeque<Message>,
}

#[derive(Clone, Debug, Default)]
struct StoredKey {
    /// The newest is last.
    values: VecDeque<KeyEntry>,
}

impl StoredLog {
    fn last(&self) -> LogPlace {
        self.first + self.messages.len() as LogPlace - 1
    }
}

impl MemoryStore {
    /// Creates the log, if there is none.
    pub(super) fn create(&mut self, identity: SharedIdentity) -> LogInfo {
        if self.log.is_none() {
            self.logs_created += 1;
            let log = StoredLog { created: self.logs_created, identity, first: 1, messages: VecDeque::new() };
            self.log = Some(log);
        }
        self.info(0).expect("it was created")
    }

    /// Deletes the log. The next one is another incarnation, also if this store is older than its number.
    pub(super) fn delete(&mut self) {
        self.log = None;
    }

    /// Returns the state of the log before the newest `stale_by` messages.
    pub(super) fn info(&self, stale_by: usize) -> Option<LogInfo> {
        let log = self.log.as_ref()?;
        let last = log.last().saturating_sub(stale_by as LogPlace).max(log.first - 1);
        Some(LogInfo { created: log.created.to_string(), identity: log.identity, first: log.first, last })
    }

    /// Stores a message after `expected`.
    pub(super) fn append(&mut self, expected: LogPlace, message: &Message) -> Result<LogPlace, SharedAppendError> {
        // As the backend's nodes answer while they elect a leader: a log that is gone looks like one that is away.
        let Some(log) = &mut self.log else { return Err(SharedAppendError::Unknown("no such log".into())) };
        if log.last() != expected {
            return Err(SharedAppendError::Conflict { expected });
        }
        log.messages.push_back(message.clone());
        Ok(expected + 1)
    }

    /// Reads from `from` on, without the newest `stale_by` messages.
    pub(super) fn read(&self, from: LogPlace, bytes_max: usize, stale_by: usize) -> Result<Vec<Stored>, Unavailable> {
        let log = self.log.as_ref().ok_or_else(|| Unavailable("no such log".into()))?;
        let visible = log.messages.len().saturating_sub(stale_by);
        let skipped = usize::try_from(from.saturating_sub(log.first)).unwrap_or(usize::MAX);
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        for (message, place) in log.messages.iter().zip(log.first..).take(visible).skip(skipped) {
            bytes = bytes.saturating_add(message.payload.len());
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(Stored { place, message: message.clone() });
        }
        Ok(found)
    }

    /// Number of messages that a stale read can leave out.
    pub(super) fn past_messages(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.messages.len())
    }

    /// Removes the messages before `first`; the numbering continues.
    pub(super) fn purge(&mut self, first: LogPlace) {
        let Some(log) = &mut self.log else { return };
        while log.first < first && log.messages.pop_front().is_some() {
            log.first += 1;
        }
    }

    /// Replaces the value of a key.
    pub(super) fn set(
        &mut self,
        key: &str,
        expected: Option<Revision>,
        value: Bytes,
    ) -> Result<Revision, CompareAndSetError> {
        let current = self.keys.get(key).and_then(|key| key.values.back()).map(|entry| entry.revision);
        if current != expected {
            return Err(CompareAndSetError::Conflict);
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        let values = &mut self.keys.entry(key.to_owned()).or_default().values;
        values.push_back(KeyEntry { revision, value });
        if values.len() > PAST_VALUES {
            values.pop_front();
        }
        Ok(revision)
    }

    /// Returns the value of a key as it was `stale_by` values ago.
    pub(super) fn get(&self, key: &str, stale_by: usize) -> Option<KeyEntry> {
        let values = &self.keys.get(key)?.values;
        values.iter().rev().nth(stale_by).cloned()
    }

    /// Number of older states of a key that a stale read can return.
    pub(super) fn past_values(&self, key: &str) -> usize {
        let Some(key) = self.keys.get(key) else { return 0 };
        // Where no value was dropped, also the state before the first one.
        if key.values.len() < PAST_VALUES { key.values.len() } else { PAST_VALUES - 1 }
    }

    /// Continues the numbering of logs, so that no incarnation has the identity of another one.
    pub(super) fn restored_over(mut self, replaced: &Self) -> Self {
        self.logs_created = self.logs_created.max(replaced.logs_created);
        self
    }
}
