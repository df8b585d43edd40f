use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::planner::Limits;
use crate::model::{BudgetLimits, Limit};

/// Settings of recovery, for each account. How far back X can be asked is `hub.recovery_window`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether X is asked for what is missing. Without it, what backfill does not reach is told as lost at once.
    pub enabled: bool,
    /// Requests at once, beside the live connection (2: F-RR).
    pub jobs_max: usize,
    /// Requests in any minute, of all jobs together; further ones wait, and what touches is joined meanwhile. A day that is
    /// missing takes 12.
    pub requests_per_minute_max: usize,
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
    /// Longest wait after refusals (400, 403); doubled with each, from `upstream.http_backoff_step`. A refused window is
    /// asked for again until it leaves `hub.recovery_window`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refusal_backoff_max: Duration,
    /// Oldest age of a window's end at which a refusal may be due to that age. X is asked for other windows only when they
    /// are older than the refused one was.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub young_refusal_age_max: Duration,
    /// Attempts of a job in an hour that bring nothing new. Half of them may follow each other at the backoff alone, the
    /// others are spread evenly. 2 at the least.
    pub vain_attempts_per_hour_max: u32,
    /// How often a window is asked for again because X counts more posts than arrived, before it is taken as it is.
    pub count_repeats_max: u32,
    /// How far requests overlap with what is next to them: the uncertainty of the clock, up to this.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub overlap_max: Duration,
    /// Manual jobs created in an hour: each makes requests that cost money. A further one is refused with RECOVERY_LIMIT,
    /// unless a job exists that has to recover all of its interval, or one waits that touches it.
    pub manual_jobs_per_hour_max: usize,
    /// The same for each caller, which is the address of its peer (the /64 network for IPv6); 0 = no bound of its own, for
    /// gateways behind a proxy.
    pub manual_jobs_per_hour_per_caller_max: usize,
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
            // Far more than a day needs with its retries, and less than X's published backoff allows a live connection.
            requests_per_minute_max: 20,
            window_max: Duration::from_secs(2 * 3600),
            clip: Duration::from_secs(60),
            freshness: Duration::ZERO,
            refusal_backoff_max: Duration::from_secs(15 * 60),
            young_refusal_age_max: Duration::from_secs(3_600),
            vain_attempts_per_hour_max: 40,
            count_repeats_max: 3,
            overlap_max: Duration::from_secs(60),
            // One a minute; an outage of a day needs 12.
            manual_jobs_per_hour_max: 60,
            // An outage of a day, and as much again; three callers exhaust the account's.
            manual_jobs_per_hour_per_caller_max: 20,
            jobs_kept_max: 1_000,
            retention: Duration::from_secs(24 * 3600),
        }
    }
}

impl Config {
    /// Limits of the budget of manual jobs.
    pub(super) fn manual_limits(&self) -> BudgetLimits {
        let account = Limit { max: self.manual_jobs_per_hour_max, setting: "ingest.recovery.manual_jobs_per_hour_max" };
        let (max, setting) =
            (self.manual_jobs_per_hour_per_caller_max, "ingest.recovery.manual_jobs_per_hour_per_caller_max");
        let caller = (max > 0).then_some(Limit { max, setting });
        BudgetLimits { counted: "manual jobs", account: Some(account), caller }
    }

    /// What the planner keeps to, where X can be asked as far back as `recovery_window`, times are as uncertain as this, and
    /// posts of so much of a gap may have come live.
    pub(super) fn limits(&self, recovery_window: Duration, uncertainty: Duration, slack: Duration) -> Limits {
        Limits {
            overlap: uncertainty.min(self.overlap_max),
            slack,
            reach: recovery_window.saturating_sub(self.clip),
            window_max: self.window_max,
            freshness: self.freshness,
        }
    }
}
