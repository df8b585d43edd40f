use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::entry::{Entry, EntryKind};
use crate::model::{IndexKey, KeyFilter, Sequence};

/// Ring buffer: the newest entries up to a limit in bytes, indexed by tag and rule.
///
/// Readers hold its lock only to clone references, never to filter or encode.
pub struct Ring {
    bytes_max: usize,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: VecDeque<Arc<Entry>>,
    /// Sequence of the first entry, or of the next one if the ring is empty.
    first: Sequence,
    bytes: usize,
    index: PostingIndex,
}

/// Sequences of the entries by tag and rule. Lists ascend, so eviction pops from the front.
#[derive(Default)]
struct PostingIndex {
    tags: PostingLists<Arc<str>>,
    /// Tags in order, for prefix lookups.
    names: BTreeSet<Arc<str>>,
    /// Created at the first lookup by rule: most filters name tags, and every event would pay for it.
    rules: Option<PostingLists<u64>>,
    /// GAP, SKIP and RULES records, which every session receives.
    notices: VecDeque<Sequence>,
}

type PostingLists<K> = HashMap<K, VecDeque<Sequence>, RandomState>;

/// Result of a read.
#[derive(Debug)]
pub struct RingRead {
    /// Entries that may match, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where to read on: nothing between the last entry and this can match.
    pub next: Sequence,
}

/// The cursor is behind the ring.
#[derive(Debug, PartialEq, Eq)]
pub struct CursorEvicted;

/// Limits of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadLimits {
    /// Maximum entries.
    pub entries: usize,
    /// Maximum bytes of encoded events; the first event is returned whatever its size.
    pub bytes: usize,
}

impl Ring {
    /// Creates an empty ring whose next entry has sequence `next`.
    pub fn new(bytes_max: usize, next: Sequence) -> Self {
        Self { bytes_max, inner: RwLock::new(Inner { first: next, ..Inner::default() }) }
    }

    /// Empties the ring; the next entry has sequence `next`.
    pub fn reset(&self, next: Sequence) {
        *self.inner.write() = Inner { first: next, ..Inner::default() };
    }

    /// Appends entries, and evicts the oldest above the limit.
    pub fn push(&self, entries: &[Arc<Entry>]) {
        // Payloads are dropped outside the lock.
        let mut gone = Vec::new();
        let mut inner = self.inner.write();
        for entry in entries {
            assert_eq!(entry.sequence, inner.next(), "the ring is a dense tail of the log");
            inner.bytes += entry.bytes();
            inner.index.add(entry);
            inner.entries.push_back(entry.clone());
            while inner.bytes > self.bytes_max && inner.entries.len() > 1 {
                gone.extend(inner.evict());
            }
        }
        drop(inner);
        drop(gone);
    }

    /// Returns true if a cursor at this sequence is not behind the ring.
    pub fn contains(&self, from: Sequence) -> bool {
        from >= self.inner.read().first
    }

    /// Returns the entries that may match, from `from` on.
    pub fn read(&self, from: Sequence, keys: &KeyFilter, limits: ReadLimits) -> Result<RingRead, CursorEvicted> {
        if let KeyFilter::AnyOf(keys) = keys
            && keys.iter().any(|key| matches!(key, IndexKey::Rule(_)))
        {
            self.index_rules();
        }
        let inner = self.inner.read();
        if from < inner.first {
            return Err(CursorEvicted);
        }
        Ok(match keys {
            KeyFilter::Always => inner.scan(from, limits),
            KeyFilter::AnyOf(keys) => inner.read_indexed(from, keys, limits),
        })
    }
}

impl Ring {
    fn index_rules(&self) {
        if self.inner.read().index.rules.is_some() {
            return;
        }
        let mut inner = self.inner.write();
        let Inner { entries, index, .. } = &mut *inner;
        if index.rules.is_none() {
            let mut rules = PostingLists::default();
            entries.iter().for_each(|entry| add_rules(&mut rules, entry));
            index.rules = Some(rules);
        }
    }
}

impl Inner {
    fn next(&self) -> Sequence {
        self.first + self.entries.len() as u64
    }

    fn evict(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.bytes -= entry.bytes();
        self.index.remove_oldest(&entry);
        Some(entry)
    }

    fn scan(&self, from: Sequence, limits: ReadLimits) -> RingRead {
        let start = (from - self.first) as usize;
        let entries = within(self.entries.iter().skip(start), limits);
        RingRead { next: from.max(entries.last().map_or(from, |entry| entry.sequence + 1)), entries }
    }

