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
