//! Bounded pools of journal reads for sessions behind the ring buffer, and for sessions that read the side log.
//!
//! Each log has a pool of its own. Requests are served in FIFO order. A waiting session holds no permit: a permit belongs
//! to a queued read. Reads run in background tasks, because a session whose client does not read is never polled and
//! would keep its permit indefinitely. The result of a read waits for its session.
//!
//! What sessions read alike is read once: a page that is kept is cut, not read; one that is being read is waited for without
//! a turn. As long as few replay, the page behind the one that a session begins is read while it sends that.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::page_cache::{PAGE_BYTES, Page, Pages};
use super::entry::Entry;
use super::{Hub, Read, ReadError, entry};
use crate::journal;
use crate::model::{Body, Keys, Record, Sequence, Skip, SkipReason, Term, Window};
use crate::task;

/// Which of the two logs of an account a read is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// The account's log.
    Main,
    /// The side log.
    Side,
}

/// Reads of one log that wait for their turn, and the pages of it that are kept.
pub(super) struct Cold {
    turns: Arc<Semaphore>,
    reads: Mutex<Reads>,
    pages: Pages,
}

#[derive(Default)]
struct Reads {
    waiting: VecDeque<Request>,
    /// Pages that nobody waits for yet: read when nobody waits for another. One for each of the few that replay.
    ahead: VecDeque<Request>,
    /// Pages that are being read, by where they begin, and who waits for each.
    under_way: HashMap<Sequence, Vec<Request>, RandomState>,
}

struct Request {
    from: Sequence,
    keys: Keys,
    /// `None` if it is read ahead.
    answer: Option<oneshot::Sender<Result<Read, ReadError>>>,
}

impl Cold {
    /// A pool of `turns` reads at once that keeps pages of up to `page_bytes_max` in memory.
    pub(super) fn new(turns: usize, page_bytes_max: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), reads: Mutex::default(), pages: Pages::new(page_bytes_max) }
    }

    /// Pages of the log that are kept in memory.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Waits for a page that is being read; gives the request back if that is not so.
    fn wait_for(&self, request: Request) -> Option<Request> {
        match self.reads.lock().under_way.get_mut(&request.from) {
            Some(waiting) => waiting.push(request),
            None => return Some(request),
        }
        None
    }
}

impl Reads {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ahead.is_empty()
    }

    /// The next one that somebody still waits for, those ahead last.
    fn pop(&mut self) -> Option<Request> {
        let wanted = std::iter::from_fn(|| self.waiting.pop_front()).find(Request::is_wanted);
        wanted.or_else(|| self.ahead.pop_front())
    }
}

impl Request {
    /// Whoever asked may have gone.
    fn is_wanted(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| !answer.is_closed())
    }

    fn is_waited_for(&self) -> bool {
        self.answer.is_some()
    }

    fn answer(self, read: Result<Read, ReadError>) {
        if let Some(answer) = self.answer {
            // The session may have ended meanwhile.
            let _ = answer.send(read);
        }
    }
}

/// Gives the turn back and lets the next begin, whatever happens to the read.
struct Turn {
    hub: Arc<Hub>,
    log: Log,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.hub.begin_cold_reads(self.log);
    }
}

/// A page that is being read. Whoever came to wait for it asks again if that comes to nothing.
struct UnderWay<'a> {
    cold: &'a Cold,
    first: Sequence,
}

impl<'a> UnderWay<'a> {
    /// Begins it with a request; `None` if it is being read already, and then the request waits for it.
    fn begin(cold: &'a Cold, first: Sequence, request: Request) -> Option<(Self, Request)> {
        let mut reads = cold.reads.lock();
        if let Some(waiting) = reads.under_way.get_mut(&first) {
            waiting.push(request);
            return None;
        }
        reads.under_way.insert(first, Vec::new());
        Some((Self { cold, first }, request))
    }

