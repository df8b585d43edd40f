use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{dedup, ledger, recovery};

/// Settings of the way into the log, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes that may be read from upstream and not appended yet; beyond it reading waits.
    pub queue_bytes_max: usize,
    /// Bytes of messages that are appended in one go, if that many are ready.
    pub append_bytes_max: usize,
    /// How long to wait before a failed append is tried again.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub append_retry: Duration,
    /// Bytes that the side log may take: posts that only some consumers lack. The oldest go first; what is gone before
    /// it was read is fetched from X again.
    pub side_bytes_max: u64,
    /// Which posts were seen before.
    pub dedup: dedup::Config,
    /// When something is missing, and what backfill is asked for.
    pub gaps: ledger::Config,
    /// Asking X again for what is missing.
    pub recovery: recovery::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Three seconds of 1,000 posts/s of 2.7 KB, as a stall of the disk may last.
            queue_bytes_max: 8 << 20,
            // One block of the journal.
            append_bytes_max: 1 << 20,
            append_retry: Duration::from_secs(1),
            // A day at 300 posts/s, at about 300 bytes for each when compressed.
            side_bytes_max: 8 << 30,
            dedup: dedup::Config::default(),
            gaps: ledger::Config::default(),
            recovery: recovery::Config::default(),
        }
    }
}
