//! Budget of callers whose starts require new requests to X.

use super::{PrivateGaps, SideLog};
use crate::model::{BudgetExceeded, BudgetLimits, Caller, Limit, TimeRange};

impl SideLog {
    /// Charges these gaps to a caller if X has to be asked for any part of them. Ranges that are requested or recovered
    /// already are free: X is asked once, whatever the number of subscriptions.
    pub fn charge(&self, private_gaps: &PrivateGaps, caller: Caller) -> Result<(), BudgetExceeded> {
        let (max, setting) =
            (self.config.demands_per_hour_per_caller_max, "hub.private_gaps.demands_per_hour_per_caller_max");
        if max == 0 || !self.asks(private_gaps) {
            return Ok(());
        }
        let limit = Some(Limit { max, setting });
        let limits = BudgetLimits { counted: "demands for private gaps", account: None, caller: limit };
        self.budget.lock().charge(caller, &limits, self.clock.now())
    }

    /// Returns true if a demand for these gaps requires a request to X.
    fn asks(&self, private_gaps: &PrivateGaps) -> bool {
        let (earliest, oldest, from_beginning) =
            (self.reader.extent().earliest, self.oldest(), private_gaps.from_beginning());
        let state = self.state.lock();
        let asks = |span: TimeRange| {
            let to = state.missing_until(span, from_beginning, self.clock.uncertainty());
            state.shares.asks(TimeRange::new(span.from.max(oldest), to), earliest)
        };
        private_gaps.open().any(|private_gap| asks(private_gap.span))
    }
}
