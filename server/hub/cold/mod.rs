//! Bounded pools of journal reads for sessions behind the ring buffer, and for sessions that read the side log.
//!
//! Each log has a pool of its own. Requests are served in FIFO order. A waiting session holds no permit: a permit belongs
//! to a queued read. Reads run in background tasks, because a session whose client does not read is never polled and
//! would keep its permit indefinitely. The result of a read waits for its session.
//!
//! A page is read once for all sessions that need it: a cached page is sliced, and sessions wait without a permit for a
//! page that is being read. While few sessions replay, the next page is prefetched as soon as a session starts on one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use self::page_cache::{PAGE_BYTES, Page};
use self::queue::{InFlightPage, LogKind, ReadRequest};
use super::{Hub, HubReadError, Read};
use crate::journal;
use crate::model::{KeyFilter, Record, RecordBody, Sequence, Skip, SkipReason, Term, TimeInterval};
use crate::task;

/// Returns the permit and starts the next read, even if the read panics.
struct ReadPermit {
    hub: Arc<Hub>,
    log: LogKind,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.hub.spawn_reads(self.log);
    }
}

impl Hub {
    /// Reads from `from` on in the account's log, after acquiring a permit.
    pub async fn read_cold(self: Arc<Self>, from: Sequence, keys: KeyFilter) -> Result<Read, HubReadError> {
        self.read_queued(LogKind::Main, from, keys).await
    }

    /// Reads from `from` on in the side log, after acquiring a permit.
    pub(super) async fn read_side(self: Arc<Self>, from: Sequence, keys: KeyFilter) -> Result<Read, HubReadError> {
        self.read_queued(LogKind::Side, from, keys).await
    }

    async fn read_queued(self: Arc<Self>, log: LogKind, from: Sequence, keys: KeyFilter) -> Result<Read, HubReadError> {
        let (answer, read) = oneshot::channel();
        let request = ReadRequest { from, keys, answer: Some(answer) };
        if let Some(request) = self.cold(log).join_in_flight(request) {
            self.cold(log).reads.lock().waiting.push_back(request);
            self.spawn_reads(log);
        }
        read.await.unwrap_or_else(|_| Err(HubReadError::Unavailable("reading the journal panicked".into())))
    }

    /// Returns the next records of the account's log if their page is cached.
    pub fn read_cached(self: &Arc<Self>, from: Sequence, keys: &KeyFilter) -> Option<Read> {
        let (page, read) = self.cut_kept(LogKind::Main, from)?;
        if from == page.first() {
            self.prefetch(page.next(), keys);
            self.spawn_reads(LogKind::Main);
        }
        Some(read)
    }

    /// Returns the next records of the side log if their page is cached.
    pub(super) fn read_side_kept(&self, from: Sequence) -> Option<Read> {
        Some(self.cut_kept(LogKind::Side, from)?.1)
    }

    fn cut_kept(&self, log: LogKind, from: Sequence) -> Option<(Arc<Page>, Read)> {
        let page = self.cold(log).pages().get(from)?;
        // Trimmed records are reported as trimmed even if their page is still cached.
        if from < self.reader_of(log).extent().earliest {
            return None;
        }
        let read = page.slice(from, self.config().replay_read_bytes_max)?;
        self.metrics().cold_reads_shared.inc();
        Some((page, read))
    }

    fn reader_of(&self, log: LogKind) -> &Arc<dyn journal::Reader> {
        match log {
            LogKind::Main => self.reader(),
            LogKind::Side => self.side().reader(),
        }
    }

    /// Requests a page of the account's log in advance, unless so many sessions replay that it would be evicted before
    /// it is used.
    fn prefetch(self: &Arc<Self>, from: Sequence, keys: &KeyFilter) {
        let few = self.pages().bytes_max() / (2 * PAGE_BYTES);
        if self.replays() > few || self.is_hot(from) || self.pages().contains(from) {
            return;
        }
        let mut reads = self.cold(LogKind::Main).reads.lock();
        if reads.in_flight.contains_key(&from) || reads.prefetch.iter().any(|request| request.from == from) {
            return;
        }
        if reads.prefetch.len() >= few {
            reads.prefetch.pop_front();
        }
        reads.prefetch.push_back(ReadRequest { from, keys: keys.clone(), answer: None });
    }

