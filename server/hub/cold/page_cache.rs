//! Page cache of the journal: pages are decoded and encoded once for all sessions that read them.
//!
//! A page covers whole blocks of the journal, so that the next page decompresses nothing again, and contains every
//! record of its range. Records never change (I7), so a page stays valid until its records are trimmed. Damaged records
//! are in no page.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::hub::entry::{EncodedEvent, Entry};
use crate::hub::read::Read;
use crate::model::Sequence;

/// Approximate payload of a page: a block of a recompressed segment.
pub(in crate::hub) const PAGE_BYTES: usize = 256 << 10;

/// Minimum accounted bytes of a page, and of an entry without wire bytes.
const FIXED_BYTES: usize = 256;

/// A contiguous range of the log.
#[derive(Debug)]
pub(in crate::hub) struct Page {
    entries: Vec<Arc<Entry>>,
    first: Sequence,
    next: Sequence,
    bytes: usize,
}

/// Cached pages up to a limit in bytes, evicted in LRU order.
pub(in crate::hub) struct PageCache {
    bytes_max: usize,
    kept: Mutex<LruIndex>,
}

#[derive(Default)]
struct LruIndex {
    by_first: BTreeMap<Sequence, (Arc<Page>, u64)>,
    /// Pages by last use.
    by_use: BTreeMap<u64, Sequence>,
    uses: u64,
    bytes: usize,
}

impl Page {
    /// Creates a page of these entries; `None` if one is missing before `next`, or there are none.
    pub(in crate::hub) fn new(entries: Vec<Arc<Entry>>, next: Sequence) -> Option<Self> {
        let first = entries.first()?.sequence;
        let bytes = FIXED_BYTES + entries.iter().map(|entry| entry.bytes()).sum::<usize>();
        let dense = next - first == entries.len() as u64 && entries.last()?.sequence + 1 == next;
        dense.then_some(Self { entries, first, next, bytes })
    }

    /// Returns the first sequence.
    pub(in crate::hub) fn first(&self) -> Sequence {
        self.first
    }

    /// Returns the sequence after the last.
    pub(in crate::hub) fn next(&self) -> Sequence {
        self.next
    }

    /// Returns its entries from `from` on, as many as pin at most `bytes_max` of memory, but at least those of one
    /// slab. `None` if the page does not contain `from`.
    pub(in crate::hub) fn slice(&self, from: Sequence, bytes_max: usize) -> Option<Read> {
        let start = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let rest = self.entries.get(start..).filter(|rest| !rest.is_empty())?;
        let (mut bytes, mut slab): (usize, Option<&EncodedEvent>) = (0, None);
        let mut end = 0;
        for entry in rest {
            let wire = entry.event().map(|event| &event.wire);
            let added = match (wire, slab) {
                (Some(wire), Some(slab)) if wire.is_contiguous_with(slab) => 0,
                (Some(wire), _) => wire.slab_bytes(),
                (None, _) => FIXED_BYTES,
            };
            bytes += added;
            if end > 0 && added > 0 && bytes > bytes_max {
                break;
            }
            slab = wire.or(slab);
            end += 1;
        }
        let next = rest.get(end).map_or(self.next, |entry| entry.sequence);
        Some(Read { entries: rest[..end].to_vec(), next })
    }
}

impl PageCache {
    /// Creates an empty cache.
    pub(in crate::hub) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// Returns the maximum bytes of all pages; 0 disables the cache.
    pub(in crate::hub) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns the cached page that contains this record.
    pub(in crate::hub) fn get(&self, at: Sequence) -> Option<Arc<Page>> {
        let mut kept = self.kept.lock();
        let (&first, (page, _)) = kept.by_first.range(..=at).next_back().filter(|(_, (page, _))| page.next > at)?;
        let page = page.clone();
        kept.touch(first);
        Some(page)
    }

    /// Returns true if a page that contains this record is cached.
    pub(in crate::hub) fn contains(&self, at: Sequence) -> bool {
        self.kept.lock().by_first.range(..=at).next_back().is_some_and(|(_, (page, _))| page.next > at)
    }

    /// Caches a page, unless it exceeds the limit alone. Evicts pages of records before `earliest`.
    pub(in crate::hub) fn insert(&self, page: Arc<Page>, earliest: Sequence) {
        // Payloads are dropped outside the lock.
        let mut gone = Vec::new();
        let mut kept = self.kept.lock();
        while let Some((&first, _)) = kept.by_first.first_key_value().filter(|(_, (page, _))| page.next <= earliest) {
            gone.extend(kept.remove(first));
        }
        if page.bytes <= self.bytes_max {
            gone.extend(kept.remove(page.first));
            kept.add(page);
        }
        while kept.bytes > self.bytes_max
            && let Some((_, &first)) = kept.by_use.first_key_value()
        {
            gone.extend(kept.remove(first));
        }
        drop(kept);
        drop(gone);
    }
}

