use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::side_log::Completeness;
use crate::ingest::gap_tracker::GapTracker;
use crate::ingest::recovery::GapList;
use crate::model::{Gap, GapId, UnixMillis};

/// The gaps of an account: those that its log tells of, and the open ones as the gap tracker knows them now.
pub struct AccountGaps {
    hub: Arc<Hub>,
    tracker: Arc<GapTracker>,
}

impl AccountGaps {
    /// Of this account.
    pub fn new(hub: Arc<Hub>, tracker: Arc<GapTracker>) -> Self {
        Self { hub, tracker }
    }
}

impl GapList for AccountGaps {
    fn gaps(&self) -> Vec<Gap> {
        // The gap tracker first: what it closes meanwhile is at worst told as open still.
        let open = self.tracker.open_gaps();
        let told = self.hub.gaps().list();
        let mut gaps: BTreeMap<GapId, Gap> = open.into_iter().map(|gap| (gap.id, gap)).collect();
        for gap in told {
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
        match self.tracker.complete_from() {
            Some(Completeness::From(origin)) if extent.earliest == FIRST => Some(origin.min(oldest)),
            Some(Completeness::From(origin) | Completeness::Pending(origin)) => Some(origin.max(oldest)),
            None => Some(oldest),
        }
    }

    fn complete_to(&self) -> Option<UnixMillis> {
        let heard = self.hub.upstream().last_byte().map(|last| last.time);
        let reached = heard.max(self.hub.reader().extent().newest_received)?;
        Some(reached.minus(self.hub.config().allowed_lateness))
    }
}

/// Nothing was trimmed from a log that still has this record.
const FIRST: u64 = 1;
