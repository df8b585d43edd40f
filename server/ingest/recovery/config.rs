use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::planner::RecoveryLimits;
use crate::model::{BudgetLimits, Limit};

/// Settings of recovery, for each account. How far back X can be asked is `hub.recovery_window`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether recovery jobs are created. If false, ranges that backfill does not cover are unrecoverable at once.
    pub enabled: bool,
    /// Maximum concurrent requests, in addition to the live connection (2: F-RR).
    pub jobs_max: usize,
    /// Maximum requests in any minute, of all jobs together. Further requests wait, and adjacent ones are
    /// merged. A missing day takes 12 requests.
    pub requests_per_minute_max: usize,
    /// Maximum window of a request (2 h: PT, "break long windows into pieces").
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window_max: Duration,
    /// Margin at the far end of `hub.recovery_window` that is not requested, because it would leave the window before
    /// the request.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub expiry_margin: Duration,
    /// Minimum age of the end of a window before it is requested, for the case that X refuses recent windows (old
    /// Replay: 30 min).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window_age_min: Duration,
    /// Maximum backoff after refusals (400, 403); doubled with each, from `upstream.http_backoff_step`. A refused
    /// window is requested until it leaves `hub.recovery_window`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refusal_backoff_max: Duration,
    /// Maximum age of a window's end at which a refusal may be caused by that age. Other windows are then requested
    /// only when they are older than the refused one was.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub young_refusal_age_max: Duration,
    /// Maximum attempts of a job per hour that return no new posts. Half of them may follow each other at the
    /// backoff; the others are spread evenly.
    pub vain_attempts_per_hour_max: u32,
    /// Maximum repeated requests of a window because X counts more posts than arrived. After them, the result is
    /// accepted.
    pub count_repeats_max: u32,
    /// Maximum overlap of adjacent requests. The overlap is the uncertainty of the clock.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub overlap_max: Duration,
    /// Maximum manual jobs per hour and account; each sends requests that are billed. Further jobs are rejected with
    /// RECOVERY_LIMIT, unless an existing job covers the interval or a waiting one touches it.
    pub manual_jobs_per_hour_max: usize,
    /// The same per caller, identified by its peer address (the /64 network for IPv6). 0: no limit, for gateways
    /// behind a proxy.
    pub manual_jobs_per_hour_per_caller_max: usize,
    /// Maximum ended jobs that are listed. The oldest are removed first.
    pub finished_jobs_max: usize,
    /// How long ended jobs are listed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub finished_jobs_retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            jobs_max: 2,
            // Far more than a day requires with its retries, and less than X's published backoff allows a live
            // connection.
            requests_per_minute_max: 20,
            window_max: Duration::from_secs(2 * 3600),
            expiry_margin: Duration::from_secs(60),
            window_age_min: Duration::ZERO,
            refusal_backoff_max: Duration::from_secs(15 * 60),
            young_refusal_age_max: Duration::from_secs(3_600),
            vain_attempts_per_hour_max: 40,
            count_repeats_max: 3,
            overlap_max: Duration::from_secs(60),
            // One per minute; an outage of a day requires 12.
            manual_jobs_per_hour_max: 60,
            // An outage of a day, twice; three callers exhaust the account's budget.
            manual_jobs_per_hour_per_caller_max: 20,
            finished_jobs_max: 1_000,
            finished_jobs_retention: Duration::from_secs(24 * 3600),
        }
    }
}

impl Config {
    /// Returns the limits of the budget of manual jobs.
    pub(super) fn manual_limits(&self) -> BudgetLimits {
        let account = Limit { max: self.manual_jobs_per_hour_max, setting: "ingest.recovery.manual_jobs_per_hour_max" };
        let (max, setting) =
            (self.manual_jobs_per_hour_per_caller_max, "ingest.recovery.manual_jobs_per_hour_per_caller_max");
        let caller = (max > 0).then_some(Limit { max, setting });
        BudgetLimits { counted: "manual jobs", account: Some(account), caller }
    }

    /// Returns the limits of the planner, for this recovery window and clock uncertainty; `allowed_lateness` is the
    /// part at the edges of a gap whose posts may have arrived live.
    pub(super) fn limits(
        &self,
        recovery_window: Duration,
        uncertainty: Duration,
        allowed_lateness: Duration,
    ) -> RecoveryLimits {
        RecoveryLimits {
            overlap: uncertainty.min(self.overlap_max),
            allowed_lateness,
            lookback_max: recovery_window.saturating_sub(self.expiry_margin),
            window_max: self.window_max,
            window_age_min: self.window_age_min,
        }
    }
}
