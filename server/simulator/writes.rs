//! The write log: which post was written to which connection, when, and in what form.
//!
//! Reference of tests for times and writes: plain numbers and bytes, kept only up to `Config::write_log_entries_max`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::sent_post::SentPost;

/// A rule as a payload names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRule {
    /// Its id, if the payload has it.
    pub id: Option<u64>,
    /// Its tag.
    pub tag: Option<Arc<str>>,
}

/// A post that was written to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostWrite {
    /// The connection.
    pub connection: u64,
    /// Its number in the truth; a post that is sent again under further rules has another one.
    pub ordinal: u64,
    /// The id of the post.
    pub post_id: u64,
    /// When it was written, in milliseconds since 1970 by X's clock.
    pub at_ms: i64,
    /// All bytes of it were handed over to the socket.
    pub is_flushed: bool,
    /// It is of the backfill.
    pub is_backfill: bool,
    /// It was written to its end; the stream was cut in it otherwise.
    pub is_whole: bool,
    /// The rules that it was written with.
    pub rules: Vec<WrittenRule>,
    /// The payload.
    pub json: Bytes,
}

/// A connection that was answered with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Its number among all streams.
    pub number: u64,
    /// When it was answered, in milliseconds since 1970 by X's clock; all times here are.
    pub opened_ms: i64,
    /// When X was done with it.
    pub closed_ms: Option<i64>,
    /// The window of a recovery job.
    pub window_ms: Option<(i64, i64)>,
    /// Backfill was asked for, whether it was given or not.
    pub asked_backfill: bool,
    /// When the first whole message or heartbeat was written.
    pub first_sign_ms: Option<i64>,
    /// When the last one was.
    pub last_sign_ms: Option<i64>,
}

/// The log; empty where it is turned off.
#[derive(Debug)]
pub(super) struct WriteLog {
    entries_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: BTreeMap<u64, ConnectionRecord>,
    writes: VecDeque<PostWrite>,
    dropped: u64,
}

impl WriteLog {
    /// Keeps so many writes, and as many connections.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, inner: Mutex::default() }
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        if self.entries_max > 0 {
            change(&mut self.inner.lock());
        }
    }

    pub(super) fn opened(&self, number: u64, now: i64, window_ms: Option<(i64, i64)>, asked_backfill: bool) {
        let record = ConnectionRecord {
            number,
            opened_ms: now,
            closed_ms: None,
            window_ms,
            asked_backfill,
            first_sign_ms: None,
            last_sign_ms: None,
        };
        self.change(|inner| {
            inner.connections.insert(number, record);
            if inner.connections.len() > self.entries_max {
                inner.connections.pop_first();
            }
        });
    }

    pub(super) fn closed(&self, number: u64, now: i64) {
        self.change(|inner| {
            if let Some(connection) = inner.connections.get_mut(&number) {
                connection.closed_ms = Some(now);
            }
        });
    }

    /// A whole message or a heartbeat was written.
    pub(super) fn sign(&self, number: u64, now: i64) {
        self.change(|inner| inner.sign(number, now));
    }

    /// A post was written. Returns its place, for `flushed`.
    pub(super) fn post(
        &self,
        number: u64,
        now: i64,
        (post, json): (&SentPost, &Bytes),
        (is_backfill, is_whole): (bool, bool),
    ) -> u64 {
        let mut place = 0;
        self.change(|inner| {
            if is_whole {
                inner.sign(number, now);
            }
            let rules = post.rules.iter().map(|rule| WrittenRule { id: rule.id, tag: rule.tag.clone() }).collect();
            inner.writes.push_back(PostWrite {
                connection: number,
                ordinal: post.ordinal,
                post_id: post.post_id.0,
                at_ms: now,
                is_flushed: false,
                is_backfill,
                is_whole,
                rules,
                json: json.clone(),
            });
            if inner.writes.len() > self.entries_max {
                inner.writes.pop_front();
                inner.dropped += 1;
            }
            place = inner.dropped + inner.writes.len() as u64;
        });
        place
    }

    /// The bytes of these posts were handed over.
    pub(super) fn flushed(&self, places: impl Iterator<Item = u64>) {
        self.change(|inner| {
            for place in places {
                let at = place.checked_sub(inner.dropped + 1).and_then(|at| usize::try_from(at).ok());
                if let Some(write) = at.and_then(|at| inner.writes.get_mut(at)) {
                    write.is_flushed = true;
                }
            }
        });
    }

    pub(super) fn writes(&self) -> Vec<PostWrite> {
        self.inner.lock().writes.iter().cloned().collect()
    }

    /// Returns the number of writes that are no longer kept.
    pub(super) fn dropped(&self) -> u64 {
        self.inner.lock().dropped
    }

    pub(super) fn connections(&self) -> Vec<ConnectionRecord> {
        self.inner.lock().connections.values().cloned().collect()
    }
}

impl Inner {
    fn sign(&mut self, number: u64, now: i64) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.first_sign_ms.get_or_insert(now);
            connection.last_sign_ms = Some(now);
        }
    }
}
