//! Settings of the deduplication index.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of deduplication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Deduplication window: how long a post id is remembered, in machine time. At least 24 h and
    /// `journal.retention_age_max`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// Age of the oldest id in memory at which the ids are flushed to a file.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub memtable_age_max: Duration,
    /// Ids in memory at which they are flushed to a file.
    pub memtable_ids_max: u64,
    /// Bytes of rule sets in memory at which the ids are flushed to a file.
    pub memtable_rules_bytes_max: u64,
    /// Maximum ids in memory while id files cannot be written. Beyond it, ingest stops.
    pub unflushed_ids_max: u64,
    /// Maximum ids of a merged id file.
    pub file_ids_max: u64,
    /// Bytes of flushed ids without a directory (journal backend `memory`). The oldest are removed first, regardless
    /// of the deduplication window.
    pub memory_bytes_max: u64,
    /// Maximum corrupt blocks of a file (512 ids each) that are rebuilt from the journal at run time. Beyond it, the
    /// file is set aside and rebuilt at the next start.
    pub rebuilt_blocks_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // The contract's 24 h: X's recovery window (F-RR).
            window: Duration::from_secs(24 * 3600),
            // Repeats are mostly of backfill (5 min) and reconnects; three times that stays in memory.
            memtable_age_max: Duration::from_secs(15 * 60),
            // 15 minutes at 1,000 posts/s; it fits the 917,504 of a hash table of 2^20 slots.
            memtable_ids_max: 900_000,
            memtable_rules_bytes_max: 16 << 20,
            // Four memtables of 18 MiB: an hour at 1,000 posts/s.
            unflushed_ids_max: 3_600_000,
            file_ids_max: 4_000_000,
            // About 20 million ids at 10 bytes each: 5.5 h at 1,000 posts/s.
            memory_bytes_max: 192 << 20,
            // 131,072 ids: about 16 MiB.
            rebuilt_blocks_max: 256,
        }
    }
}

impl Config {
    /// Minimum deduplication window: X sends a post again for as long as it can recover it.
    const WINDOW_MIN: Duration = Duration::from_secs(24 * 3600);

    /// Raises the deduplication window to the contract's minimum (section 1): a post that the log still contains, or
    /// that X may send again, must not be logged twice.
    pub fn raise(&mut self, retention_age_max: Duration) {
        self.window = self.window.max(retention_age_max).max(Self::WINDOW_MIN);
    }
}
