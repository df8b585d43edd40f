use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the gap tracker, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum minutes of backfill to request (X: 1 to 5). 0: never, for contracts without backfill.
    pub backfill_minutes_max: u8,
    /// Minutes of backfill that the first connection of a new log requests. 0: none.
    pub initial_backfill_minutes: u8,
    /// How long no backfill is requested after X refused a request with backfill and accepted the same request
    /// without.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backfill_retry_after: Duration,
    /// Maximum duration of a backfill. After it, the gap is left to recovery.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backfill_duration_max: Duration,
    /// Backfill or recovery that returns no post of an interval is not trusted if at least this many posts were
    /// expected in it at the previous rate. At 3, an interval is empty by chance in 5 % of cases (Poisson).
    pub due_min: u32,
    /// Maximum lag of a connection that widens a gap: lag of its newest post, or time since that post if posts were
    /// expected.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lag_max: Duration,
    /// Stall of the reader after which a disconnect is treated as a slow-reader disconnect. X then sends no backfill
    /// and may not report the reason (PowerTrack guide).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub reader_stall_min: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backfill_minutes_max: 5,
            initial_backfill_minutes: 5,
            backfill_retry_after: Duration::from_secs(3_600),
            backfill_duration_max: Duration::from_secs(600),
            due_min: 3,
            lag_max: Duration::from_secs(600),
            reader_stall_min: Duration::from_secs(5),
        }
    }
}
