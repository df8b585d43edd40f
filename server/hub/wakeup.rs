use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use slab::Slab;

use super::entry::{Entry, EntryKind};
use super::sync::{AtomicBool, AtomicU64, Mutex, Notify, Ordering, fence};
use crate::model::{IndexKey, KeyFilter, Sequence, tags};

/// Maps filter keys to parked sessions. A batch wakes a session at most once, and only if it contains one of the
/// session's keys.
#[derive(Default)]
pub struct WakeupIndex {
    index: Mutex<KeyIndex>,
    /// All records before this were notified: a session still parked has no match before it.
    notified_up_to: AtomicU64,
}

#[derive(Default)]
struct KeyIndex {
    waiters: Slab<Arc<Waiter>>,
    tags: HashMap<Arc<str>, Waiters, RandomState>,
    /// Waiters by prefix; those of a tag are found by its own prefixes.
    prefixes: BTreeMap<Arc<str>, Waiters>,
    rules: HashMap<u64, Waiters, RandomState>,
    always: Waiters,
}

/// Waiters by slot. Most keys belong to one session: its waiter is stored inline.
#[derive(Default)]
enum Waiters {
    #[default]
    None,
    One(usize, Arc<Waiter>),
    Many(BTreeMap<usize, Arc<Waiter>>),
}

/// State of one waiting session.
#[derive(Default)]
pub struct Waiter {
    parked: AtomicBool,
    /// First sequence of the batch that woke it.
    wake_sequence: AtomicU64,
    notify: Notify,
}

impl Waiters {
    fn insert(&mut self, slot: usize, waiter: Arc<Waiter>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(slot, waiter),
            Self::One(first, other) => Self::Many([(first, other), (slot, waiter)].into()),
            Self::Many(mut waiters) => {
                waiters.insert(slot, waiter);
                Self::Many(waiters)
            }
        };
    }

    fn remove(&mut self, slot: usize) {
        match self {
            Self::Many(waiters) => {
                waiters.remove(&slot);
            }
            Self::One(only, _) if *only == slot => *self = Self::None,
            Self::One(..) | Self::None => {}
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(..) => false,
            Self::Many(waiters) => waiters.is_empty(),
        }
    }

    fn for_each(&self, mut act: impl FnMut(&Waiter)) {
        match self {
            Self::None => {}
            Self::One(_, waiter) => act(waiter),
            Self::Many(waiters) => waiters.values().for_each(|waiter| act(waiter)),
        }
    }
}

/// Proof that a session parked with nothing left to read: only then do later notifications show how far nothing can
/// match.
#[must_use]
pub struct ParkToken(());

/// A session's registration in the index; removed when dropped.
pub struct WaiterHandle {
    parked: Arc<WakeupIndex>,
    keys: KeyFilter,
    slot: usize,
    waiter: Arc<Waiter>,
}

impl WakeupIndex {
    /// Creates an index whose log continues at `next`.
    pub fn new(next: Sequence) -> Self {
        Self { index: Mutex::default(), notified_up_to: AtomicU64::new(next) }
    }

    /// Registers a session under the keys of its filter.
    pub fn register(self: &Arc<Self>, keys: KeyFilter) -> WaiterHandle {
        let waiter = Arc::new(Waiter::default());
        let mut index = self.index.lock();
        let slot = index.waiters.insert(waiter.clone());
        index.for_each_list(&keys, |list| {
            list.insert(slot, waiter.clone());
        });
        drop(index);
        WaiterHandle { parked: self.clone(), keys, slot, waiter }
    }

