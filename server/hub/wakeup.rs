use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use slab::Slab;

use super::entry::{Entry, Kind};
use super::sync::{AtomicBool, AtomicU64, Mutex, Notify, Ordering, fence};
use crate::model::{Key, Keys, Sequence, tags};

/// Whom to wake: sessions by the keys of their filter. A batch wakes a session at most once, and one whose keys it does
/// not hold not at all.
#[derive(Default)]
pub struct Parked {
    index: Mutex<Index>,
    /// Everything before this has been offered to the index: a session still parked has no match before it.
    offered: AtomicU64,
}

#[derive(Default)]
struct Index {
    seats: Slab<Arc<Seat>>,
    tags: HashMap<Arc<str>, Seats, RandomState>,
    /// By prefix; the ones of a tag are found by its own beginnings.
    prefixes: BTreeMap<Arc<str>, Seats>,
    rules: HashMap<u64, Seats, RandomState>,
    always: Seats,
}

/// Seats by their slot. Most keys are one session's: its seat is found without a way through a tree.
#[derive(Default)]
enum Seats {
    #[default]
    None,
    One(usize, Arc<Seat>),
    Many(BTreeMap<usize, Arc<Seat>>),
}

/// Where one session waits.
#[derive(Default)]
pub struct Seat {
    parked: AtomicBool,
    /// First sequence of the batch that woke it.
    woken_at: AtomicU64,
    notify: Notify,
}

impl Seats {
    fn insert(&mut self, slot: usize, seat: Arc<Seat>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(slot, seat),
            Self::One(first, other) => Self::Many([(first, other), (slot, seat)].into()),
            Self::Many(mut seats) => {
                seats.insert(slot, seat);
                Self::Many(seats)
            }
        };
    }

    fn remove(&mut self, slot: usize) {
        match self {
            Self::Many(seats) => {
                seats.remove(&slot);
            }
            Self::One(only, _) if *only == slot => *self = Self::None,
            Self::One(..) | Self::None => {}
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(..) => false,
            Self::Many(seats) => seats.is_empty(),
        }
    }

    fn for_each(&self, mut act: impl FnMut(&Seat)) {
        match self {
            Self::None => {}
            Self::One(_, seat) => act(seat),
            Self::Many(seats) => seats.values().for_each(|seat| act(seat)),
        }
    }
}

/// Proof that a session parked with nothing left to read: only then does what is offered meanwhile say how far nothing
/// can match.
#[must_use]
pub struct Waiting(());

/// A session's place in the index; leaves it when dropped.
pub struct Ticket {
    parked: Arc<Parked>,
    keys: Keys,
    slot: usize,
    seat: Arc<Seat>,
}

impl Parked {
    /// An index whose log goes on at `next`.
    pub fn new(next: Sequence) -> Self {
        Self { index: Mutex::default(), offered: AtomicU64::new(next) }
    }

    /// Registers a session under the keys of its filter.
    pub fn register(self: &Arc<Self>, keys: Keys) -> Ticket {
        let seat = Arc::new(Seat::default());
        let mut index = self.index.lock();
        let slot = index.seats.insert(seat.clone());
        index.for_each_list(&keys, |list| {
            list.insert(slot, seat.clone());
        });
        drop(index);
        Ticket { parked: self.clone(), keys, slot, seat }
    }

