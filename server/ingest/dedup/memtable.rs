use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::KnownPost;
use super::block::IdEntry;
use super::trailer::IdCoverage;
use crate::model::{Epoch, PostId, Rule, Sequence, UnixMillis};

/// A table of ids in memory: first active, then frozen until it is flushed to a file.
///
/// Rule sets are interned within the table, so that they are freed with it.
pub(super) struct MemTable {
    /// First covered sequence.
    pub(super) first: Sequence,
    /// Last covered sequence; `first - 1` while empty.
    pub(super) last: Sequence,
    /// Sequence of the first record.
    base: Sequence,
    received: Option<(UnixMillis, UnixMillis)>,
    slots: HashMap<u64, Slot, FixedState>,
    sets: Vec<Arc<[Rule]>>,
    numbers: HashMap<Arc<[Rule]>, u32, FixedState>,
    sets_bytes: usize,
}

/// 8 bytes in addition to the id, so that 900,000 ids take 18 MiB.
#[derive(Clone, Copy)]
struct Slot {
    set: u32,
    /// Sequence minus `base`.
    offset: u32,
}

impl MemTable {
    /// Creates an empty table after `first - 1`, with this capacity.
    pub(super) fn new(first: Sequence, ids: usize) -> Self {
        Self {
            first,
            last: first.saturating_sub(1),
            base: first,
            received: None,
            slots: HashMap::with_capacity_and_hasher(ids, FixedState::default()),
            sets: Vec::new(),
            numbers: HashMap::default(),
            sets_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Approximate bytes of the rule sets.
    pub(super) fn sets_bytes(&self) -> usize {
        self.sets_bytes
    }

    /// True if the offset of this sequence fits into a slot.
    pub(super) fn covers(&self, sequence: Sequence) -> bool {
        self.received.is_none() || u32::try_from(sequence.saturating_sub(self.base)).is_ok()
    }

    pub(super) fn find(&self, id: PostId) -> Option<KnownPost> {
        let slot = self.slots.get(&id.0)?;
        Some(KnownPost {
            rules: self.sets[slot.set as usize].clone(),
            sequence: self.base + Sequence::from(slot.offset),
        })
    }

    /// Inserts an entry; it replaces the previous entry of the id. Sequences ascend; those before `first` are in files
    /// already.
    pub(super) fn insert(&mut self, id: PostId, rules: &Arc<[Rule]>, sequence: Sequence, received: UnixMillis) {
        if sequence < self.first {
            return;
        }
        if self.received.is_none() {
            self.base = sequence;
        }
        let set = match self.numbers.get(rules) {
            Some(number) => *number,
            None => self.intern(rules),
        };
        let offset = u32::try_from(sequence.saturating_sub(self.base)).unwrap_or(u32::MAX);
        self.slots.insert(id.0, Slot { set, offset });
        self.last = self.last.max(sequence);
        let (min, max) = self.received.unwrap_or((received, received));
        self.received = Some((min.min(received), max.max(received)));
    }

    /// Returns the covered part of the log; `None` if the table is empty.
    pub(super) fn coverage(&self, epoch: Epoch) -> Option<IdCoverage> {
        let (received_min, received_max) = self.received?;
        let (first, last) = (self.first, self.last);
        Some(IdCoverage { epoch, first, last, complete: last, received_min, received_max })
    }

    /// Returns all entries in the order of ids.
    pub(super) fn sorted(&self) -> impl Iterator<Item = IdEntry> {
        let mut all: Vec<(u64, Slot)> = self.slots.iter().map(|(id, slot)| (*id, *slot)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(id, slot)| IdEntry {
            id: PostId(id),
            rules: self.sets[slot.set as usize].clone(),
            sequence: self.base + Sequence::from(slot.offset),
        })
    }

    fn intern(&mut self, rules: &Arc<[Rule]>) -> u32 {
        let number = self.sets.len() as u32;
        self.sets.push(rules.clone());
        self.numbers.insert(rules.clone(), number);
        // 64 bytes for the set in both tables, 48 for each rule, and the tags.
        let tags = rules.iter().filter_map(|rule| rule.tag.as_deref()).map(str::len).sum::<usize>();
        self.sets_bytes += 64 + rules.len() * 48 + tags;
        number
    }
}
