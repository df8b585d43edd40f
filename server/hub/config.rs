use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::side;

/// Settings of the fan-out, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of the hot tail that is kept in memory, in wire form.
    pub ring_bytes_max: usize,
    /// Bytes of batches that are kept for sessions with the same filter, beside the hot tail.
    pub shared_bytes_max: usize,
    /// Sessions of one account; one more is refused with SESSION_LIMIT.
    pub sessions_max: usize,
    /// Bytes of the filters of all sessions; filters that are equal are kept once. Beyond it a session with a further filter
    /// is refused with FILTER_LIMIT.
    pub filter_bytes_max: usize,
    /// Sessions that read the journal at once, and the same number the side log; the others wait inside their session, with
    /// heartbeats.
    pub replays_reading_max: usize,
    /// Sessions that read the journal or wait to; one more is refused with REPLAY_LIMIT.
    pub replays_max: usize,
    /// Bytes of the journal that a session takes at once, and keeps until they are sent.
    pub replay_chunk_bytes_max: usize,
    /// Bytes of the journal that are kept in memory for the sessions that replay the same, and to read ahead for the few;
    /// 0 = none: each session reads for itself.
    pub replay_cache_bytes_max: usize,
    /// Age at which a session is ended with SESSION_ROTATED, up to a tenth more for each by chance; 0s = never.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub session_age_max: Duration,
    /// Allowance for what X sends late: watermarks stay this far behind (the contract's slack L).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub slack: Duration,
    /// How far back X can be asked: a position older than this is too old even to resume by time (F-RR: 24 h).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_window: Duration,
    /// Gaps that are remembered after their end.
    pub gaps_kept_max: usize,
    /// What only some consumers lack.
    pub private_holes: side::Config,
    /// Tags whose rates are kept.
    pub tags_tracked_max: usize,
    /// Names of consumers that get a metric label of their own; further ones count as `other`.
    pub consumers_labelled_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ring_bytes_max: 64 << 20,
            shared_bytes_max: 16 << 20,
            sessions_max: 20_000,
            // 20,000 sessions, each with a filter of its own of ten short tags, and half as much again.
            filter_bytes_max: 64 << 20,
            replays_reading_max: 4,
            replays_max: 10_000,
            replay_chunk_bytes_max: 128 << 10,
            replay_cache_bytes_max: 32 << 20,
            session_age_max: Duration::ZERO,
            slack: Duration::from_secs(30),
            recovery_window: Duration::from_secs(24 * 3600),
            gaps_kept_max: 10_000,
            private_holes: side::Config::default(),
            tags_tracked_max: 10_000,
            consumers_labelled_max: 200,
        }
    }
}
