//! Budget of callers whose starts require new requests to X.

use super::{PrivateGap, PrivateGaps, SideLog, SubscriptionCoverage};
use crate::hub::status::replica_link::PrivateWants;
use crate::model::{BudgetExceeded, BudgetLimits, BudgetScope, Caller, GapCause, Limit, TimeRange};

impl SideLog {
    /// Charges these gaps to a caller if X has to be asked for any part of them. Ranges that are requested or recovered
    /// already are free: X is asked once, whatever the number of subscriptions.
    pub fn charge(&self, private_gaps: &PrivateGaps, caller: Caller) -> Result<(), BudgetExceeded> {
        let limits = self.limits();
        if limits.caller.is_none_or(|limit| limit.max == 0) || !self.asks(private_gaps) {
            return Ok(());
        }
        self.budget.lock().charge(caller, &limits, self.clock.now())
    }

    fn limits(&self) -> BudgetLimits {
        let (max, setting) =
            (self.config.demands_per_hour_per_caller_max, "hub.private_gaps.demands_per_hour_per_caller_max");
        BudgetLimits { counted: "demands for private gaps", account: None, caller: Some(Limit { max, setting }) }
    }

    /// Returns the exhausted budget that another replica reports.
    pub fn budget_exceeded(&self, retry_after: std::time::Duration) -> BudgetExceeded {
        self.limits().exceeded(BudgetScope::Caller, retry_after)
    }

    /// Requests what sessions of another replica want, within the budget of their caller.
    pub fn request_wants(&self, wants: &PrivateWants) -> Result<(), BudgetExceeded> {
        let PrivateWants { spans, from_beginning, caller } = wants;
        let main_log_from = if *from_beginning { 1 } else { u64::MAX };
        let gap = |span: &TimeRange| PrivateGap::new(*span, GapCause::LogLost, span.to, main_log_from);
        let coverage = SubscriptionCoverage::from(main_log_from);
        let private_gaps = spans.iter().map(gap).collect();
        let wanted = PrivateGaps { coverage, private_gaps, ..PrivateGaps::default() };
        caller.clone().map_or(Ok(()), |caller| self.charge(&wanted, caller))?;
        for span in spans {
            self.request(*span, *from_beginning);
        }
        Ok(())
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