impl LruIndex {
    fn add(&mut self, page: Arc<Page>) {
        self.uses += 1;
        self.bytes += page.bytes;
        self.by_use.insert(self.uses, page.first);
        self.by_first.insert(page.first, (page, self.uses));
    }

    fn touch(&mut self, first: Sequence) {
        self.uses += 1;
        if let Some((_, used)) = self.by_first.get_mut(&first) {
            self.by_use.remove(used);
            *used = self.uses;
            self.by_use.insert(self.uses, first);
        }
    }

    fn remove(&mut self, first: Sequence) -> Option<Arc<Page>> {
        let (page, used) = self.by_first.remove(&first)?;
        self.by_use.remove(&used);
        self.bytes -= page.bytes;
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::entry;
    use crate::hub::test_util::{post_record, skip_record};

    fn page(first: Sequence, next: Sequence) -> Page {
        let record = |at| if at % 5 == 0 { skip_record(at) } else { post_record(at, &["a"]) };
        Page::new(entry::encode((first..next).map(record).collect()), next).expect("dense")
    }

    #[test]
    fn page_is_contiguous() {
        let mut entries = entry::encode((1..5).map(|at| post_record(at, &[])).collect());
        assert!(Page::new(entries.clone(), 6).is_none(), "one is missing at its end");
        entries.remove(1);
        assert!(Page::new(entries, 5).is_none(), "one is missing in it");
        assert!(Page::new(Vec::new(), 5).is_none());
    }

    #[test]
    fn oversized_page_does_not_evict_others() {
        let (small, large) = (page(1, 3), page(3, 40));
        let pages = PageCache::new(large.bytes - 1);
        pages.insert(small.into(), 1);
        pages.insert(large.into(), 1);
        assert!(pages.contains(1) && pages.contains(2) && !pages.contains(3));
    }

    #[test]
    fn trimmed_pages_are_evicted() {
        let pages = PageCache::new(usize::MAX);
        [page(1, 3), page(3, 6), page(6, 9)].into_iter().for_each(|page| pages.insert(page.into(), 1));
        pages.insert(page(9, 12).into(), 5);
        assert_eq!([1, 3, 6, 9, 12].map(|at| pages.contains(at)), [false, true, true, true, false]);
    }

    proptest! {
        #[test]
        fn slices_cover_each_record_once_within_limit(
            next in 2_u64..60, from in 1_u64..60, bytes_max in 0_usize..4_000,
        ) {
            let page = page(1, next);
            let (mut cursor, mut seen) = (from, Vec::new());
            while let Some(read) = page.slice(cursor, bytes_max) {
                prop_assert!(read.next > cursor);
                seen.extend(read.entries.iter().map(|entry| entry.sequence));
                cursor = read.next;
            }
            prop_assert_eq!(seen, (from..next).collect::<Vec<_>>());
        }

        #[test]
        fn recently_used_pages_stay_within_bound(
            calls in prop::collection::vec((1_u64..20, any::<bool>()), 1..60), count in 1_usize..6,
        ) {
            let bytes = page(1, 4).bytes.max(page(4, 7).bytes);
            let pages = PageCache::new(bytes * count);
            let mut model: Vec<Sequence> = Vec::new();
            for (number, keep) in calls {
                let first = 1 + number * 3;
                let known = model.contains(&first);
                prop_assert_eq!(pages.contains(first + 2), known);
                if keep {
                    pages.insert(page(first, first + 3).into(), 1);
                } else {
                    prop_assert_eq!(pages.get(first + 1).map(|page| page.first), known.then_some(first));
                }
                if keep || known {
                    model.retain(|kept| *kept != first);
                    model.push(first);
                }
                let kept = pages.kept.lock();
                prop_assert!(kept.bytes <= pages.bytes_max);
                prop_assert_eq!(kept.bytes, kept.by_first.values().map(|(page, _)| page.bytes).sum::<usize>());
                model.retain(|first| kept.by_first.contains_key(first));
                prop_assert!(model.len() >= count.min(kept.by_first.len()));
                prop_assert!(kept.by_use.values().eq(model.iter()), "in the order of their use");
            }
        }
    }
}
