//! Reads of one log that wait for a permit, and its page cache.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::page_cache::PageCache;
use crate::hub::entry::{self, Entry};
use crate::hub::read::{HubReadError, Read};
use crate::model::{KeyFilter, Record, Sequence};

/// The log that a read is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum LogKind {
    /// The account's log.
    Main,
    /// The side log.
    Side,
}

/// Queued reads of one log, and its page cache.
pub(in crate::hub) struct ColdReader {
    pub(super) permits: Arc<Semaphore>,
    pub(super) reads: Mutex<ReadQueue>,
    pub(super) pages: PageCache,
}

#[derive(Default)]
pub(super) struct ReadQueue {
    pub(super) waiting: VecDeque<ReadRequest>,
    /// Pages requested in advance, read when no session waits. One for each of the few that replay.
    pub(super) prefetch: VecDeque<ReadRequest>,
    /// Pages that are being read, by first sequence, with the requests that wait for them.
    pub(super) in_flight: HashMap<Sequence, Vec<ReadRequest>, RandomState>,
}

pub(super) struct ReadRequest {
    pub(super) from: Sequence,
    pub(super) keys: KeyFilter,
    /// `None` for a prefetch.
    pub(super) answer: Option<oneshot::Sender<Result<Read, HubReadError>>>,
}

impl ColdReader {
    /// Creates a pool of `permits` concurrent reads with a page cache of `page_bytes_max` bytes.
    pub(in crate::hub) fn new(permits: usize, page_bytes_max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            reads: Mutex::default(),
            pages: PageCache::new(page_bytes_max),
        }
    }

    /// Returns the page cache.
    pub(in crate::hub) fn pages(&self) -> &PageCache {
        &self.pages
    }

    /// Waits for a page that is being read; returns the request if there is none.
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

    /// Returns the next request with a live receiver; prefetches come last.
    pub(super) fn pop(&mut self) -> Option<ReadRequest> {
        let wanted = std::iter::from_fn(|| self.waiting.pop_front()).find(ReadRequest::has_receiver);
        wanted.or_else(|| self.prefetch.pop_front())
    }
}

impl ReadRequest {
    /// Returns true unless the session has ended meanwhile.
    pub(super) fn has_receiver(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| !answer.is_closed())
    }

    pub(super) fn is_demand_read(&self) -> bool {
        self.answer.is_some()
    }

    pub(super) fn complete(self, read: Result<Read, HubReadError>) {
        if let Some(answer) = self.answer {
            // The session may have ended meanwhile.
            let _ = answer.send(read);
        }
    }
}

/// A page that is being read. If it fails, the requests that joined it are queued again.
pub(super) struct InFlightPage<'a> {
    pub(super) cold: &'a ColdReader,
    pub(super) first: Sequence,
}

impl<'a> InFlightPage<'a> {
    /// Starts it with a request. Returns `None` if the page is being read already; the request then waits for it.
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
