use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{PostId, UnixMillis};

/// Bits under the milliseconds: 5 of the datacenter, 5 of the worker, 12 of a sequence (twitter-archive/snowflake).
const DATACENTER_SHIFT: u32 = 17;
/// Worker and sequence together: one counter, so that 131,072 ids fit into a millisecond.
const COUNTER_MASK: u64 = (1 << DATACENTER_SHIFT) - 1;

/// A new id and its time and datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct GeneratedId {
    pub(in crate::simulator) id: PostId,
    pub(in crate::simulator) created: UnixMillis,
    pub(in crate::simulator) datacenter: usize,
}

/// Gives ids.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Snowflakes(AtomicU64);

impl Snowflakes {
    /// An id for something made at this time in this datacenter (below 32).
    pub(in crate::simulator) fn mint(&self, created: UnixMillis, datacenter: usize) -> GeneratedId {
        let counter = self.0.fetch_add(1, Ordering::Relaxed) & COUNTER_MASK;
        let place = (datacenter as u64 & 31) << DATACENTER_SHIFT;
        let id = PostId(PostId::lowest_at(created).0 | place | counter);
        GeneratedId { id, created, datacenter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_contain_time() {
        let (snowflakes, time) = (Snowflakes::default(), UnixMillis(1_760_000_000_123));
        let ids: std::collections::BTreeSet<_> = (0..10_000).map(|n| snowflakes.mint(time, n % 2).id).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.created_at() == Some(time)));
        assert_eq!(ids.iter().filter(|id| id.0 >> 17 & 31 == 1).count(), 5_000);
    }
}