    /// Wakes the parked sessions that these entries may be for. The entries are readable already. Returns how many.
    pub fn offer(&self, entries: &[Arc<Entry>]) -> usize {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return 0 };
        // The entries are published before the flags are read: the other half of `Ticket::park`.
        fence(Ordering::SeqCst);
        let mut woken = 0;
        let index = self.index.lock();
        let mut wake_one = |seat: &Seat| {
            if seat.parked.load(Ordering::Relaxed) && seat.parked.swap(false, Ordering::AcqRel) {
                seat.woken_at.store(first.sequence, Ordering::Release);
                seat.notify.notify_one();
                woken += 1;
            }
        };
        let mut wake = |seats: &Seats| seats.for_each(&mut wake_one);
        // One entry names each of its keys once: there is nothing to remember.
        let mut seen = (entries.len() > 1).then(Seen::default);
        let mut everybody = false;
        for entry in entries {
            match &entry.kind {
                Kind::Event(event) => {
                    let fresh = tags(&event.rules).filter(|tag| seen.as_mut().is_none_or(|seen| seen.tags.insert(tag)));
                    for tag in fresh {
                        index.tags.get(tag).into_iter().for_each(&mut wake);
                        index.prefixes_of(tag, &mut wake);
                    }
                    for id in event.rules.iter().filter_map(|rule| rule.id) {
                        if seen.as_mut().is_none_or(|seen| seen.rules.insert(id)) {
                            index.rules.get(&id).into_iter().for_each(&mut wake);
                        }
                    }
                }
                Kind::Gap(_) | Kind::Skip(_) => everybody = true,
                Kind::Term => {}
            }
        }
        wake(&index.always);
        if everybody {
            index.seats.iter().for_each(|(_, seat)| wake_one(seat));
        }
        drop(index);
        self.offered.store(last.sequence + 1, Ordering::Release);
        woken
    }
}

#[derive(Default)]
struct Seen<'a> {
    tags: std::collections::HashSet<&'a Arc<str>, RandomState>,
    rules: std::collections::HashSet<u64, RandomState>,
}

impl Index {
    fn for_each_list(&mut self, keys: &Keys, mut change: impl FnMut(&mut Seats)) {
        let Keys::AnyOf(keys) = keys else { return change(&mut self.always) };
        for key in keys.iter() {
            match key {
                Key::Tag(tag) => change(self.tags.entry(tag.clone()).or_default()),
                Key::Prefix(prefix) => change(self.prefixes.entry(prefix.clone()).or_default()),
                Key::Rule(id) => change(self.rules.entry(*id).or_default()),
            }
        }
    }

    fn remove(&mut self, slot: usize, keys: &Keys) {
        self.for_each_list(keys, |list| {
            list.remove(slot);
        });
        let Keys::AnyOf(keys) = keys else { return drop(self.seats.remove(slot)) };
        for key in keys.iter() {
            match key {
                Key::Tag(tag) if self.tags.get(tag).is_some_and(Seats::is_empty) => drop(self.tags.remove(tag)),
                Key::Prefix(prefix) if self.prefixes.get(prefix).is_some_and(Seats::is_empty) => {
                    drop(self.prefixes.remove(prefix));
                }
                Key::Rule(id) if self.rules.get(id).is_some_and(Seats::is_empty) => drop(self.rules.remove(id)),
                Key::Tag(_) | Key::Prefix(_) | Key::Rule(_) => {}
            }
        }
        self.seats.remove(slot);
    }

    /// The registered prefixes that `tag` begins with: it has no more of them than it has characters.
    fn prefixes_of(&self, tag: &str, wake: &mut impl FnMut(&Seats)) {
        if self.prefixes.is_empty() {
            return;
        }
        for end in (0..=tag.len()).filter(|&end| tag.is_char_boundary(end)) {
            self.prefixes.get(&tag[..end]).into_iter().for_each(&mut *wake);
        }
    }
}

impl Ticket {
    /// Says that the session is about to wait, with all before `cursor` read. `None` if there is more to read by now:
    /// then the session is not parked.
    ///
    /// The look at `next` has to come after the flag: what is appended before it, the session sees here, and what is
    /// appended after it is offered to a session that is parked. A batch that was offered a moment before the flag would
    /// otherwise be passed over for good.
    pub fn park(&self, cursor: Sequence, next: impl FnOnce() -> Sequence) -> Option<Waiting> {
        self.seat.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if next() > cursor {
            self.seat.parked.store(false, Ordering::SeqCst);
            return None;
        }
        Some(Waiting(()))
    }

    /// Ends a wait that [`Ticket::park`] began, and tells how far nothing can match: the session may move its cursor
    /// there.
    pub fn unpark(&self, _: Waiting) -> Option<Sequence> {
        // Read before the flag: what is offered later than this is not promised.
        let offered = self.parked.offered.load(Ordering::Acquire);
        if self.seat.parked.swap(false, Ordering::AcqRel) {
            return Some(offered);
        }
        // Zero while the waker is between its two steps; then nothing is promised. One left over from an earlier wait
        // lies before the cursor.
        match self.seat.woken_at.swap(0, Ordering::AcqRel) {
            0 => None,
            first => Some(first),
        }
    }

