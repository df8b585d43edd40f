//! The durable log of one account: an append-only sequence of records, kept for a while, read from anywhere.
//!
//! Owns: the files of a log, its epoch and its table of terms, durability, retention, repair and the detection of
//! damage. Does not own: who writes (the sequencer, the one writer), what a record means to a subscriber (`hub`), or the
//! ids of posts already seen (`ingest/dedup`).
//!
//! # The contract that every backend keeps (`conformance` holds it)
//!
//! - One [`Writer`] per log, ever: opening a log that is open elsewhere fails with [`OpenError::Locked`].
//! - Sequences are dense: a batch starts at [`LogBounds::next`] and each record is one further. Anything else is a bug of
//!   the caller and panics.
//! - An append is all or nothing. After `Ok` its records are visible to every reader and as durable as
//!   [`Durability`] says; after `Err` none of them is visible, now or after a restart, and the same batch may be tried
//!   again.
//! - What a reader once gave for (epoch, term, sequence) it always gives, or tells it trimmed or damaged (I7).
//! - A torn tail is cut off at open, and counted ([`LostTail`]). Damage is never repaired away: it is given as
//!   [`ReadItem::Damaged`] with its exact range, and nothing of it is delivered. What the disk cannot read (EIO, a missing or
//!   foreign file, a damaged index) is damage too: a reader goes on behind it, the log opens, recompression passes it.
//! - An error of the disk is damage only in the answer that met it: the next reader tries again. Only where the log is
//!   written anew after a failed sync does it stay.
//! - A sync that failed is not made good by one that succeeds: the system may have dropped the pages. What is still
//!   readable is written to a new file; until that is done, nothing is appended.
//! - Nothing is ever removed but by retention (age, bytes, headroom of the disk), oldest first, and told by
//!   [`LogBounds::earliest`]. The headroom takes nothing in vain. The epoch and the table of terms outlive all records.
//! - Readers never hold up the writer, and the writer never waits for maintenance.
//!
//! # Modules
//!
//! `record` and `rule_table` (how a record is written) · `block` (a checked, compressed batch) · `embedded` (files) · `memory`
//! · `retention` and `headroom` (which segments go, pure) · `ages` (how old records are) · `verify` (inspection) · `disk`
//! (the seam for tests of full and broken ones).

mod ages;
mod block;
mod config;
#[cfg(test)]
mod conformance;
mod disk;
mod embedded;
mod error;
mod headroom;
mod key_match;
mod memory;
mod metrics;
mod record;
mod retention;
mod rule_table;
mod traits;
mod verify;
mod wire;

use std::path::Path;
use std::sync::Arc;

pub use config::{Backend, Config, Durability};
pub use disk::{Disk, SystemDisk, check_headroom};
pub use error::{AppendError, OpenError, ReadError};
pub use metrics::Metrics;
pub use traits::{
    Damage, Journal, LogBounds, LostTail, Maintenance, MaintenanceReport, ReadBatch, ReadItem, Reader, Writer,
    WriterIdentity,
};
use traits::{check_batch, read_bytes};
pub use verify::{RecordCounts, SegmentReport, Verification, verify};

use crate::model::UnixMillis;

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
