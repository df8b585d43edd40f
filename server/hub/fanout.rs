//! Fan-out groups: sessions with equal filters share ring reads and encoded batches.
//!
//! A session at the cursor of an earlier read reuses that read. A session whose cursor is within an earlier read gets
//! the rest of it and shares all reads from then on, so sessions that began at different times converge.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use thiserror::Error;

use super::entry::Phase;
use super::entry::batch::EncodedBatch;
use super::entry::{Entry, EntryKind, Event};
use super::filter::Filter;
use super::ring::{ReadLimits, Ring};
use crate::model::{Origin, Sequence, Term, UnixMillis};

/// All fan-out groups.
pub struct FanoutGroups {
    bytes_max: usize,
    filter_bytes_max: usize,
    interned: Mutex<FilterInterner>,
    /// Cached reads of all groups, the oldest first.
    all_kept: Mutex<CacheBudget>,
}

/// Filters in use; equal filters are stored once.
#[derive(Default)]
struct FilterInterner {
    by_fingerprint: HashMap<u64, Weak<FanoutGroup>, RandomState>,
    bytes: usize,
}

/// Sessions with equal filters.
struct FanoutGroup {
    filter: Arc<Filter>,
    filter_bytes: usize,
    kept: Arc<ReadCache>,
    groups: Arc<FanoutGroups>,
}

/// The filters of all sessions use all allowed bytes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "filter limit reached: filters of open sessions have {open} bytes of {max} (hub.filter_bytes_max), this one {bytes}"
)]
pub struct FilterLimitReached {
    /// Bytes in use.
    pub open: usize,
    /// Bytes allowed.
    pub max: usize,
    /// Bytes of the filter that was refused.
    pub bytes: usize,
}

/// Cached reads by key.
type ReadCache = Mutex<BTreeMap<GroupReadKey, Arc<GroupRead>>>;

#[derive(Default)]
struct CacheBudget {
    bytes: usize,
    order: VecDeque<(Weak<ReadCache>, GroupReadKey, usize)>,
}

/// Membership of a session in a fan-out group.
pub struct GroupMember {
    group: Arc<FanoutGroup>,
}

/// Result of a read between two cursors for one filter.
#[derive(Debug)]
pub struct GroupRead {
    /// Where to continue.
    pub next: Sequence,
    /// Matching events, if any.
    pub chunk: Option<Arc<EncodedBatch>>,
    /// Receive time of the last record that was read.
    pub received: Option<UnixMillis>,
    /// Receive time of the last record that was read and came on the live stream.
    pub streamed_at: Option<UnixMillis>,
    /// Creation time of the oldest post that did not come live.
    pub oldest_recovered_time: Option<UnixMillis>,
    /// True if it passes a post that the side log contains too, or a DELTA of a post that matched before. Subscriptions
    /// that had private gaps examine its records one by one.
    pub is_doubtful: bool,
}

/// Key of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupReadKey {
    /// Limits.
    pub limits: ReadLimits,
    /// Delivery phase of the session.
    pub phase: Phase,
    /// First record.
    pub from: Sequence,
}

impl FanoutGroups {
    /// Creates no groups. Cached reads are bounded by `bytes_max`, filters by `filter_bytes_max`.
    pub fn new(bytes_max: usize, filter_bytes_max: usize) -> Self {
        Self { bytes_max, filter_bytes_max, interned: Mutex::default(), all_kept: Mutex::default() }
    }

    /// Joins the group of this filter. Returns `FilterLimitReached` if no session has the filter yet and it exceeds the
    /// rest of `filter_bytes_max`.
    pub fn join(self: &Arc<Self>, filter: Filter) -> Result<GroupMember, FilterLimitReached> {
        let fingerprint = filter.fingerprint();
        // Dropped after the lock is released: the drop of a last owner acquires it.
        let known;
        let mut interned = self.interned.lock();
        known = interned.by_fingerprint.get(&fingerprint).and_then(Weak::upgrade);
        if let Some(group) = known.as_ref().filter(|known| *known.filter == filter) {
            return Ok(GroupMember { group: group.clone() });
        }
        let (bytes, open, max) = (filter.bytes(), interned.bytes, self.filter_bytes_max);
        if open + bytes > max {
            return Err(FilterLimitReached { open, max, bytes });
        }
        interned.bytes += bytes;
        let group = Arc::new(FanoutGroup {
            filter: Arc::new(filter),
            filter_bytes: bytes,
            kept: Arc::default(),
            groups: self.clone(),
        });
        interned.by_fingerprint.insert(fingerprint, Arc::downgrade(&group));
        Ok(GroupMember { group })
    }

    /// Returns the filters of open sessions, at most `max` of them, and whether these are all.
    pub fn filters(&self, max: usize) -> (Vec<Arc<Filter>>, bool) {
        // Dropped after the lock is released, as in `join`.
        let groups: Vec<_> = {
            let interned = self.interned.lock();
            interned.by_fingerprint.values().filter_map(Weak::upgrade).take(max + 1).collect()
        };
        let filters = groups.iter().take(max).map(|group| group.filter.clone()).collect();
        (filters, groups.len() <= max)
    }