    /// Waits until woken.
    pub async fn wait(&self) {
        self.seat.notify.notified().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.parked.index.lock().remove(self.slot, &self.keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::filter::{Filter, Request};
    use crate::hub::test_util::{encoded, post_record, skip_record};

    fn any_of(terms: &[&str]) -> Keys {
        let any_of = terms.iter().map(ToString::to_string).collect();
        Filter::new(&Request { any_of, ..Request::default() }).expect("good").keys().clone()
    }

    fn check(keys: Keys, tags: &[&str], expected: usize) {
        let parked = Arc::new(Parked::new(1));
        let ticket = parked.register(keys.clone());
        let waiting = ticket.park(1, || 1).expect("nothing to read");
        let entry = encoded(post_record(1, tags));
        assert_eq!(parked.offer(std::slice::from_ref(&entry)), expected, "{keys:?} {tags:?}");
        assert_eq!(parked.offer(&[entry]), 0, "once is enough");
        assert_eq!(ticket.unpark(waiting), Some(if expected == 1 { 1 } else { 2 }));
    }

    #[test]
    fn a_batch_wakes_those_it_may_be_for() {
        check(any_of(&["a"]), &["a", "b"], 1);
        check(any_of(&["a"]), &["b"], 0);
        check(any_of(&["a*"]), &["abc"], 1);
        check(any_of(&["ab*", "*"]), &["x"], 1);
        check(any_of(&["*"]), &[], 1);
        check(Keys::Always, &[], 1);
        check(Keys::AnyOf([Key::Rule(1)].into()), &["first has rule 1"], 1);
    }

    #[test]
    fn sessions_of_one_tag_are_all_woken_and_leave_one_by_one() {
        let parked = Arc::new(Parked::new(1));
        let mut tickets: Vec<_> = (0..3).map(|_| parked.register(any_of(&["a"]))).collect();
        let entry = encoded(post_record(1, &["a", "b"]));
        while !tickets.is_empty() {
            tickets.iter().for_each(|ticket| drop(ticket.park(1, || 1).expect("nothing to read")));
            assert_eq!(parked.offer(std::slice::from_ref(&entry)), tickets.len());
            tickets.remove(tickets.len() / 2);
        }
        let index = parked.index.lock();
        assert!(index.seats.is_empty() && index.tags.is_empty());
    }

    #[test]
    fn a_notice_wakes_everybody_and_a_dropped_ticket_nobody() {
        let parked = Arc::new(Parked::new(1));
        let tickets = [parked.register(any_of(&["a"])), parked.register(any_of(&["b*"]))];
        let park = |ticket: &Ticket| drop(ticket.park(1, || 1).expect("nothing to read"));
        tickets.iter().for_each(park);
        let skip = encoded(skip_record(1));
        assert_eq!(parked.offer(std::slice::from_ref(&skip)), 2);
        tickets.iter().for_each(park);
        drop(tickets);
        assert_eq!(parked.offer(&[skip]), 0);
        let index = parked.index.lock();
        assert!(index.seats.is_empty() && index.tags.is_empty() && index.prefixes.is_empty());
    }

    /// Found by the fan-out benchmark: one delivery in a million was lost.
    #[test]
    fn a_batch_offered_just_before_a_session_parks_is_not_passed_over() {
        let parked = Arc::new(Parked::new(1));
        let ticket = parked.register(any_of(&["a"]));
        let entry = encoded(post_record(1, &["a"]));
        assert_eq!(parked.offer(std::slice::from_ref(&entry)), 0, "not parked yet");
        assert!(ticket.park(1, || 2).is_none(), "it has to read on first");
        assert!(!ticket.seat.parked.load(Ordering::SeqCst), "and no promise is made for it meanwhile");
        let waiting = ticket.park(2, || 2).expect("and then waits");
        assert_eq!(ticket.unpark(waiting), Some(2));
    }
}
