//! Turns at reading the journal: so many at once, the others in the order in which they asked.
//!
//! Who waits for a turn holds nothing: a session whose client does not read is not polled, and a turn that it had been
//! given would be lost to all others. So what is asked for is done in the background, and its answer waits for the session.
//!
//! What sessions read alike is read once: a page that is kept is cut, not read; one that is being read is waited for without
//! a turn. As long as few replay, the page behind the one that a session begins is read while it sends that.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::pages::{PAGE_BYTES, Page};
use super::{Hub, Read, ReadError, entry};
use crate::journal;
use crate::model::{Body, Keys, Record, Sequence, Skip, SkipReason, Window};

/// Reads that wait for their turn.
pub(super) struct Cold {
    turns: Arc<Semaphore>,
    reads: Mutex<Reads>,
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
    pub(super) fn new(turns: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), reads: Mutex::default() }
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
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.hub.begin_cold_reads();
    }
}

/// A page that is being read. Whoever came to wait for it asks again if that comes to nothing.
struct UnderWay<'a> {
    hub: &'a Arc<Hub>,
    first: Sequence,
}

impl<'a> UnderWay<'a> {
    /// Begins it with a request; `None` if it is being read already, and then the request waits for it.
    fn begin(hub: &'a Arc<Hub>, first: Sequence, request: Request) -> Option<(Self, Request)> {
        let mut reads = hub.cold().reads.lock();
        if let Some(waiting) = reads.under_way.get_mut(&first) {
            waiting.push(request);
            return None;
        }
        reads.under_way.insert(first, Vec::new());
        Some((Self { hub, first }, request))
    }

    fn end(&self) -> Vec<Request> {
        self.hub.cold().reads.lock().under_way.remove(&self.first).unwrap_or_default()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let waiting = self.end();
        self.hub.cold().reads.lock().waiting.extend(waiting);
    }
}

impl Hub {
    /// Reads on from `from` out of the journal, when it is this session's turn.
    pub async fn read_cold(self: Arc<Self>, from: Sequence, keys: Keys) -> Result<Read, ReadError> {
        let (answer, read) = oneshot::channel();
        let request = Request { from, keys, answer: Some(answer) };
        if let Some(request) = self.cold().wait_for(request) {
            self.cold().reads.lock().waiting.push_back(request);
            self.begin_cold_reads();
        }
        read.await.unwrap_or_else(|_| Err(ReadError::Unavailable("reading the journal panicked".into())))
    }

    /// What comes next, if a page of it is in memory.
    pub fn read_kept(self: &Arc<Self>, from: Sequence, keys: &Keys) -> Option<Read> {
        let page = self.pages().get(from)?;
        // What was trimmed is gone for all, whether they read it from memory or from the disk.
        if from < self.reader().extent().earliest {
            return None;
        }
        let read = page.slice(from, self.config().replay_chunk_bytes_max)?;
        self.metrics().cold_reads_shared.inc();
        if from == page.first() {
            self.ask_ahead(page.next(), keys);
            self.begin_cold_reads();
        }
        Some(read)
    }

    /// Asks for a page that nobody waits for yet, unless so many replay that it would be put out before it is wanted.
    fn ask_ahead(self: &Arc<Self>, from: Sequence, keys: &Keys) {
        let few = self.pages().bytes_max() / (2 * PAGE_BYTES);
        if self.replays() > few || self.is_hot(from) || self.pages().holds(from) {
            return;
        }
        let mut reads = self.cold().reads.lock();
        if reads.under_way.contains_key(&from) || reads.ahead.iter().any(|request| request.from == from) {
            return;
        }
        if reads.ahead.len() >= few {
            reads.ahead.pop_front();
        }
        reads.ahead.push_back(Request { from, keys: keys.clone(), answer: None });
    }

    /// Begins as many of the waiting reads as there are turns.
    fn begin_cold_reads(self: &Arc<Self>) {
        let cold = self.cold();
        // Looked at again after a turn was given back unused: whoever asked meanwhile found none free.
        while !cold.reads.lock().is_empty() {
            let Ok(permit) = cold.turns.clone().try_acquire_owned() else { return };
            let Some(request) = cold.reads.lock().pop() else { continue };
            let turn = Turn { hub: self.clone(), permit: Some(permit) };
            tokio::task::spawn_blocking(move || {
                // What waits by now is done in the same turn: another thread would have to be woken for it.
                let mut next = Some(request);
                while let Some(request) = next {
                    turn.hub.answer_cold(request);
                    next = turn.hub.cold().reads.lock().pop();
                }
            });
        }
    }

    fn answer_cold(self: &Arc<Self>, request: Request) {
        let first = match self.pages().bytes_max() {
            0 => Ok(None),
            _ => self.reader().shared_start(request.from, &request.keys),
        };
        match first {
            Ok(Some(first)) => self.answer_shared(first, request),
            Ok(None) => self.answer_alone(request),
            Err(error) => request.answer(Err(error.into())),
        }
    }

    /// Answers all that want this page.
    fn answer_shared(self: &Arc<Self>, first: Sequence, request: Request) {
        let Some((under_way, request)) = UnderWay::begin(self, first, request) else { return };
        // It may have been read between the request and its turn.
        let page = self.pages().get(request.from).or_else(|| self.read_page(first));
        let Some(page) = page.filter(|page| page.slice(request.from, 0).is_some()) else {
            return self.answer_alone(request);
        };
        let mut ahead = None;
        for request in std::iter::once(request).chain(under_way.end()) {
            match page.slice(request.from, self.config().replay_chunk_bytes_max) {
                Some(read) => {
                    ahead = request.is_waited_for().then(|| request.keys.clone()).or(ahead);
                    request.answer(Ok(read));
                }
                None => self.cold().reads.lock().waiting.push_back(request),
            }
        }
        if let Some(keys) = ahead {
            self.ask_ahead(page.next(), &keys);
        }
    }

    /// Reads for one alone: what its keys let it pass over is not even decompressed.
    fn answer_alone(&self, request: Request) {
        if request.is_waited_for() {
            let read = self.read_journal(request.from, &request.keys);
            request.answer(read);
        }
    }

    /// Reads a page and keeps it; `None` if not all of it can be read.
    fn read_page(&self, first: Sequence) -> Option<Arc<Page>> {
        self.metrics().cold_reads.inc();
        let chunk = self.reader().read_shared(first, PAGE_BYTES).ok()?;
        let record = |item| match item {
            journal::Item::Record(record) => Some(record),
            journal::Item::Damaged { .. } => None,
        };
        let records = chunk.items.into_iter().map(record).collect::<Option<Vec<_>>>()?;
        let page = Arc::new(Page::new(entry::encode(records), chunk.next)?);
        self.pages().keep(page.clone(), self.reader().extent().earliest);
        Some(page)
    }

    fn read_journal(&self, from: Sequence, keys: &Keys) -> Result<Read, ReadError> {
        self.metrics().cold_reads.inc();
        let chunk = self.reader().read(from, keys, self.config().replay_chunk_bytes_max)?;
        let record = |item| match item {
            journal::Item::Record(record) => record,
            journal::Item::Damaged { first, last, from, to } => {
                let window = Window { from, to: Some(to) };
                let skip = Skip { reason: SkipReason::JournalCorrupt, count: last - first + 1, window };
                Record { sequence: first, term: self.term_of(first), received: from, body: Body::Skip(skip) }
            }
        };
        Ok(Read { entries: entry::encode(chunk.items.into_iter().map(record).collect()), next: chunk.next })
    }
}

#[cfg(test)]
mod tests;