    fn end(&self) -> Vec<Request> {
        self.cold.reads.lock().under_way.remove(&self.first).unwrap_or_default()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let waiting = self.end();
        self.cold.reads.lock().waiting.extend(waiting);
    }
}

impl Hub {
    /// Reads on from `from` out of the account's log, when it is this session's turn.
    pub async fn read_cold(self: Arc<Self>, from: Sequence, keys: Keys) -> Result<Read, ReadError> {
        self.read_queued(Log::Main, from, keys).await
    }

    /// Reads on from `from` out of the side log, when it is this session's turn.
    pub(super) async fn read_side(self: Arc<Self>, from: Sequence, keys: Keys) -> Result<Read, ReadError> {
        self.read_queued(Log::Side, from, keys).await
    }

    async fn read_queued(self: Arc<Self>, log: Log, from: Sequence, keys: Keys) -> Result<Read, ReadError> {
        let (answer, read) = oneshot::channel();
        let request = Request { from, keys, answer: Some(answer) };
        if let Some(request) = self.cold(log).wait_for(request) {
            self.cold(log).reads.lock().waiting.push_back(request);
            self.begin_cold_reads(log);
        }
        read.await.unwrap_or_else(|_| Err(ReadError::Unavailable("reading the journal panicked".into())))
    }

    /// Returns what comes next in the account's log, if a page of it is in memory.
    pub fn read_kept(self: &Arc<Self>, from: Sequence, keys: &Keys) -> Option<Read> {
        let (page, read) = self.cut_kept(Log::Main, from)?;
        if from == page.first() {
            self.ask_ahead(page.next(), keys);
            self.begin_cold_reads(Log::Main);
        }
        Some(read)
    }

    /// Returns what comes next in the side log, if a page of it is in memory.
    pub(super) fn read_side_kept(&self, from: Sequence) -> Option<Read> {
        Some(self.cut_kept(Log::Side, from)?.1)
    }

    fn cut_kept(&self, log: Log, from: Sequence) -> Option<(Arc<Page>, Read)> {
        let page = self.cold(log).pages().get(from)?;
        // What was trimmed is gone for all, whether they read it from memory or from the disk.
        if from < self.reader_of(log).extent().earliest {
            return None;
        }
        let read = page.slice(from, self.config().replay_chunk_bytes_max)?;
        self.metrics().cold_reads_shared.inc();
        Some((page, read))
    }

    fn reader_of(&self, log: Log) -> &Arc<dyn journal::Reader> {
        match log {
            Log::Main => self.reader(),
            Log::Side => self.side().reader(),
        }
    }

    /// Asks for a page of the account's log that nobody waits for yet, unless so many replay that it would be put out before
    /// it is wanted.
    fn ask_ahead(self: &Arc<Self>, from: Sequence, keys: &Keys) {
        let few = self.pages().bytes_max() / (2 * PAGE_BYTES);
        if self.replays() > few || self.is_hot(from) || self.pages().holds(from) {
            return;
        }
        let mut reads = self.cold(Log::Main).reads.lock();
        if reads.under_way.contains_key(&from) || reads.ahead.iter().any(|request| request.from == from) {
            return;
        }
        if reads.ahead.len() >= few {
            reads.ahead.pop_front();
        }
        reads.ahead.push_back(Request { from, keys: keys.clone(), answer: None });
    }

    /// Begins as many of the waiting reads as there are turns.
    fn begin_cold_reads(self: &Arc<Self>, log: Log) {
        let cold = self.cold(log);
        // Looked at again after a turn was given back unused: whoever asked meanwhile found none free.
        while !cold.reads.lock().is_empty() {
            let Ok(permit) = cold.turns.clone().try_acquire_owned() else { return };
            let Some(request) = cold.reads.lock().pop() else { continue };
            let turn = Turn { hub: self.clone(), log, permit: Some(permit) };
            task::blocking(move || {
                // What waits by now is done in the same turn: another thread would have to be woken for it.
                let mut next = Some(request);
                while let Some(request) = next {
                    turn.hub.answer_cold(log, request);
                    next = turn.hub.cold(log).reads.lock().pop();
                }
            });
        }
    }

