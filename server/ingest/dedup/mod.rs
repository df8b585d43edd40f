//! Which posts were logged before, and under which rules.
//!
//! Owns: the ids of an account that were appended within the deduplication window, each with the rules logged for it and its last
//! sequence, and the verdict on an arrival: new, a duplicate, or a delta (contract, section 5). Does not own: the
//! appending (`ingest/sequencer`) or the records (`journal`), from which everything here could be built again as far as
//! they are retained; the ids outlive trimmed payloads.
//!
//! The newest ids are in a table in memory; by age or size it is frozen, and maintenance writes it to a sealed file: blocks
//! of sorted ids with their rule sets, and a filter for each 65,536 of them that stays in memory. A look-up goes from
//! the newest to the oldest and reads a block only where the range and the filter of a chunk say so. Small files are
//! merged; files past the deduplication window are dropped.
//!
//! # Invariants (held by `tests`)
//!
//! - Answers equal those of a plain map of everything appended, over any order of appends, refused appends, seals,
//!   merges and restarts, if the caller notes the journal's records after [`DedupWriter::covered`] again at start.
//! - An append that failed leaves no trace.
//! - A file is there whole or not at all; a crash at any step changes no answer.
//! - Damage is told with the path, never taken for 'not seen'. Damaged blocks are written again from the journal, and ids
//!   that it has no record of any more are counted (`rebuild/tests`).
//! - Memory is bounded: the table and the generations that wait by `unflushed_ids_max`, files by 9.5 bits per id for
//!   their filters and 20 bytes per 512 ids for their index.
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

/// Settings of the table of seen posts.
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
            // The contract's 24 h: what X can recover (F-RR).
            window: Duration::from_secs(24 * 3600),
            // X sends again what backfill (5 min) and reconnects repeat; thrice that stays in memory.
            memtable_age_max: Duration::from_secs(15 * 60),
            // 15 minutes at 1,000 posts/s; it fits the 917,504 of a hash table of 2^20 slots.
            memtable_ids_max: 900_000,
            memtable_rules_bytes_max: 16 << 20,
            // Four generations of 18 MiB: an hour at 1,000 posts/s.
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
    /// The shortest horizon: X sends a post again for as long as it can recover it.
    const HORIZON_MIN: Duration = Duration::from_secs(24 * 3600);

    /// Raises the deduplication window to what the contract asks for (section 1): a post that the log still holds, or that X may send
    /// again, must not be taken twice.
    pub fn raise(&mut self, retention_age_max: Duration) {
        self.window = self.window.max(retention_age_max).max(Self::HORIZON_MIN);
    }
}

/// What is known of a post that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPost {
    /// The rules of all its records, in the order of first arrival.
    pub rules: Arc<[Rule]>,
    /// Its last record: the DELTA if there is one.
    pub sequence: Sequence,
}

/// What an arrival is (contract, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupResult {
    /// Not logged before.
    New,
    /// Logged, and its rules add nothing.
    Duplicate,
    /// Logged, and matched now by rules that it had not then.
    Delta {
        /// The rules logged so far.
        prior: Arc<[Rule]>,
        /// Those and the ones that this arrival adds.
        now: Arc<[Rule]>,
    },
}

/// A look-up or a file that failed. None of them means 'not seen'.
#[derive(Debug, Error)]
pub enum DedupError {
    /// A file is damaged. Until it is set aside and the journal noted again, posts could be taken twice.
    #[error(
        "the id file {path} is damaged ({detail}): which of its posts were delivered is not known; set it aside \
         (rename it to .damaged) and start again, then it is rebuilt from what the journal retains"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: &'static str,
    },
    /// A file is of a version that this program does not know.
    #[error("the id file {path} has format version {found}, this program reads up to {known}: use a newer program")]
    Version {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The system said no. It may be tried again.
    #[error("the id file {path} cannot be read or written")]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal could not be read for a damaged file. It may be tried again.
    #[error("the id file {path} is damaged, and the journal cannot be read to write it again: {source}")]
    Records {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: Arc<ReadError>,
    },
    /// Files could not be written for so long that memory is used up. It may be tried again when they can.
    #[error("{unsealed} post ids wait in memory for their files: see why those cannot be written")]
    Behind {
        /// Ids that wait.
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

    /// True if it may be gone at the next attempt.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Records { .. } | Self::Behind { .. })
    }
}

/// The ids of an account, opened.
pub struct Dedup {
    /// For the sequencer.
    pub seen: DedupWriter,
    /// For everybody.
    pub index: Arc<DedupIndex>,
    /// For the maintenance thread.
    pub maintenance: DedupMaintenance,
    /// Files of an earlier epoch that were set aside; they are removed when the deduplication window has passed.
    pub stale_files: u64,
}

impl Dedup {
    /// From now on a file that turns out to be damaged is written again from this log, which the ids are of.
    pub fn rebuild_from(&self, records: Arc<dyn Reader>) {
        let _ = self.index.records.set(records);
    }
}

/// Opens the ids in `dir` (made if it is missing), or in memory. Nobody else may have them open: the journal's lock
/// tells. Then note the journal's records after [`DedupWriter::covered`].
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
