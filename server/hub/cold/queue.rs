//! Reads of one log that wait for a permit, and its page cache.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::page_cache::PageCache;
use crate::hub::entry::{self, Entry};
use crate::hub::read::{Read, ReadError};
use crate::model::{KeyFilter, Record, Sequence};

/// Which of the two logs of an account a read is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum LogKind {
    /// The account's log.
    Main,
    /// The side log.
    Side,
}

/// Reads of one log that wait for their turn, and the pages of it that are kept.
pub(in crate::hub) struct ColdReader {
    pub(super) turns: Arc<Semaphore>,
    pub(super) reads: Mutex<ReadQueue>,
    pub(super) pages: PageCache,
}

#[derive(Default)]
pub(super) struct ReadQueue {
    pub(super) waiting: VecDeque<ReadRequest>,
    /// Pages that nobody waits for yet: read when nobody waits for another. One for each of the few that replay.
    pub(super) prefetch: VecDeque<ReadRequest>,
    /// Pages that are being read, by where they begin, and who waits for each.
    pub(super) in_flight: HashMap<Sequence, Vec<ReadRequest>, RandomState>,
}

pub(super) struct ReadRequest {
    pub(super) from: Sequence,
    pub(super) keys: KeyFilter,
    /// `None` if it is read ahead.
    pub(super) answer: Option<oneshot::Sender<Result<Read, ReadError>>>,
}

impl ColdReader {
    /// A pool of `turns` reads at once that keeps pages of up to `page_bytes_max` in memory.
    pub(in crate::hub) fn new(turns: usize, page_bytes_max: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), reads: Mutex::default(), pages: PageCache::new(page_bytes_max) }
    }

    /// Pages of the log that are kept in memory.
    pub(in crate::hub) fn pages(&self) -> &PageCache {
        &self.pages
    }

    /// Waits for a page that is being read; gives the request back if that is not so.
    pub(super) fn join_in_flight(&self, request: ReadRequest) -> Option<ReadRequest> {
        match self.reads.lock().in_flight.get_mut(&request.from) {
            Some(waiting) => waiting.push(request),
            None => return Some(request),
        }
        None
    }
}

impl ReadQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.prefetch.is_empty()
    }

    /// The next one that somebody still waits for, those ahead last.
    pub(super) fn pop(&mut self) -> Option<ReadRequest> {
        let wanted = std::iter::from_fn(|| self.waiting.pop_front()).find(ReadRequest::has_receiver);
        wanted.or_else(|| self.prefetch.pop_front())
    }
}

impl ReadRequest {
    /// Whoever asked may have gone.
    pub(super) fn has_receiver(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| !answer.is_closed())
    }

    pub(super) fn is_demand_read(&self) -> bool {
        self.answer.is_some()
    }

    pub(super) fn complete(self, read: Result<Read, ReadError>) {
        if let Some(answer) = self.answer {
            // The session may have ended meanwhile.
            let _ = answer.send(read);
        }
    }
}

/// A page that is being read. Whoever came to wait for it asks again if that comes to nothing.
pub(super) struct InFlightPage<'a> {
    pub(super) cold: &'a ColdReader,
    pub(super) first: Sequence,
}

impl<'a> InFlightPage<'a> {
    /// Begins it with a request; `None` if it is being read already, and then the request waits for it.
    pub(super) fn begin(cold: &'a ColdReader, first: Sequence, request: ReadRequest) -> Option<(Self, ReadRequest)> {
        let mut reads = cold.reads.lock();
        if let Some(waiting) = reads.in_flight.get_mut(&first) {
            waiting.push(request);
            return None;
        }
        reads.in_flight.insert(first, Vec::new());
        Some((Self { cold, first }, request))
    }

    pub(super) fn end(&self) -> Vec<ReadRequest> {
        self.cold.reads.lock().in_flight.remove(&self.first).unwrap_or_default()
    }
}

impl Drop for InFlightPage<'_> {
    fn drop(&mut self) {
        let waiting = self.end();
        self.cold.reads.lock().waiting.extend(waiting);
    }
}

impl LogKind {
    pub(super) fn encode(self, records: Vec<Record>) -> Vec<Arc<Entry>> {
        match self {
            Self::Main => entry::encode(records),
            Self::Side => records.into_iter().map(|record| Arc::new(Entry::side(record))).collect(),
        }
    }
}