    /// Wakes the parked sessions that may match these entries, which are readable already. Returns their number.
    pub fn notify(&self, entries: &[Arc<Entry>]) -> usize {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return 0 };
        // The entries are published before the flags are read: the counterpart of `WaiterHandle::park`.
        fence(Ordering::SeqCst);
        let mut woken = 0;
        let index = self.index.lock();
        let mut wake_one = |waiter: &Waiter| {
            if waiter.parked.load(Ordering::Relaxed) && waiter.parked.swap(false, Ordering::AcqRel) {
                waiter.wake_sequence.store(first.sequence, Ordering::Release);
                waiter.notify.notify_one();
                woken += 1;
            }
        };
        let mut wake = |waiters: &Waiters| waiters.for_each(&mut wake_one);
        // One entry contains each of its keys once, so there is no need to deduplicate.
        let mut seen = (entries.len() > 1).then(WakeSet::default);
        let mut wake_all = false;
        for entry in entries {
            match &entry.kind {
                EntryKind::Event(event) => {
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
                EntryKind::Gap(_) | EntryKind::Skip(_) | EntryKind::Rules(_) => wake_all = true,
                EntryKind::Term => {}
            }
        }
        wake(&index.always);
        if wake_all {
            index.waiters.iter().for_each(|(_, waiter)| wake_one(waiter));
        }
        drop(index);
        self.notified_up_to.store(last.sequence + 1, Ordering::Release);
        woken
    }
}

#[derive(Default)]
struct WakeSet<'a> {
    tags: std::collections::HashSet<&'a Arc<str>, RandomState>,
    rules: std::collections::HashSet<u64, RandomState>,
}

impl KeyIndex {
    fn for_each_list(&mut self, keys: &KeyFilter, mut change: impl FnMut(&mut Waiters)) {
        let KeyFilter::AnyOf(keys) = keys else { return change(&mut self.always) };
        for key in keys.iter() {
            match key {
                IndexKey::Tag(tag) => change(self.tags.entry(tag.clone()).or_default()),
                IndexKey::Prefix(prefix) => change(self.prefixes.entry(prefix.clone()).or_default()),
                IndexKey::Rule(id) => change(self.rules.entry(*id).or_default()),
            }
        }
    }

    fn remove(&mut self, slot: usize, keys: &KeyFilter) {
        self.for_each_list(keys, |list| {
            list.remove(slot);
        });
        let KeyFilter::AnyOf(keys) = keys else { return drop(self.waiters.remove(slot)) };
        for key in keys.iter() {
            match key {
                IndexKey::Tag(tag) if self.tags.get(tag).is_some_and(Waiters::is_empty) => drop(self.tags.remove(tag)),
                IndexKey::Prefix(prefix) if self.prefixes.get(prefix).is_some_and(Waiters::is_empty) => {
                    drop(self.prefixes.remove(prefix));
                }
                IndexKey::Rule(id) if self.rules.get(id).is_some_and(Waiters::is_empty) => drop(self.rules.remove(id)),
                IndexKey::Tag(_) | IndexKey::Prefix(_) | IndexKey::Rule(_) => {}
            }
        }
        self.waiters.remove(slot);
    }

    /// Returns the registered prefixes of `tag`: at most one per character.
    fn prefixes_of(&self, tag: &str, wake: &mut impl FnMut(&Waiters)) {
        if self.prefixes.is_empty() {
            return;
        }
        for end in (0..=tag.len()).filter(|&end| tag.is_char_boundary(end)) {
            self.prefixes.get(&tag[..end]).into_iter().for_each(&mut *wake);
        }
    }
}

impl WaiterHandle {
    /// Parks the session, with everything before `cursor` read. Returns `None` if there is more to read by now: then
    /// the session is not parked.
    ///
    /// `next` must be read after the flag is set: records appended before are seen here, and later ones are notified to
    /// a parked session. Otherwise a batch notified just before the flag would be missed for good.
    pub fn park(&self, cursor: Sequence, next: impl FnOnce() -> Sequence) -> Option<ParkToken> {
        self.waiter.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if next() > cursor {
            self.waiter.parked.store(false, Ordering::SeqCst);
            return None;
        }
        Some(ParkToken(()))
    }

    /// Ends a wait that [`WaiterHandle::park`] began. Returns how far nothing can match: the session may advance its
    /// cursor there.
    pub fn unpark(&self, _: ParkToken) -> Option<Sequence> {
        // Read before the flag: later notifications are not covered.
        let notified_up_to = self.parked.notified_up_to.load(Ordering::Acquire);
        if self.waiter.parked.swap(false, Ordering::AcqRel) {
            return Some(notified_up_to);
        }
        // Zero while the waker is between its two steps; then nothing is covered. A value left from an earlier wait is
        // before the cursor.
        match self.waiter.wake_sequence.swap(0, Ordering::AcqRel) {
            0 => None,
            first => Some(first),
        }
    }

