//! Budget of the callers whose starts need something of X that nobody has asked for.

use super::{Holes, Side};
use crate::model::{BudgetExceeded, BudgetLimits, Caller, Limit, Span};

impl Side {
    /// Charges these gaps to a caller, if X has to be asked for anything of them. What was asked for before, or is kept, is
    /// free: however many subscriptions lack it, X is asked once.
    pub fn charge(&self, holes: &Holes, caller: Caller) -> Result<(), BudgetExceeded> {
        let (max, setting) =
            (self.config.demands_per_hour_per_caller_max, "hub.private_holes.demands_per_hour_per_caller_max");
        if max == 0 || !self.asks(holes) {
            return Ok(());
        }
        let limit = Some(Limit { max, setting });
        let limits = BudgetLimits { counted: "demands for private gaps", account: None, caller: limit };
        self.budget.lock().charge(caller, &limits, self.clock.now())
    }

    /// True if a demand for these gaps asks X for anything.
    fn asks(&self, holes: &Holes) -> bool {
        let (earliest, oldest, from_beginning) = (self.reader.extent().earliest, self.oldest(), holes.from_beginning());
        let state = self.state.lock();
        let asks = |span: Span| {
            let to = state.lacking_until(span, from_beginning, self.clock.uncertainty());
            state.shares.asks(Span::new(span.from.max(oldest), to), earliest)
        };
        holes.open().any(|hole| asks(hole.span))
    }
}
