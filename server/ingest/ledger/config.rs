use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the ledger of gaps, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Minutes of backfill that are asked for at most (X: 1 to 5); 0 = never ask, for contracts without backfill.
    pub backfill_minutes_max: u8,
    /// Minutes of backfill that the first connect of a new log asks for; 0 = none.
    pub first_backfill_minutes: u8,
    /// How long backfill is not asked for after X refused a request with it and took the same without.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backfill_refused_for: Duration,
    /// How long a backfill may go on: after it the gap is left to recovery.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backfill_duration_max: Duration,
    /// Backfill or recovery that delivers nothing of an interval is not trusted if at least this many posts were due in it
    /// at the rate before. At 3 an interval is empty by chance in 5 % of cases (Poisson).
    pub due_min: u32,
    /// Lag of a connection that widens a gap, at most: of its newest post, or since that one if posts were due.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lag_max: Duration,
    /// A connection that is cut after its reader was held up for this long is taken for cut as a slow reader: there is no
    /// backfill then, and X need not say so (PowerTrack guide).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub held_up_min: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backfill_minutes_max: 5,
            first_backfill_minutes: 5,
            backfill_refused_for: Duration::from_secs(3_600),
            backfill_duration_max: Duration::from_secs(600),
            due_min: 3,
            lag_max: Duration::from_secs(600),
            held_up_min: Duration::from_secs(5),
        }
    }
}
