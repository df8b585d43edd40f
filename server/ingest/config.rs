use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{dedup, gap_tracker, recovery};

/// Settings of ingest, for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum bytes received from upstream and not yet appended. Beyond it, reading waits.
    pub queue_bytes_max: usize,
    /// Maximum bytes of messages in one append.
    pub append_bytes_max: usize,
    /// Bytes from one read of a live connection up to which its reader appends them itself if the sequencer is idle. It saves
    /// a hand-over between threads; the reader waits for the disk meanwhile. Without effect with `journal.durability: sync`.
    /// 0: never.
    pub inline_bytes_max: u64,
    /// Delay before a failed append is retried.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub append_retry: Duration,
    /// Maximum bytes of the side log: recovered posts for private gaps. The oldest are removed first; ranges removed
    /// before they were read are recovered again.
    pub side_log_bytes_max: u64,
    /// Deduplication of posts.
    pub dedup: dedup::Config,
    /// Detection of gaps, and backfill.
    pub gaps: gap_tracker::Config,
    /// Recovery jobs.
    pub recovery: recovery::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Three seconds of 1,000 posts/s of 2.7 KB, as a stall of the disk may last.
            queue_bytes_max: 8 << 20,
            // One block of the journal.
            append_bytes_max: 1 << 20,
            // A few posts: with more at once, the reader and the sequencer work in parallel.
            inline_bytes_max: 32 << 10,
            append_retry: Duration::from_secs(1),
            // A day at 300 posts/s, at about 300 bytes for each when compressed.
            side_log_bytes_max: 8 << 30,
            dedup: dedup::Config::default(),
            gaps: gap_tracker::Config::default(),
            recovery: recovery::Config::default(),
        }
    }
}
