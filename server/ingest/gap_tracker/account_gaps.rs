use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::hub::Hub;
use crate::hub::side_log::Completeness;
use crate::ingest::gap_tracker::GapTracker;
use crate::ingest::recovery::GapList;
use crate::model::{Gap, GapId, UnixMillis};

/// The gaps of an account: those in the records of its log, and the current state of open ones from the gap tracker.
pub struct AccountGaps {
    hub: Arc<Hub>,
    /// The tracker of the current leadership.
    tracker: ArcSwap<GapTracker>,
}

impl AccountGaps {
    /// Creates the list of this account.
    pub fn new(hub: Arc<Hub>, tracker: Arc<GapTracker>) -> Self {
        Self { hub, tracker: ArcSwap::new(tracker) }
    }

    /// Returns the current gap tracker.
    pub fn tracker(&self) -> Arc<GapTracker> {
        self.tracker.load_full()
    }

    /// Replaces the gap tracker, which has ended.
    pub fn set_tracker(&self, tracker: Arc<GapTracker>) {
        self.tracker.store(tracker);
    }
}

impl GapList for AccountGaps {
    fn gaps(&self) -> Vec<Gap> {
        // The gap tracker first: a gap that closes meanwhile is at worst still reported as open.
        // Those of a replica that follows are in its log.
        let follows = self.hub.upstream().is_following();
        let open = if follows { Vec::new() } else { self.tracker.load().open_gaps() };
        let logged = self.hub.gaps().list();
        let mut gaps: BTreeMap<GapId, Gap> = open.into_iter().map(|gap| (gap.id, gap)).collect();
        for gap in logged {
            match gaps.entry(gap.id) {
                Entry::Occupied(mut open) if gap.state.is_final() => drop(open.insert(gap)),
                Entry::Occupied(_) => {}
                Entry::Vacant(none) => drop(none.insert(gap)),
            }
        }
        gaps.into_values().collect()
    }

    fn complete_from(&self) -> Option<UnixMillis> {
        let extent = self.hub.reader().extent();
        let oldest = extent.earliest_received?;
        match self.tracker.load().complete_from() {
            Some(Completeness::From(origin)) if extent.earliest == FIRST => Some(origin.min(oldest)),
            Some(origin) => Some(origin.time().max(oldest)),
            None => Some(oldest),
        }
    }

    fn complete_to(&self) -> Option<UnixMillis> {
        let (receive_time, extent) =
            (self.hub.upstream().last_byte().map(|last| last.time), self.hub.reader().extent());
        let reached = receive_time.max(extent.newest_received)?;
        // A later connection may still deliver posts of this time.
        Some(reached.minus(self.hub.late_at(extent.next)))
    }
}

/// A log that still has this record has not been trimmed.
const FIRST: u64 = 1;
