use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::side_log;

/// Settings of the fan-out, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of the ring buffer: the newest records in memory, in encoded form.
    pub ring_bytes_max: usize,
    /// Bytes of encoded batches that sessions with equal filters share, in addition to the ring buffer.
    pub fanout_cache_bytes_max: usize,
    /// Maximum open sessions of an account. Further sessions are rejected with SESSION_LIMIT.
    pub sessions_max: usize,
    /// Bytes of the filters of all sessions; equal filters are stored once. Further filters are rejected with
    /// FILTER_LIMIT.
    pub filter_bytes_max: usize,
    /// Concurrent journal reads of sessions, and as many reads of the side log. Other sessions wait and send
    /// heartbeats.
    pub journal_readers_max: usize,
    /// Maximum sessions that read the journal or wait for it. Further sessions are rejected with REPLAY_LIMIT.
    pub replay_sessions_max: usize,
    /// Bytes of the journal that a session takes at once and holds until they are sent.
    pub replay_read_bytes_max: usize,
    /// Bytes of the page cache: journal pages shared by sessions that replay the same range, and prefetched pages. 0
    /// disables the cache.
    pub replay_cache_bytes_max: usize,
    /// Age at which a session is ended with SESSION_ROTATED, extended by a random share of up to 10 %. 0s: never.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub session_age_max: Duration,
    /// Maximum time until a session that an operator ends has received its end. After it, the stream is reset.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub termination_timeout: Duration,
    /// Allowed lateness of upstream delivery (L in the contract): watermarks stay this far behind.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub allowed_lateness: Duration,
    /// Recovery window of X. A position older than this cannot be resumed (F-RR: 24 h).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_window: Duration,
    /// Maximum closed gaps kept in memory.
    pub closed_gaps_max: usize,
    /// Private gaps: ranges that are missing from some subscriptions only.
    pub private_gaps: side_log::PrivateGapConfig,
    /// Maximum tags whose rates are tracked.
    pub tags_tracked_max: usize,
    /// Maximum consumer names with a metric label of their own. Further names are labelled `other`.
    pub consumer_labels_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ring_bytes_max: 64 << 20,
            fanout_cache_bytes_max: 16 << 20,
            sessions_max: 20_000,
            // 20,000 sessions, each with its own filter of ten short tags, and 50 % margin.
            filter_bytes_max: 64 << 20,
            journal_readers_max: 4,
            replay_sessions_max: 10_000,
            replay_read_bytes_max: 128 << 10,
            replay_cache_bytes_max: 32 << 20,
            session_age_max: Duration::ZERO,
            termination_timeout: Duration::from_secs(5),
            allowed_lateness: Duration::from_secs(30),
            recovery_window: Duration::from_secs(24 * 3600),
            closed_gaps_max: 10_000,
            private_gaps: side_log::PrivateGapConfig::default(),
            tags_tracked_max: 10_000,
            consumer_labels_max: 200,
        }
    }
}
