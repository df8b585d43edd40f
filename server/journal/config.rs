use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Storage of records: `embedded` = files below `data_dir`; `memory` = lost with the process.
    pub backend: Backend,
    /// Durability of an append before its records are published.
    pub durability: Durability,
    /// How long records are retained.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention_age_max: Duration,
    /// Maximum bytes of a log, without post ids. The oldest records are removed first. 0: limited by the disk only.
    pub retention_bytes_max: u64,
    /// Free bytes to keep on the disk. The oldest records are removed first.
    pub disk_headroom_bytes_min: u64,
    /// Bytes of a segment file. Retention removes whole segments.
    pub segment_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::Embedded,
            durability: Durability::Os,
            // The contract's 24 h: what X can recover (F-RR).
            retention_age_max: Duration::from_secs(24 * 3600),
            retention_bytes_max: 0,
            disk_headroom_bytes_min: 256 << 20,
            segment_bytes_max: 64 << 20,
        }
    }
}

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Segment files below `data_dir`.
    Embedded,
    /// In memory only.
    Memory,
}

/// What an append survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: records may still be in the process's memory.
    Memory,
    /// A killed process: write(2) is done. An fdatasync follows within a second.
    Os,
    /// A power cut: fdatasync is done, one for all that was ready.
    Sync,
}
