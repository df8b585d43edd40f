//! Time limits of the gap tracker.

use std::time::Duration;

use super::Config;
use super::backfill::BackfillTimeouts;

/// Constant limits of a state machine.
#[derive(Clone, Debug)]
pub(super) struct TrackerLimits {
    pub(super) config: Config,
    /// Allowed lateness of posts.
    pub(super) allowed_lateness: Duration,
    /// How far back X can be asked, less a safety margin.
    pub(super) recovery_window: Duration,
}

impl TrackerLimits {
    pub(super) fn lag_max(&self) -> Duration {
        self.config.lag_max.max(self.allowed_lateness)
    }

    pub(super) fn patience(&self) -> BackfillTimeouts {
        BackfillTimeouts {
            quiet: self.allowed_lateness,
            duration_max: self.config.backfill_duration_max,
            due_min: f64::from(self.config.due_min),
        }
    }
}
