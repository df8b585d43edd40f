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
    /// It passes a post that the side log has as well, or a DELTA of a post that matched before: lineages that had private
    /// gaps look at them one by one.
    pub is_doubtful: bool,
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
        let Gathering { entries, received, oldest_brought, is_doubtful, term, .. } = gathering;
        let chunk = term.map(|term| Arc::new(Chunk::new(entries, asked.phase, (term, false), self.readers())));
        (next > asked.from).then_some(Stretch { next, chunk, received, oldest_brought, is_doubtful })
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
    is_doubtful: bool,
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
            Kind::Event(event) => self.is_doubtful |= event.prior.is_some() && filter.matches(&event.rules),
            Kind::Term => {}
        }
        self.received = Some(entry.received);
        true
    }

    fn add(&mut self, entry: &Arc<Entry>, event: &Event) {
        self.term = Some(entry.term);
        self.bytes += event.wire.byte_count();
        self.entries.push(entry.clone());
        self.is_doubtful |= event.beside.is_some();
        if event.origin != Origin::Live {
            let created = event.created.unwrap_or_default();
            self.oldest_brought = Some(self.oldest_brought.map_or(created, |oldest| oldest.min(created)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::filter::Request;
    use crate::hub::fixtures::{encoded, post_record, skip_record};

    const LIMITS: Limits = Limits { entries: 3, bytes: usize::MAX };

    fn filter(any_of: &str) -> Filter {
        Filter::new(&Request { any_of: vec![any_of.into()], ..Request::default() }).expect("good")
    }

    fn asked(from: Sequence) -> Asked {
        Asked { limits: LIMITS, phase: Phase::Live, from }
    }

    fn push(ring: &Ring, from: Sequence, tags: &[&str]) {
        for (at, tag) in tags.iter().enumerate() {
            ring.push(&[encoded(post_record(from + at as u64, &[tag]))]);
        }
    }

    #[test]
    fn those_that_stand_apart_come_to_share() {
        let (audiences, ring) = (Arc::new(Audiences::new(1 << 20)), Ring::new(usize::MAX, 1));
        push(&ring, 1, &["a"; 9]);
        let [ahead, behind, other] = ["a", "a", "*"].map(|term| audiences.enter(filter(term)));
        let first = ahead.take(&ring, asked(1)).expect("in the ring");
        let rest = behind.take(&ring, asked(2)).expect("in the ring");
        assert_eq!((first.next, rest.next), (4, 4), "it takes what is left of the stretch it stands in");
        let [one, same] = [&ahead, &behind].map(|seat| seat.take(&ring, asked(4)).expect("in the ring"));
        assert!(Arc::ptr_eq(&one, &same), "and then they go together");
        assert!(!Arc::ptr_eq(&one, &other.take(&ring, asked(4)).expect("in the ring")), "other filters do not");
        drop((ahead, behind, other));
        assert!(audiences.by_filter.lock().is_empty(), "who has left is forgotten");
    }

    #[test]
    fn a_notice_ends_a_stretch_and_is_left_to_each_session() {
        let (audiences, ring) = (Arc::new(Audiences::new(1 << 20)), Ring::new(usize::MAX, 1));
        push(&ring, 1, &["a", "b"]);
        ring.push(&[encoded(skip_record(3))]);
        let seat = audiences.enter(filter("a"));
        assert_eq!(seat.take(&ring, asked(1)).expect("a post is before it").next, 3);
        assert!(seat.take(&ring, asked(3)).is_none());
    }

    proptest! {
        #[test]
        fn each_gets_what_matches_whoever_put_it_together_and_what_is_kept_is_bounded(
            tags in prop::collection::vec(prop_oneof!["a", "b"], 1..40), starts in prop::collection::vec(1_u64..20, 2..5),
            turns in prop::collection::vec(0_usize..5, 200), bytes_max in 0_usize..4_000,
        ) {
            let (audiences, ring) = (Arc::new(Audiences::new(bytes_max)), Ring::new(usize::MAX, 1));
            let seats: Vec<_> = starts.iter().map(|_| audiences.enter(filter("a"))).collect();
            let (mut cursors, mut got) = (starts.clone(), vec![Vec::new(); starts.len()]);
            let mut unpushed = tags.iter();
            for turn in turns {
                if let Some(tag) = unpushed.next() {
                    push(&ring, (tags.len() - unpushed.len()) as u64, &[tag]);
                }
                let at = turn % seats.len();
                let next = (tags.len() - unpushed.len()) as u64 + 1;
                let stretch = (cursors[at] < next).then(|| seats[at].take(&ring, asked(cursors[at])).expect("no notice"));
                let Some(stretch) = stretch else { continue };
                cursors[at] = stretch.next;
                let chunk = stretch.chunk.iter().flat_map(|chunk| chunk.entries.iter());
                got[at].extend(chunk.map(|entry| entry.sequence));
                let all = audiences.all_kept.lock();
                prop_assert!(all.bytes <= bytes_max);
                let kept: usize = seats[0].audience.kept.lock().values().map(|stretch| stretch.bytes()).sum();
                prop_assert_eq!(kept, all.bytes);
            }
            for ((start, cursor), got) in starts.iter().zip(cursors).zip(got) {
                let matching = |sequence: &Sequence| tags[*sequence as usize - 1] == "a";
                prop_assert_eq!(got, (*start..cursor.min(tags.len() as u64 + 1)).filter(matching).collect::<Vec<_>>());
            }
        }
    }
}
