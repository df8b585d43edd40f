//! The durable log of one account: an append-only sequence of records with limited retention, readable from any
//! position.
//!
//! Owns: the files of a log, its epoch and its table of terms, durability, retention, repair, detection of damage. Does
//! not own: the choice of records (the sequencer is the only writer), the meaning of a record to a subscriber (`hub`),
//! the ids of posts already seen (`ingest/dedup`).
//!
//! # Contract of every backend (tested by `conformance`)
//!
//! - One [`Writer`] per log: opening a log that is open elsewhere fails with [`OpenError::Locked`].
//! - Sequences are dense: a batch starts at [`LogBounds::next`] and each record is one further. Anything else is a bug
//!   of the caller and panics.
//! - An append is all or nothing. After `Ok` its records are visible to every reader and as durable as [`Durability`]
//!   defines. After `Err` none of them is visible, now or after a restart, and the same batch may be retried.
//! - A log that is fed with the blocks of another one ([`Writer::append_block`]) stores the same bytes and answers all
//!   reads alike. A block that does not continue the log changes nothing.
//! - A reader that returned a record for (epoch, term, sequence) always returns the same record, or reports it as
//!   trimmed or damaged (I7).
//! - A torn tail is truncated at open and counted ([`LostTail`]). Damage is never hidden: it is returned as
//!   [`ReadItem::Damaged`] with its exact range, and no part of it is delivered. Bytes that the disk cannot read (EIO,
//!   a missing or foreign file, a damaged index) are damage too: readers continue after it, the log opens,
//!   recompression skips it.
//! - A disk error is damage only in the read that met it: the next reader tries again. It becomes permanent only where
//!   the log is rewritten after a failed sync.
//! - A successful sync does not repair a failed one: the operating system may have dropped the pages. Readable blocks
//!   are written to a new file; until then nothing is appended.
//! - Records are removed only by retention (age, bytes, headroom of the disk), oldest first, and
//!   [`LogBounds::earliest`] shows it. Segments are trimmed for the headroom only if that helps. The epoch and the
//!   table of terms outlive all records.
//! - Readers never block the writer, and the writer never waits for maintenance.
//!
//! # Modules
//!
//! `record` and `rule_table` (encoding of a record) · `block` (a checked, compressed batch) · `stored_block` (a
//! block outside its log) · `continuation` (whether a block continues a log, pure) · `embedded` (files) · `memory` · `retention` and `headroom` (which segments are trimmed, pure) · `ages` (age of records) · `verify`
//! (inspection) · `disk` (replaced in tests by full and broken disks).

mod ages;
mod block;
mod config;
#[cfg(test)]
mod conformance;
mod continuation;
mod disk;
mod embedded;
mod error;
mod headroom;
mod key_match;
mod memory;
mod metrics;
mod raw_frame;
mod record;
mod retention;
mod rule_table;
mod stored_block;
mod traits;
mod verify;

use std::path::Path;
use std::sync::Arc;

pub use config::{Backend, Config, Durability};
pub use disk::{Disk, SystemDisk, TimedDisk, check_headroom};
pub use error::{AppendError, BlockError, Discontinuity, OpenError, ReadError};
pub use metrics::{Metrics, RetentionBound};
pub use stored_block::{Block, StoredBlockDecoder, StoredBlockEncoder};
pub use traits::{
    Damage, Journal, LogBounds, LogStart, LostTail, Maintenance, MaintenanceReport, ReadBatch, ReadItem, Reader,
    Writer, WriterIdentity,
};
use traits::{check_batch, read_bytes};
pub use verify::{RecordCounts, SegmentReport, Verification, verify};

use crate::model::{Epoch, Term, TermStart, UnixMillis};

/// Opens the log of the backend that `config` names; `dir` is read only by the embedded one.
pub fn open(config: &Config, dir: &Path, identity: WriterIdentity, now: UnixMillis) -> Result<Journal, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    open_with(config, dir, identity, now, &disk)
}

/// Opens the log of the backend that `config` names, on a disk of the caller's choice.
pub fn open_with(
    config: &Config,
    dir: &Path,
    identity: WriterIdentity,
    now: UnixMillis,
    disk: &Arc<dyn Disk>,
) -> Result<Journal, OpenError> {
    match config.backend {
        Backend::Memory => Ok(open_memory(config, identity)),
        Backend::Embedded => open_on(config, dir, identity, now, disk.clone()),
    }
}

/// Returns the epoch and the terms of the log in `dir`, without opening it; `None` if there is none.
pub fn identity_of(dir: &Path) -> Result<Option<(Epoch, Vec<TermStart>)>, OpenError> {
    embedded::identity_of(dir)
}

/// Makes a log that lives in memory and is lost with the process.
pub fn open_memory(config: &Config, identity: WriterIdentity) -> Journal {
    memory::open(config, identity)
}

/// Opens the log in `dir`, or makes it.
pub fn open_embedded(
    config: &Config,
    dir: &Path,
    identity: WriterIdentity,
    now: UnixMillis,
) -> Result<Journal, OpenError> {
    open_on(config, dir, identity, now, Arc::new(SystemDisk))
}

/// Opens the log in `dir` on a disk of the caller's choice, for tests of full and broken ones.
pub fn open_on(
    config: &Config,
    dir: &Path,
    identity: WriterIdentity,
    now: UnixMillis,
    disk: Arc<dyn Disk>,
) -> Result<Journal, OpenError> {
    embedded::open(config, dir, identity, now, disk)
}

/// Creates a log that continues another one, where no log is, and opens it for a writer of `term`.
pub fn open_at(
    config: &Config,
    dir: &Path,
    start: &LogStart,
    term: Term,
    now: UnixMillis,
    disk: &Arc<dyn Disk>,
) -> Result<Journal, OpenError> {
    match config.backend {
        Backend::Memory => Ok(memory::open_at(config, start, term)),
        Backend::Embedded => embedded::open_at(config, dir, start, term, now, disk.clone()),
    }
}