    fn read_indexed(&self, from: Sequence, keys: &[IndexKey], limits: ReadLimits) -> RingRead {
        let mut found = Vec::new();
        let mut collect = |list: &VecDeque<Sequence>| {
            let start = list.partition_point(|&sequence| sequence < from);
            found.extend(list.range(start..).take(limits.entries + 1).copied());
        };
        collect(&self.index.notices);
        keys.iter().for_each(|key| self.index.lists(key, &mut collect));
        found.sort_unstable();
        found.dedup();
        let at = |sequence: &Sequence| &self.entries[(sequence - self.first) as usize];
        let entries = within(found.iter().map(at), limits);
        let next = match (entries.last(), entries.len() < found.len()) {
            (Some(last), true) => last.sequence + 1,
            _ => self.next().max(from),
        };
        RingRead { entries, next }
    }
}

fn within<'a>(candidates: impl Iterator<Item = &'a Arc<Entry>>, limits: ReadLimits) -> Vec<Arc<Entry>> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in candidates.take(limits.entries) {
        bytes += entry.wire_bytes();
        if bytes > limits.bytes && !taken.is_empty() {
            break;
        }
        taken.push(entry.clone());
    }
    taken
}

impl PostingIndex {
    fn add(&mut self, entry: &Entry) {
        let sequence = entry.sequence;
        match &entry.kind {
            EntryKind::Event(event) => {
                for rule in event.rules.iter() {
                    if let Some(tag) = &rule.tag {
                        self.add_tag(tag, sequence);
                    }
                }
                if let Some(rules) = &mut self.rules {
                    add_rules(rules, entry);
                }
            }
            EntryKind::Gap(_) | EntryKind::Skip(_) | EntryKind::Rules(_) => self.notices.push_back(sequence),
            EntryKind::Term => {}
        }
    }

    fn add_tag(&mut self, tag: &Arc<str>, sequence: Sequence) {
        if let Some(list) = self.tags.get_mut(tag) {
            return push_once(list, sequence);
        }
        self.tags.insert(tag.clone(), [sequence].into());
        self.names.insert(tag.clone());
    }

    fn remove_oldest(&mut self, entry: &Entry) {
        match &entry.kind {
            EntryKind::Event(event) => {
                for rule in event.rules.iter() {
                    if let Some(tag) = &rule.tag
                        && pop_if_first(self.tags.get_mut(tag), entry.sequence)
                    {
                        self.tags.remove(tag);
                        self.names.remove(tag);
                    }
                    if let (Some(id), Some(rules)) = (rule.id, &mut self.rules)
                        && pop_if_first(rules.get_mut(&id), entry.sequence)
                    {
                        rules.remove(&id);
                    }
                }
            }
            EntryKind::Gap(_) | EntryKind::Skip(_) | EntryKind::Rules(_) => drop(self.notices.pop_front()),
            EntryKind::Term => {}
        }
    }

    fn lists(&self, key: &IndexKey, take: &mut impl FnMut(&VecDeque<Sequence>)) {
        match key {
            IndexKey::Tag(tag) => self.tags.get(tag).into_iter().for_each(take),
            IndexKey::Rule(id) => self.rules.iter().filter_map(|rules| rules.get(id)).for_each(take),
            IndexKey::Prefix(prefix) => self
                .names
                .range::<str, _>((Bound::Included(&**prefix), Bound::Unbounded))
                .take_while(|tag| tag.starts_with(&**prefix))
                .for_each(|tag| take(&self.tags[tag])),
        }
    }
}

fn add_rules(lists: &mut PostingLists<u64>, entry: &Entry) {
    for id in entry.event().into_iter().flat_map(|event| event.rules.iter()).filter_map(|rule| rule.id) {
        push_once(lists.entry(id).or_default(), entry.sequence);
    }
}

fn push_once(list: &mut VecDeque<Sequence>, sequence: Sequence) {
    if list.back() != Some(&sequence) {
        list.push_back(sequence);
    }
}