    fn cache(&self, kept: &Arc<ReadCache>, asked: GroupReadKey, bytes: usize) {
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

impl GroupMember {
    /// Returns the filter of the group.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.group.filter
    }

    /// Returns the number of sessions in the group.
    fn member_count(&self) -> usize {
        Arc::strong_count(&self.group)
    }

    /// Reads the next records of the ring. Returns `None` where the session must examine records one by one: the cursor
    /// is behind the ring or at the tip, or the next record is a notice.
    pub fn read(&self, ring: &Ring, asked: GroupReadKey) -> Option<Arc<GroupRead>> {
        if self.member_count() == 1 {
            return self.build_read(ring, asked, Sequence::MAX).map(Arc::new);
        }
        let mut kept = self.group.kept.lock();
        if let Some(shared) = kept.get(&asked) {
            return Some(shared.clone());
        }
        let around = kept.range(..asked).next_back().filter(|(other, shared)| {
            (other.limits, other.phase) == (asked.limits, asked.phase) && shared.next > asked.from
        });
        let until = around.map_or(Sequence::MAX, |(_, shared)| shared.next);
        // Under the lock: a concurrent request for the same read waits for it.
        let shared = Arc::new(self.build_read(ring, asked, until)?);
        kept.insert(asked, shared.clone());
        drop(kept);
        self.group.groups.cache(&self.group.kept, asked, shared.bytes());
        Some(shared)
    }

    fn build_read(&self, ring: &Ring, asked: GroupReadKey, until: Sequence) -> Option<GroupRead> {
        let taken = ring.read(asked.from, self.filter().keys(), asked.limits).ok()?;
        let mut gathering = GroupReadBuilder::default();
        let mut next = taken.next.min(until);
        for entry in taken.entries.iter().take_while(|entry| entry.sequence < until) {
            if !gathering.read(entry, self.filter(), asked.limits) {
                next = entry.sequence;
                break;
            }
        }
        let GroupReadBuilder {
            entries,
            received,
            streamed_at,
            oldest_recovered_time: oldest_recovered,
            is_doubtful,
            term,
            ..
        } = gathering;
        let chunk =
            term.map(|term| Arc::new(EncodedBatch::new(entries, asked.phase, (term, false), self.member_count())));
        (next > asked.from).then_some(GroupRead {
            next,
            chunk,
            received,
            streamed_at,
            oldest_recovered_time: oldest_recovered,
            is_doubtful,
        })
    }
}

impl Drop for FanoutGroup {
    fn drop(&mut self) {
        let mut interned = self.groups.interned.lock();
        interned.bytes -= self.filter_bytes;
        let fingerprint = self.filter.fingerprint();
        // Another group with this fingerprint may have replaced it.
        if interned.by_fingerprint.get(&fingerprint).is_some_and(|known| known.strong_count() == 0) {
            interned.by_fingerprint.remove(&fingerprint);
        }
    }
}

impl GroupRead {
    /// Returns its approximate bytes in memory.
    fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.chunk.as_ref().map_or(0, |chunk| chunk.bytes())
    }
}

#[derive(Default)]
struct GroupReadBuilder {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    term: Option<Term>,
    received: Option<UnixMillis>,
    streamed_at: Option<UnixMillis>,
    oldest_recovered_time: Option<UnixMillis>,
    is_doubtful: bool,
}

impl GroupReadBuilder {
    /// Passes a record; returns false if the read has to end before it.
    fn read(&mut self, entry: &Arc<Entry>, filter: &Filter, limits: ReadLimits) -> bool {
        match &entry.kind {
            EntryKind::Gap(_) | EntryKind::Skip(_) | EntryKind::Rules(_) => return false,
            EntryKind::Event(event) if filter.matches_event(event) => {
                let bytes = self.bytes + event.wire.byte_count();
                let fits = self.entries.is_empty() || self.entries.len() < limits.entries && bytes <= limits.bytes;
                if !fits || self.term.is_some_and(|term| term != entry.term) {
                    return false;
                }
                self.add(entry, event);
            }
            EntryKind::Event(event) => self.is_doubtful |= event.prior.is_some() && filter.matches(&event.rules),
            EntryKind::Term => {}
        }
        self.received = Some(entry.received);
        self.streamed_at = entry.streamed_at().or(self.streamed_at);
        true
    }