    /// Starts as many queued reads as there are permits.
    fn spawn_reads(self: &Arc<Self>, log: LogKind) {
        let cold = self.cold(log);
        // Checked again after an unused permit was returned: a request made meanwhile found none.
        while !cold.reads.lock().is_empty() {
            let Ok(permit) = cold.permits.clone().try_acquire_owned() else { return };
            let Some(request) = cold.reads.lock().pop() else { continue };
            let turn = ReadPermit { hub: self.clone(), log, permit: Some(permit) };
            task::blocking(move || {
                // Queued requests are served under the same permit, without waking another thread.
                let mut next = Some(request);
                while let Some(request) = next {
                    turn.hub.serve_request(log, request);
                    next = turn.hub.cold(log).reads.lock().pop();
                }
            });
        }
    }

    fn serve_request(self: &Arc<Self>, log: LogKind, request: ReadRequest) {
        let first = match self.cold(log).pages().bytes_max() {
            0 => Ok(None),
            _ => self.reader_of(log).page_start(request.from, &request.keys),
        };
        match first {
            Ok(Some(first)) => self.serve_from_page(log, first, request),
            Ok(None) => self.serve_unshared(log, request),
            Err(error) => request.complete(Err(error.into())),
        }
    }

    /// Answers all requests for this page.
    fn serve_from_page(self: &Arc<Self>, log: LogKind, first: Sequence, request: ReadRequest) {
        let cold = self.cold(log);
        let Some((under_way, request)) = InFlightPage::begin(cold, first, request) else { return };
        // The page may have been read since the request.
        let page = cold.pages().get(request.from).or_else(|| self.read_page(log, first));
        let Some(page) = page.filter(|page| page.slice(request.from, 0).is_some()) else {
            return self.serve_unshared(log, request);
        };
        let mut ahead = None;
        for request in std::iter::once(request).chain(under_way.end()) {
            match page.slice(request.from, self.config().replay_read_bytes_max) {
                Some(read) => {
                    ahead = request.is_demand_read().then(|| request.keys.clone()).or(ahead);
                    request.complete(Ok(read));
                }
                None => cold.reads.lock().waiting.push_back(request),
            }
        }
        if let Some(keys) = ahead.filter(|_| log == LogKind::Main) {
            self.prefetch(page.next(), &keys);
        }
    }

    /// Reads for one session: blocks that its keys skip are not decompressed.
    fn serve_unshared(&self, log: LogKind, request: ReadRequest) {
        if request.is_demand_read() {
            let read = self.read_journal(log, request.from, &request.keys);
            request.complete(read);
        }
    }

    /// Reads and caches a page; `None` if a part of it cannot be read.
    fn read_page(&self, log: LogKind, first: Sequence) -> Option<Arc<Page>> {
        self.metrics().cold_reads.inc();
        let reader = self.reader_of(log);
        let chunk = reader.read_page(first, PAGE_BYTES).ok()?;
        let record = |item| match item {
            journal::ReadItem::Record(record) => Some(record),
            journal::ReadItem::Damaged { .. } => None,
        };
        let records = chunk.items.into_iter().map(record).collect::<Option<Vec<_>>>()?;
        let page = Arc::new(Page::new(log.encode(records), chunk.next)?);
        self.cold(log).pages().insert(page.clone(), reader.extent().earliest);
        Some(page)
    }

    fn read_journal(&self, log: LogKind, from: Sequence, keys: &KeyFilter) -> Result<Read, HubReadError> {
        self.metrics().cold_reads.inc();
        let chunk = self.reader_of(log).read(from, keys, self.config().replay_read_bytes_max)?;
        let record = |item| match item {
            journal::ReadItem::Record(record) => record,
            journal::ReadItem::Damaged { first, last, from, to } => {
                let window = TimeInterval { from, to: Some(to) };
                let skip = Skip { reason: SkipReason::JournalCorrupt, count: last - first + 1, window };
                let term = if log == LogKind::Main { self.term_of(first) } else { Term(0) };
                Record { sequence: first, term, received: from, body: RecordBody::Skip(skip) }
            }
        };
        Ok(Read { entries: log.encode(chunk.items.into_iter().map(record).collect()), next: chunk.next })
    }
}

pub(super) mod page_cache;
pub(super) mod queue;
#[cfg(test)]
mod tests;
