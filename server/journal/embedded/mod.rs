//! Backend that stores records in files below the account's directory.
//!
//! ```text
//! lock                          held while the log is open
//! identity                      format version, epoch, table of terms; replaced whole
//! 00000000000000000001.pack     a sealed segment, recompressed, and its index
//! 00000000000000000001.pack.idx
//! 00000000000000004711.raw      a segment as it was appended to: sealed (with index), or the tail (without)
//! ```
//!
//! A segment is named after its first sequence and contains blocks (`block`). The end of one segment is the start of
//! the next, so a missing file is detected. Sealed segments have an index file, the active one an index in memory; a
//! lost index is rebuilt.
//!
//! Opening (`opening`) reads only the last segment: its torn tail is truncated, and its blocks are verified. Of the
//! other segments it reads the heads of their index files.

mod damage;
pub(super) mod files;
mod gathered;
pub(super) mod identity;
pub(super) mod index;
pub(super) mod index_file;
mod log_start;
mod maintenance;
mod notices;
mod opening;
mod reader;
mod recompress;
mod rescue;
pub(super) mod segment_scan;
mod shared;
mod trim;
mod unlinked_segment;
mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};

use self::damage::KnownDamage;
use self::identity::LogIdentity;
use self::opening::LoadedLog;
use self::shared::SharedLog;
use super::disk::{Disk, check_headroom};
use super::{Config, Journal, LogStart, OpenError, WriterIdentity};
use crate::model::{Epoch, Term, TermStart, UnixMillis};

pub(super) fn open(
    config: &Config,
    dir: &Path,
    identity: WriterIdentity,
    now: UnixMillis,
    disk: Arc<dyn Disk>,
) -> Result<Journal, OpenError> {
    let lock = claim(config, dir, &*disk)?;
    open_locked(config, dir, identity, now, disk, lock)
}

/// Creates a log that continues another one, and opens it.
pub(super) fn identity_of(dir: &Path) -> Result<Option<(Epoch, Vec<TermStart>)>, OpenError> {
    Ok(LogIdentity::read(dir)?.map(|found| (found.epoch, found.terms)))
}

pub(super) fn open_at(
    config: &Config,
    dir: &Path,
    start: &LogStart,
    term: Term,
    now: UnixMillis,
    disk: Arc<dyn Disk>,
) -> Result<Journal, OpenError> {
    let lock = claim(config, dir, &*disk)?;
    log_start::create(dir, start, now, &*disk)?;
    open_locked(config, dir, WriterIdentity { epoch: start.epoch, term }, now, disk, lock)
}

/// Creates the directory and locks it.
fn claim(config: &Config, dir: &Path, disk: &dyn Disk) -> Result<File, OpenError> {
    files::make_dir(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    check_headroom(config.disk_headroom_bytes_min, dir, disk)?;
    lock(dir)
}

fn open_locked(
    config: &Config,
    dir: &Path,
    identity: WriterIdentity,
    now: UnixMillis,
    disk: Arc<dyn Disk>,
    lock: File,
) -> Result<Journal, OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    let mut known = LogIdentity::read_or_make(&*disk, dir, identity, now)?;
    let opened = LoadedLog::read(dir, &known, &*disk, now).map_err(io)?;
    opened.check_terms(&mut known);
    let ids = AtomicU64::new(opened.snapshot.sealed.len() as u64 + 2);
    let lost_tail = opened.lost_tail;
    let damage = KnownDamage::default();
    opened.missing_segments().into_iter().for_each(|range| damage.add(dir, range));
    let synced = AtomicU64::new(opened.tip.next);
    let shared = Arc::new(SharedLog {
        dir: dir.to_owned(),
        config: config.clone(),
        disk,
        tail: Mutex::new(opened.state),
        tip: Mutex::new(opened.tip),
        epoch: known.epoch,
        terms: RwLock::new(known.terms.clone().into()),
        identity: Mutex::new(known),
        snapshot: ArcSwap::from_pointee(opened.snapshot),
        change: Mutex::new(()),
        full: AtomicBool::new(false),
        refused: AtomicBool::new(false),
        appended_bytes: AtomicU64::new(0),
        doomed: Mutex::default(),
        sync_failed: AtomicBool::new(false),
        damage,
        synced,
        unsynced: Mutex::default(),
        indexes: Mutex::new(VecDeque::new()),
        ids,
        gone: AtomicBool::new(false),
        lock,
    });
    if lost_tail.corrupt {
        tracing::error!(
            journal = %dir.display(), bytes = lost_tail.bytes, next = shared.extent().next,
            "journal tail is corrupt; its records are lost",
        );
    } else if lost_tail.bytes > 0 {
        tracing::warn!(journal = %dir.display(), bytes = lost_tail.bytes, "truncated torn journal tail");
    }
    let writer = writer::EmbeddedWriter::new(shared.clone(), identity.term).map_err(io)?;
    Ok(Journal {
        writer: Box::new(writer),
        reader: Arc::new(reader::EmbeddedReader::new(shared.clone())),
        maintenance: Box::new(maintenance::EmbeddedMaintenance::new(shared)),
        torn_bytes: lost_tail.bytes,
        lost_tail,
    })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(files::LOCK);
    let file = files::open_or_create(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path: dir.to_owned() }),
        Err(error) => Err(OpenError::Io { path, source: error.into() }),
    }
}
