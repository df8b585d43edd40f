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
mod config;
mod dedup_writer;
mod error;
mod id_file;
mod id_file_writer;
mod index;
mod known_post;
mod maintenance;
mod memtable;
mod metrics;
mod rebuild;
mod store;
#[cfg(test)]
mod tests;
mod trailer;

use std::path::Path;
use std::sync::Arc;

pub use config::Config;
pub use dedup_writer::DedupWriter;
pub use error::DedupError;
pub use index::DedupIndex;
pub use known_post::{DedupResult, KnownPost};
pub use maintenance::{DedupMaintenance, DedupReport};
pub use metrics::Metrics;
pub use store::quarantine;

use crate::journal::Reader;
use crate::model::{Epoch, UnixMillis};
use index::IdFileSet;
use store::{LoadedFiles, Store};

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
