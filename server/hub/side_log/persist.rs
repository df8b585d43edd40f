//! Checkpoint of the requests to the side log.

use super::{SideLog, SideLogSnapshot};

impl SideLog {
    /// Returns the checkpoint.
    pub fn snapshot(&self) -> SideLogSnapshot {
        let state = self.state.lock();
        let (shares, completeness) = (state.shares.clone(), state.completeness);
        SideLogSnapshot {
            tag: self.log_id(),
            next: self.next(),
            shares,
            completeness,
            budget: self.budget.lock().clone(),
        }
    }

    /// Restores a checkpoint. Ranges proven by records that the side log has lost since are requested again.
    pub fn restore(&self, kept: SideLogSnapshot) {
        let SideLogSnapshot { tag, next, shares, completeness, budget } = kept;
        *self.budget.lock() = budget;
        let is_whole = tag == self.log_id() && next <= self.next();
        self.begin(shares, completeness, is_whole.then_some(next));
        self.changed();
    }
}
