use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::planner::Limits;

/// Settings of recovery, for each account. How far back X can be asked is `hub.recovery_window`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether X is asked for what is missing. Without it, what backfill does not reach is told as lost at once.
    pub enabled: bool,
    /// Requests at once, beside the live connection (2: F-RR).
    pub jobs_max: usize,
    /// Longest window of a request (2 h: PT, "break long windows into pieces").
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window_max: Duration,
    /// How much of `hub.recovery_window` is left alone at its far end: what would leave it before it is asked for.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub clip: Duration,
    /// How long ago a window must have ended before it is asked for, should X refuse young ones (old Replay: 30 min).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub freshness: Duration,
    /// Refusals of a window in a row after which it is given up.
    pub refusals_max: u32,
    /// Jobs that have ended and are still listed; the oldest go first.
    pub jobs_kept_max: usize,
    /// How long a job is listed after it has ended.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            jobs_max: 2,
            window_max: Duration::from_secs(2 * 3600),
            clip: Duration::from_secs(60),
            freshness: Duration::ZERO,
            refusals_max: 3,
            jobs_kept_max: 1_000,
            retention: Duration::from_secs(24 * 3600),
        }
    }
}

impl Config {
    /// What the planner keeps to, where X can be asked as far back as `recovery_window`.
    pub(super) fn limits(&self, recovery_window: Duration) -> Limits {
        Limits {
            reach: recovery_window.saturating_sub(self.clip),
            window_max: self.window_max,
            freshness: self.freshness,
        }
    }
}