    /// Waits until woken.
    pub async fn wait(&self) {
        self.waiter.notify.notified().await;
    }
}

impl Drop for WaiterHandle {
    fn drop(&mut self) {
        self.parked.index.lock().remove(self.slot, &self.keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::filter::{Filter, FilterSpec};
    use crate::hub::test_util::{encoded, post_record, skip_record};

    fn any_of(terms: &[&str]) -> KeyFilter {
        let any_of = terms.iter().map(ToString::to_string).collect();
        Filter::new(&FilterSpec { any_of, ..FilterSpec::default() }).expect("good").keys().clone()
    }

    fn check(keys: KeyFilter, tags: &[&str], expected: usize) {
        let parked = Arc::new(WakeupIndex::new(1));
        let handle = parked.register(keys.clone());
        let waiting = handle.park(1, || 1).expect("nothing to read");
        let entry = encoded(post_record(1, tags));
        assert_eq!(parked.notify(std::slice::from_ref(&entry)), expected, "{keys:?} {tags:?}");
        assert_eq!(parked.notify(&[entry]), 0, "once is enough");
        assert_eq!(handle.unpark(waiting), Some(if expected == 1 { 1 } else { 2 }));
    }

    #[test]
    fn batch_wakes_matching_waiters() {
        check(any_of(&["a"]), &["a", "b"], 1);
        check(any_of(&["a"]), &["b"], 0);
        check(any_of(&["a*"]), &["abc"], 1);
        check(any_of(&["ab*", "*"]), &["x"], 1);
        check(any_of(&["*"]), &[], 1);
        check(KeyFilter::Always, &[], 1);
        check(KeyFilter::AnyOf([IndexKey::Rule(1)].into()), &["first has rule 1"], 1);
    }

    #[test]
    fn waiters_of_one_tag_deregister_individually() {
        let parked = Arc::new(WakeupIndex::new(1));
        let mut handles: Vec<_> = (0..3).map(|_| parked.register(any_of(&["a"]))).collect();
        let entry = encoded(post_record(1, &["a", "b"]));
        while !handles.is_empty() {
            handles.iter().for_each(|handle| drop(handle.park(1, || 1).expect("nothing to read")));
            assert_eq!(parked.notify(std::slice::from_ref(&entry)), handles.len());
            handles.remove(handles.len() / 2);
        }
        let index = parked.index.lock();
        assert!(index.waiters.is_empty() && index.tags.is_empty());
    }

    #[test]
    fn notice_wakes_all_dropped_waiter_is_removed() {
        let parked = Arc::new(WakeupIndex::new(1));
        let handles = [parked.register(any_of(&["a"])), parked.register(any_of(&["b*"]))];
        let park = |handle: &WaiterHandle| drop(handle.park(1, || 1).expect("nothing to read"));
        handles.iter().for_each(park);
        let skip = encoded(skip_record(1));
        assert_eq!(parked.notify(std::slice::from_ref(&skip)), 2);
        handles.iter().for_each(park);
        drop(handles);
        assert_eq!(parked.notify(&[skip]), 0);
        let index = parked.index.lock();
        assert!(index.waiters.is_empty() && index.tags.is_empty() && index.prefixes.is_empty());
    }

    /// Found by the fan-out benchmark: one delivery in a million was lost.
    #[test]
    fn no_lost_wakeup_when_notify_precedes_park() {
        let parked = Arc::new(WakeupIndex::new(1));
        let handle = parked.register(any_of(&["a"]));
        let entry = encoded(post_record(1, &["a"]));
        assert_eq!(parked.notify(std::slice::from_ref(&entry)), 0, "not parked yet");
        assert!(handle.park(1, || 2).is_none(), "it has to read on first");
        assert!(!handle.waiter.parked.load(Ordering::SeqCst), "and no promise is made for it meanwhile");
        let waiting = handle.park(2, || 2).expect("and then waits");
        assert_eq!(handle.unpark(waiting), Some(2));
    }
}