    fn add(&mut self, entry: &Arc<Entry>, event: &Event) {
        self.term = Some(entry.term);
        self.bytes += event.wire.byte_count();
        self.entries.push(entry.clone());
        self.is_doubtful |= event.counterpart.is_some();
        if event.origin != Origin::Live {
            let created = event.created.unwrap_or_default();
            self.oldest_recovered_time = Some(self.oldest_recovered_time.map_or(created, |oldest| oldest.min(created)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::filter::FilterSpec;
    use crate::hub::test_util::{encoded, post_record, skip_record};

    const LIMITS: ReadLimits = ReadLimits { entries: 3, bytes: usize::MAX };

    fn filter(any_of: &str) -> Filter {
        Filter::new(&FilterSpec { any_of: vec![any_of.into()], ..FilterSpec::default() }).expect("good")
    }

    fn asked(from: Sequence) -> GroupReadKey {
        GroupReadKey { limits: LIMITS, phase: Phase::Live, from }
    }

    fn push(ring: &Ring, from: Sequence, tags: &[&str]) {
        for (at, tag) in tags.iter().enumerate() {
            ring.push(&[encoded(post_record(from + at as u64, &[tag]))]);
        }
    }

    #[test]
    fn members_at_different_cursors_converge() {
        let (groups, ring) = (Arc::new(FanoutGroups::new(1 << 20, 1 << 20)), Ring::new(usize::MAX, 1));
        push(&ring, 1, &["a"; 9]);
        let [ahead, behind, other] = ["a", "a", "*"].map(|term| groups.join(filter(term)).expect("within"));
        let first = ahead.read(&ring, asked(1)).expect("in the ring");
        let rest = behind.read(&ring, asked(2)).expect("in the ring");
        assert_eq!((first.next, rest.next), (4, 4), "the rest of the read that contains its cursor");
        let [one, same] = [&ahead, &behind].map(|member| member.read(&ring, asked(4)).expect("in the ring"));
        assert!(Arc::ptr_eq(&one, &same), "and then they go together");
        assert!(!Arc::ptr_eq(&one, &other.read(&ring, asked(4)).expect("in the ring")), "other filters do not");
        drop((ahead, behind, other));
        let interned = groups.interned.lock();
        assert!(interned.by_fingerprint.is_empty() && interned.bytes == 0, "filters of closed groups are dropped");
    }

    /// Regression: 1,000 long terms took 548 KiB for each session.
    #[test]
    fn filters_are_kept_once_within_budget() {
        let long = |n: usize| {
            let any_of = (0..250).map(|term| format!("{n:0500}{term:0500}")).collect();
            Filter::new(&FilterSpec { any_of, ..FilterSpec::default() }).expect("good")
        };
        let bytes = long(0).bytes();
        assert!((250_000..400_000).contains(&bytes), "{bytes}");
        let groups = Arc::new(FanoutGroups::new(1 << 20, 2 * bytes));
        let same: Vec<_> = (0..1_000).map(|_| groups.join(long(1)).expect("kept already")).collect();
        let other = groups.join(long(2)).expect("the second");
        let refused = groups.join(long(3)).err().expect("a third is beyond");
        assert_eq!(refused, FilterLimitReached { open: 2 * bytes, max: 2 * bytes, bytes });
        drop(other);
        groups.join(long(3)).expect("there is space again");
        drop(same);
        assert_eq!(groups.interned.lock().bytes, 0);
    }

    #[test]
    fn group_read_stops_before_notice() {
        let (groups, ring) = (Arc::new(FanoutGroups::new(1 << 20, 1 << 20)), Ring::new(usize::MAX, 1));
        push(&ring, 1, &["a", "b"]);
        ring.push(&[encoded(skip_record(3))]);
        let member = groups.join(filter("a")).expect("within");
        assert_eq!(member.read(&ring, asked(1)).expect("a post is before it").next, 3);
        assert!(member.read(&ring, asked(3)).is_none());
    }

    proptest! {
        #[test]
        fn group_reads_match_filter_within_budget(
            tags in prop::collection::vec(prop_oneof!["a", "b"], 1..40), starts in prop::collection::vec(1_u64..20, 2..5),
            turns in prop::collection::vec(0_usize..5, 200), bytes_max in 0_usize..4_000,
        ) {
            let (groups, ring) = (Arc::new(FanoutGroups::new(bytes_max, 1 << 20)), Ring::new(usize::MAX, 1));
            let members: Vec<_> = starts.iter().map(|_| groups.join(filter("a")).expect("within")).collect();
            let (mut cursors, mut got) = (starts.clone(), vec![Vec::new(); starts.len()]);
            let mut unpushed = tags.iter();
            for turn in turns {
                if let Some(tag) = unpushed.next() {
                    push(&ring, (tags.len() - unpushed.len()) as u64, &[tag]);
                }
                let at = turn % members.len();
                let next = (tags.len() - unpushed.len()) as u64 + 1;
                let shared = (cursors[at] < next).then(|| members[at].read(&ring, asked(cursors[at])).expect("no notice"));
                let Some(shared) = shared else { continue };
                cursors[at] = shared.next;
                let chunk = shared.chunk.iter().flat_map(|chunk| chunk.entries.iter());
                got[at].extend(chunk.map(|entry| entry.sequence));
                let all = groups.all_kept.lock();
                prop_assert!(all.bytes <= bytes_max);
                let kept: usize = members[0].group.kept.lock().values().map(|shared| shared.bytes()).sum();
                prop_assert_eq!(kept, all.bytes);
            }
            for ((start, cursor), got) in starts.iter().zip(cursors).zip(got) {
                let matching = |sequence: &Sequence| tags[*sequence as usize - 1] == "a";
                prop_assert_eq!(got, (*start..cursor.min(tags.len() as u64 + 1)).filter(matching).collect::<Vec<_>>());
            }
        }
    }
}
