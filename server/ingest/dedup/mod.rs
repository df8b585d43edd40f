//! Deduplication: which posts were logged before, and under which rules.
//!
//! Owns: the ids of an account that were appended within the deduplication window, each with its logged rules and its
//! last sequence, and the classification of an arrival as new, duplicate or delta (contract, section 5). Does not own:
//! appends (`ingest/sequencer`) or records (`journal`), from which ids can be rebuilt as far as the journal retains
//! them. Ids outlive trimmed payloads.
//!
//! # Design
//! The newest ids are in a memtable. By age or size it is frozen, and maintenance flushes it to an immutable file:
//! blocks of sorted ids with their rule sets, and in memory a filter for each 65,536 ids. A lookup goes from the newest
//! to the oldest table and reads a block only if the range and the filter of a partition match. Small files are
//! compacted; files past the deduplication window are dropped.
//!
//! # Invariants (`tests`)
//! - Answers equal those of a plain map of everything appended, over any order of appends, failed appends, flushes,
//!   compactions and restarts, if the caller stages the journal's records after [`DedupWriter::covered`] again at
//!   start.
//! - A failed append leaves no trace.
//! - A file exists completely or not at all; a crash at any step changes no answer.
//! - Damage is reported with the path, never mistaken for 'not seen'. Damaged blocks are rebuilt from the journal; ids
//!   without a record in it are counted (`rebuild/tests`).
//! - Memory is bounded: memtables by `unflushed_ids_max`, files by 9.5 bits per id for filters and 20 bytes per 512 ids
//!   for the index.
//! - The writer never waits for a file to be written.

mod block;
mod compaction;
mod dedup_writer;
mod id_file;
mod id_file_writer;
mod index;
mod maintenance;
mod memtable;
mod metrics;
mod rebuild;
mod store;
#[cfg(test)]
mod tests;
mod trailer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use dedup_writer::DedupWriter;
pub use index::DedupIndex;
pub use maintenance::{DedupMaintenance, DedupReport};
pub use metrics::Metrics;
pub use store::quarantine;

use crate::journal::{ReadError, Reader};
use crate::model::{Epoch, Rule, Sequence, UnixMillis};
use index::IdFileSet;
use store::{LoadedFiles, Store};

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

/// Entry of a logged post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPost {
    /// Rules of all its records, in the order of first arrival.
    pub rules: Arc<[Rule]>,
    /// Sequence of its last record: the DELTA if there is one.
    pub sequence: Sequence,
}

/// Classification of an arrival (contract, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupResult {
    /// Not logged before.
    New,
    /// Logged, without a new rule.
    Duplicate,
    /// Logged, with rules that were not logged before.
    Delta {
        /// Rules logged so far.
        prior: Arc<[Rule]>,
        /// Rules logged so far and the new ones.
        now: Arc<[Rule]>,
    },
}

/// A failed lookup or file operation. No variant means 'not seen'.
#[derive(Debug, Error)]
pub enum DedupError {
    /// A file is damaged. Until it is quarantined and the journal staged again, posts could be logged twice.
    #[error(
        "id file {path} is corrupt ({detail}); its posts could be delivered twice; rename it to .damaged and restart \
         to rebuild it from the journal"
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        detail: &'static str,
    },
    /// A file has an unsupported version.
    #[error("id file {path} has format version {found}, newer than the supported {known}; use a newer gateway")]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest supported version.
        known: u32,
    },
    /// I/O error; may be retried.
    #[error("failed to access id file {path}")]
    Io {
        /// Path of the file or its directory.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The journal could not be read to rebuild a damaged file; may be retried.
    #[error("failed to rebuild corrupt id file {path} from the journal: {source}")]
    Records {
        /// Path of the file.
        path: PathBuf,
        /// The read error.
        source: Arc<ReadError>,
    },
    /// Too many ids wait to be flushed; may be retried once files can be written.
    #[error(
        "{unsealed} post ids cannot be flushed (ingest.dedup.unflushed_ids_max); see the log for the last write error"
    )]
    Behind {
        /// Number of unflushed ids.
        unsealed: u64,
    },
}

impl DedupError {
    fn damaged(path: &Path, detail: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), detail }
    }

    fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// True if a retry may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Records { .. } | Self::Behind { .. })
    }
}

/// An open deduplication index.
pub struct Dedup {
    /// For the sequencer.
    pub seen: DedupWriter,
    /// For all readers.
    pub index: Arc<DedupIndex>,
    /// For the maintenance thread.
    pub maintenance: DedupMaintenance,
    /// Quarantined files of an earlier epoch; they are removed after the deduplication window.
    pub stale_files: u64,
}

impl Dedup {
    /// Sets the log of the ids, from which damaged files are rebuilt from now on.
    pub fn rebuild_from(&self, records: Arc<dyn Reader>) {
        let _ = self.index.records.set(records);
    }
}

/// Opens the ids in `dir` (created if missing), or in memory. The caller must hold the journal's lock: no other process
/// may have them open. It then stages the journal's records after [`DedupWriter::covered`].
pub fn open(
    dir: Option<&Path>,
    config: &Config,
    epoch: Epoch,
    now: UnixMillis,
    metrics: Metrics,
) -> Result<Dedup, DedupError> {
    let store = Store::open(dir)?;
    let LoadedFiles { files, lost, stale } = store.load(epoch, now.minus(config.window))?;
    let mut levels = IdFileSet { lost, ..IdFileSet::default() };
    files.into_iter().for_each(|file| levels.insert(file));
    let index = Arc::new(DedupIndex::new(config, epoch, metrics, store, levels));
    let maintenance = DedupMaintenance::new(index.clone());
    Ok(Dedup { seen: DedupWriter::new(index.clone()), index, maintenance, stale_files: stale })
}
