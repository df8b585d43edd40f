//! Sessions with the same filter: what one of them gets next is put together once for all of them.
//!
//! A cursor that stands where another stood a moment ago takes what was put together then; one that stands within it takes
//! the rest, and from then on they go together. So sessions that began at different times come to share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::chunk::Chunk;
use super::entry::{Entry, Event, Kind};
use super::filter::Filter;
use super::ring::{Limits, Ring};
use super::subscription::Phase;
use crate::model::{Origin, Sequence, Term, UnixMillis};

/// All audiences.
pub struct Audiences {
    bytes_max: usize,
    by_filter: Mutex<HashMap<u64, Weak<Audience>, RandomState>>,
    /// What all of them keep, the oldest first.
    all_kept: Mutex<AllKept>,
}

/// Sessions with one filter.
struct Audience {
    filter: Filter,
    kept: Arc<Kept>,
}

/// Stretches that are kept for whoever asks for the same.
type Kept = Mutex<BTreeMap<Asked, Arc<Stretch>>>;

#[derive(Default)]
struct AllKept {
    bytes: usize,
    order: VecDeque<(Weak<Kept>, Asked, usize)>,
}

/// A session's place in an audience.
pub struct Seat {
    audience: Arc<Audience>,
    audiences: Arc<Audiences>,
}

/// What lies between two cursors, for those with one filter.
#[derive(Debug)]
pub struct Stretch {
    /// Where to read on.
    pub next: Sequence,
    /// What matched; nothing if nothing did.
    pub chunk: Option<Arc<Chunk>>,
    /// When the last record looked at was received.
    pub received: Option<UnixMillis>,
    /// When the oldest of its posts that did not come live was created.
    pub oldest_brought: Option<UnixMillis>,
}

/// What a session asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// How much at the most.
    pub limits: Limits,
    /// Where the session stands.
    pub phase: Phase,
    /// The next record to pass.
    pub from: Sequence,
}

impl Audiences {
    /// None yet; what they keep is bounded by `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, by_filter: Mutex::default(), all_kept: Mutex::default() }
    }

    /// A place for a session with this filter.
    pub fn enter(self: &Arc<Self>, filter: Filter) -> Seat {
        let mut by_filter = self.by_filter.lock();
        let fingerprint = filter.fingerprint();
        let known = by_filter.get(&fingerprint).and_then(Weak::upgrade).filter(|known| known.filter == filter);
        let audience = known.unwrap_or_else(|| {
            let audience = Arc::new(Audience { filter, kept: Arc::default() });
            by_filter.insert(fingerprint, Arc::downgrade(&audience));
            audience
        });
        Seat { audience, audiences: self.clone() }
    }

    fn keep(&self, kept: &Arc<Kept>, asked: Asked, bytes: usize) {
        let mut gone = Vec::new();
        let mut all = self.all_kept.lock();
        all.bytes += bytes;
        all.order.push_back((Arc::downgrade(kept), asked, bytes));
        while all.bytes > self.bytes_max
            && let Some((kept, asked, bytes)) = all.order.pop_front()
        {
            all.bytes -= bytes;
            gone.push((kept, asked));
        }
        drop(all);
        for (kept, asked) in gone {
            kept.upgrade().and_then(|kept| kept.lock().remove(&asked));
        }
    }
}

impl Seat {
    /// The filter that all here have.
    pub fn filter(&self) -> &Filter {
        &self.audience.filter
    }

    /// Sessions with this filter.
    fn readers(&self) -> usize {
        Arc::strong_count(&self.audience)
    }

    /// What comes next in the ring; `None` where it has to be looked at record by record: the cursor is behind the ring or
    /// at the tip, or a notice is next.
    pub fn take(&self, ring: &Ring, asked: Asked) -> Option<Arc<Stretch>> {
        if self.readers() == 1 {
            return self.gather(ring, asked, Sequence::MAX).map(Arc::new);
        }
        let mut kept = self.audience.kept.lock();
        if let Some(stretch) = kept.get(&asked) {
            return Some(stretch.clone());
        }
        let around = kept.range(..asked).next_back().filter(|(other, stretch)| {
            (other.limits, other.phase) == (asked.limits, asked.phase) && stretch.next > asked.from
        });
        let until = around.map_or(Sequence::MAX, |(_, stretch)| stretch.next);
        // Under the lock: whoever wants the same waits for it instead of doing it again.
        let stretch = Arc::new(self.gather(ring, asked, until)?);
        kept.insert(asked, stretch.clone());
        drop(kept);
        self.audiences.keep(&self.audience.kept, asked, stretch.bytes());
        Some(stretch)
    }

    fn gather(&self, ring: &Ring, asked: Asked, until: Sequence) -> Option<Stretch> {
        let taken = ring.take(asked.from, self.filter().keys(), asked.limits).ok()?;
        let mut gathering = Gathering::default();
        let mut next = taken.next.min(until);
        for entry in taken.entries.iter().take_while(|entry| entry.sequence < until) {
            if !gathering.take(entry, self.filter(), asked.limits) {
                next = entry.sequence;
                break;
            }
        }
        let Gathering { entries, received, oldest_brought, term, .. } = gathering;
        let chunk = term.map(|term| Arc::new(Chunk::new(entries, asked.phase, (term, false), self.readers())));
        (next > asked.from).then_some(Stretch { next, chunk, received, oldest_brought })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_filter = self.audiences.by_filter.lock();
        let fingerprint = self.filter().fingerprint();
        let last = self.readers() == 1;
        if last && by_filter.get(&fingerprint).is_some_and(|known| known.as_ptr() == Arc::as_ptr(&self.audience)) {
            by_filter.remove(&fingerprint);
        }
    }
}

impl Stretch {
    /// Bytes that it keeps in memory, about.
    fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.chunk.as_ref().map_or(0, |chunk| chunk.bytes())
    }
}

#[derive(Default)]
struct Gathering {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    term: Option<Term>,
    received: Option<UnixMillis>,
    oldest_brought: Option<UnixMillis>,
}

impl Gathering {
    /// Passes a record; false if the stretch has to end in front of it.
    fn take(&mut self, entry: &Arc<Entry>, filter: &Filter, limits: Limits) -> bool {
        match &entry.kind {
            Kind::Gap(_) | Kind::Skip(_) => return false,
            Kind::Event(event) if filter.matches_event(event) => {
                let bytes = self.bytes + event.wire.byte_count();
                let fits = self.entries.is_empty() || self.entries.len() < limits.entries && bytes <= limits.bytes;
                if !fits || self.term.is_some_and(|term| term != entry.term) {
                    return false;
                }
                self.add(entry, event);
            }
            Kind::Event(_) | Kind::Term => {}
        }
        self.received = Some(entry.received);
        true
    }

    fn add(&mut self, entry: &Arc<Entry>, event: &Event) {
        self.term = Some(entry.term);
        self.bytes += event.wire.byte_count();
        self.entries.push(entry.clone());
        if event.origin != Origin::Live {
            let created = event.created.unwrap_or_default();
            self.oldest_brought = Some(self.oldest_brought.map_or(created, |oldest| oldest.min(created)));
        }
    }
}