    fn answer_cold(self: &Arc<Self>, log: Log, request: Request) {
        let first = match self.cold(log).pages().bytes_max() {
            0 => Ok(None),
            _ => self.reader_of(log).shared_start(request.from, &request.keys),
        };
        match first {
            Ok(Some(first)) => self.answer_shared(log, first, request),
            Ok(None) => self.answer_alone(log, request),
            Err(error) => request.answer(Err(error.into())),
        }
    }

    /// Answers all that want this page.
    fn answer_shared(self: &Arc<Self>, log: Log, first: Sequence, request: Request) {
        let cold = self.cold(log);
        let Some((under_way, request)) = UnderWay::begin(cold, first, request) else { return };
        // It may have been read between the request and its turn.
        let page = cold.pages().get(request.from).or_else(|| self.read_page(log, first));
        let Some(page) = page.filter(|page| page.slice(request.from, 0).is_some()) else {
            return self.answer_alone(log, request);
        };
        let mut ahead = None;
        for request in std::iter::once(request).chain(under_way.end()) {
            match page.slice(request.from, self.config().replay_chunk_bytes_max) {
                Some(read) => {
                    ahead = request.is_waited_for().then(|| request.keys.clone()).or(ahead);
                    request.answer(Ok(read));
                }
                None => cold.reads.lock().waiting.push_back(request),
            }
        }
        if let Some(keys) = ahead.filter(|_| log == Log::Main) {
            self.ask_ahead(page.next(), &keys);
        }
    }

    /// Reads for one alone: what its keys let it pass over is not even decompressed.
    fn answer_alone(&self, log: Log, request: Request) {
        if request.is_waited_for() {
            let read = self.read_journal(log, request.from, &request.keys);
            request.answer(read);
        }
    }

    /// Reads a page and keeps it; `None` if not all of it can be read.
    fn read_page(&self, log: Log, first: Sequence) -> Option<Arc<Page>> {
        self.metrics().cold_reads.inc();
        let reader = self.reader_of(log);
        let chunk = reader.read_shared(first, PAGE_BYTES).ok()?;
        let record = |item| match item {
            journal::Item::Record(record) => Some(record),
            journal::Item::Damaged { .. } => None,
        };
        let records = chunk.items.into_iter().map(record).collect::<Option<Vec<_>>>()?;
        let page = Arc::new(Page::new(log.encode(records), chunk.next)?);
        self.cold(log).pages().keep(page.clone(), reader.extent().earliest);
        Some(page)
    }

    fn read_journal(&self, log: Log, from: Sequence, keys: &Keys) -> Result<Read, ReadError> {
        self.metrics().cold_reads.inc();
        let chunk = self.reader_of(log).read(from, keys, self.config().replay_chunk_bytes_max)?;
        let record = |item| match item {
            journal::Item::Record(record) => record,
            journal::Item::Damaged { first, last, from, to } => {
                let window = Window { from, to: Some(to) };
                let skip = Skip { reason: SkipReason::JournalCorrupt, count: last - first + 1, window };
                let term = if log == Log::Main { self.term_of(first) } else { Term(0) };
                Record { sequence: first, term, received: from, body: Body::Skip(skip) }
            }
        };
        Ok(Read { entries: log.encode(chunk.items.into_iter().map(record).collect()), next: chunk.next })
    }
}

impl Log {
    fn encode(self, records: Vec<Record>) -> Vec<Arc<Entry>> {
        match self {
            Self::Main => entry::encode(records),
            Self::Side => records.into_iter().map(|record| Arc::new(Entry::side(record))).collect(),
        }
    }
}

pub(super) mod page_cache;
#[cfg(test)]
mod tests;
