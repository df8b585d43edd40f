//! Damaged ranges of the log: logged once each, counted in metrics, used by coverage.
//!
//! A range leaves the list when it is trimmed, or when its blocks are readable again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::journal::Damage;
use crate::model::Sequence;

#[derive(Debug, Default)]
pub(super) struct KnownDamage {
    /// By first sequence; ranges neither overlap nor touch.
    ranges: Mutex<BTreeMap<Sequence, Damage>>,
    /// False if there is no range: reads of undamaged logs take no lock.
    any: AtomicBool,
}

impl KnownDamage {
    /// Adds a range, and logs it unless all of it is known.
    pub(super) fn add(&self, dir: &Path, found: Damage) {
        let mut ranges = self.ranges.lock();
        let before = ranges.range(..=found.first).next_back().map(|(_, damage)| *damage);
        if before.is_some_and(|known| known.last >= found.last) {
            return;
        }
        let mut merged = found;
        let touching: Vec<Damage> = ranges
            .values()
            .filter(|it| it.first <= found.last.saturating_add(1) && found.first <= it.last.saturating_add(1))
            .copied()
            .collect();
        for known in touching {
            ranges.remove(&known.first);
            merged = Damage {
                first: merged.first.min(known.first),
                last: merged.last.max(known.last),
                from: merged.from.min(known.from),
                to: merged.to.max(known.to),
            };
        }
        ranges.insert(merged.first, merged);
        self.any.store(true, Ordering::Release);
        drop(ranges);
        let Damage { first, last, from, to } = found;
        tracing::error!(
            journal = %dir.display(), first, last, %from, %to, records = last - first + 1,
            "journal is damaged; records are reported to subscribers as JOURNAL_CORRUPT",
        );
    }

    /// Removes records that were read successfully.
    pub(super) fn read(&self, dir: &Path, first: Sequence, end: Sequence) {
        if self.any.load(Ordering::Acquire) && self.remove(first, end) {
            tracing::info!(journal = %dir.display(), first, last = end - 1, "damaged journal records are readable again");
        }
    }

    /// Removes trimmed records.
    pub(super) fn trimmed(&self, earliest: Sequence) {
        if self.any.load(Ordering::Acquire) {
            self.remove(0, earliest);
        }
    }

    /// Removes `first` to `end` (excluded); returns true if any of it was known.
    fn remove(&self, first: Sequence, end: Sequence) -> bool {
        let mut ranges = self.ranges.lock();
        let hit: Vec<Damage> = ranges.values().filter(|it| it.first < end && first <= it.last).copied().collect();
        for known in &hit {
            ranges.remove(&known.first);
            if known.first < first {
                ranges.insert(known.first, Damage { last: first - 1, ..*known });
            }
            if known.last >= end {
                ranges.insert(end, Damage { first: end, ..*known });
            }
        }
        self.any.store(!ranges.is_empty(), Ordering::Release);
        !hit.is_empty()
    }

    pub(super) fn list(&self) -> Vec<Damage> {
        self.ranges.lock().values().copied().collect()
    }

    /// Returns the number of records known to be damaged.
    pub(super) fn records(&self) -> u64 {
        self.ranges.lock().values().map(|it| it.last - it.first + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;

    #[test]
    fn ranges_merge_split_and_leave() {
        let known = KnownDamage::default();
        let damage = |first: u64, last: u64| Damage {
            first,
            last,
            from: UnixMillis(first as i64),
            to: UnixMillis(last as i64 + 1),
        };
        let ranges = || known.list().iter().map(|it| (it.first, it.last)).collect::<Vec<_>>();
        let dir = Path::new("log");
        for (first, last) in [(10, 19), (30, 39), (12, 15), (20, 24), (50, 50)] {
            known.add(dir, damage(first, last));
        }
        assert_eq!(ranges(), [(10, 24), (30, 39), (50, 50)]);
        known.add(dir, damage(5, 45));
        assert_eq!((ranges(), known.records()), (vec![(5, 45), (50, 50)], 42));
        known.read(dir, 10, 20);
        assert_eq!(ranges(), [(5, 9), (20, 45), (50, 50)]);
        known.trimmed(46);
        assert_eq!(ranges(), [(50, 50)]);
        known.read(dir, 1, 100);
        assert_eq!((ranges(), known.records()), (vec![], 0));
    }
}
