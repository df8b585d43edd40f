use std::sync::Arc;

use super::GapList;
use crate::hub::Hub;
use crate::hub::side::Completeness;
use crate::ingest::ledger::Ledger;
use crate::model::{Gap, UnixMillis};

/// The gaps of an account: those that its log tells of, and the open ones as the ledger knows them now.
pub struct AccountGaps {
    hub: Arc<Hub>,
    ledger: Arc<Ledger>,
}

impl AccountGaps {
    /// Of this account.
    pub fn new(hub: Arc<Hub>, ledger: Arc<Ledger>) -> Self {
        Self { hub, ledger }
    }
}

impl GapList for AccountGaps {
    fn gaps(&self) -> Vec<Gap> {
        // The ledger first: what it closes meanwhile is at worst told as open still.
        let open = self.ledger.open_gaps();
        let mut gaps = self.hub.gaps().list();
        for gap in open {
            match gaps.iter_mut().find(|own| own.id == gap.id) {
                Some(own) if own.state.is_final() => {}
                Some(own) => *own = gap,
                None => gaps.push(gap),
            }
        }
        gaps.sort_by_key(|gap| gap.id);
        gaps
    }

    fn complete_from(&self) -> Option<UnixMillis> {
        let extent = self.hub.reader().extent();
        let oldest = extent.earliest_received?;
        match self.ledger.origin() {
            Some(Completeness::From(origin)) if extent.earliest == FIRST => Some(origin.min(oldest)),
            Some(Completeness::From(origin) | Completeness::Pending(origin)) => Some(origin.max(oldest)),
            None => Some(oldest),
        }
    }

    fn complete_to(&self) -> Option<UnixMillis> {
        let heard = self.hub.upstream().last_byte().map(|last| last.time);
        let reached = heard.max(self.hub.reader().extent().newest_received)?;
        Some(reached.minus(self.hub.config().slack))
    }
}

/// Nothing was trimmed from a log that still has this record.
const FIRST: u64 = 1;