/// Removes `sequence` if it is first in the list. Returns true if the list is empty then.
fn pop_if_first(list: Option<&mut VecDeque<Sequence>>, sequence: Sequence) -> bool {
    let Some(list) = list else { return false };
    if list.front() == Some(&sequence) {
        list.pop_front();
    }
    list.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::filter::{Filter, FilterSpec};
    use crate::hub::test_util::{encoded, post_record, skip_record};

    const ALL: ReadLimits = ReadLimits { entries: usize::MAX - 1, bytes: usize::MAX };

    fn entry(sequence: Sequence, tags: &[&str]) -> Arc<Entry> {
        encoded(post_record(sequence, tags))
    }

    fn sequences(taken: &RingRead) -> Vec<Sequence> {
        taken.entries.iter().map(|entry| entry.sequence).collect()
    }

    #[test]
    fn indexed_read_skips_unmatched_entries() {
        let ring = Ring::new(usize::MAX, 1);
        ring.push(&[entry(1, &["a"]), entry(2, &["b", "c"]), entry(3, &[]), entry(4, &["a"])]);
        ring.push(&[encoded(skip_record(5))]);
        let keys = KeyFilter::AnyOf([IndexKey::Tag("b".into()), IndexKey::Prefix("c".into())].into());
        let taken = ring.read(1, &keys, ALL).expect("hot");
        assert_eq!((sequences(&taken), taken.next), (vec![2, 5], 6));
        let taken = ring.read(3, &keys, ReadLimits { entries: 1, bytes: usize::MAX }).expect("hot");
        assert_eq!((sequences(&taken), taken.next), (vec![5], 6));
        let taken = ring.read(1, &keys, ReadLimits { entries: 1, bytes: usize::MAX }).expect("hot");
        assert_eq!((sequences(&taken), taken.next), (vec![2], 3));
    }

    #[test]
    fn eviction_is_oldest_first_and_updates_index() {
        let size = entry(1, &["a"]).bytes();
        let ring = Ring::new(3 * size, 1);
        (1..=9).for_each(|sequence| ring.push(&[entry(sequence, &["a"])]));
        assert_eq!(ring.inner.read().first, 7);
        let keys = KeyFilter::AnyOf([IndexKey::Tag("a".into())].into());
        assert_eq!(ring.read(6, &keys, ALL).expect_err("left"), CursorEvicted);
        assert_eq!(sequences(&ring.read(7, &keys, ALL).expect("hot")), [7, 8, 9]);
        let index = &ring.inner.read().index;
        assert_eq!((index.tags.len(), index.names.len()), (1, 1));
    }

    #[test]
    fn rule_index_is_built_lazily() {
        let size = entry(1, &["a"]).bytes();
        let ring = Ring::new(5 * size, 1);
        let ask = |from, rule| {
            let keys = KeyFilter::AnyOf([IndexKey::Rule(rule)].into());
            sequences(&ring.read(from, &keys, ALL).expect("hot"))
        };
        // The rules of the fixtures' posts are numbered from 1.
        ring.push(&[entry(1, &["a"]), entry(2, &["a", "b"]), entry(3, &["a"])]);
        assert_eq!((ask(1, 2), ask(2, 1)), (vec![2], vec![2, 3]));
        ring.push(&[entry(4, &["a", "b"])]);
        assert_eq!((ask(1, 2), ask(1, 3)), (vec![2, 4], vec![]));
        (5..=9).for_each(|sequence| ring.push(&[entry(sequence, &["a"])]));
        let first = ring.inner.read().first;
        assert!(first > 4 && ask(first, 2).is_empty());
        assert_eq!(ring.inner.read().index.rules.as_ref().expect("made").len(), 1, "and are forgotten with the last");
    }

    proptest! {
        #[test]
        fn indexed_read_equals_full_scan(
            posts in prop::collection::vec(prop::collection::vec("[ab]{1,2}", 0..3), 1..40),
            any_of in prop::collection::vec("[ab]{0,2}\\*?", 1..4),
            from in 1_u64..45, entries in 1_usize..8,
        ) {
            let any_of: Vec<_> = any_of.into_iter().filter(|term| !term.is_empty()).collect();
            let filter = Filter::new(&FilterSpec { any_of, ..FilterSpec::default() }).expect("good");
            let ring = Ring::new(usize::MAX, 1);
            for (at, tags) in posts.iter().enumerate() {
                let tags: Vec<_> = tags.iter().map(String::as_str).collect();
                ring.push(&[entry(at as u64 + 1, &tags)]);
            }
            let matching = |keys: &KeyFilter| {
                let (mut cursor, mut found) = (from, Vec::new());
                loop {
                    let taken = ring.read(cursor, keys, ReadLimits { entries, bytes: usize::MAX }).expect("hot");
                    found.extend(taken.entries.iter().filter(|entry| {
                        filter.matches(&entry.event().expect("posts only").rules)
                    }).map(|entry| entry.sequence));
                    if taken.next == cursor { return found; }
                    cursor = taken.next;
                }
            };
            prop_assert_eq!(matching(filter.keys()), matching(&KeyFilter::Always));
        }
    }
}
