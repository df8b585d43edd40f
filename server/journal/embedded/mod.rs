//! The backend that keeps records in files below the account's directory.
//!
//! ```text
//! lock                          held while the log is open
//! identity                      format version, epoch, table of terms; replaced whole
//! 00000000000000000001.pack     a sealed segment, recompressed, and its index
//! 00000000000000000001.pack.idx
//! 00000000000000004711.raw      a segment as it was appended to: sealed (with index), or the tail (without)
//! ```
//!
//! A segment is named by its first sequence and holds blocks (`block`), so the end of one is the beginning of the next
//! and a lost file is seen. Indexes are kept in files, of the tail in memory; one that is lost is made anew.
//!
//! Opening reads the last segment only: its torn tail is cut off, and its blocks are checked. Of the others it takes the
//! heads of their index files.

pub(in crate::journal) mod files;
pub(in crate::journal) mod identity;
pub(in crate::journal) mod index;
pub(in crate::journal) mod index_file;
mod pack;
mod reader;
pub(in crate::journal) mod scan;
mod shared;
mod upkeep;
mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};

use self::files::SegmentName;
use self::identity::LogIdentity;
use self::index_file::Summary;
use self::shared::{Held, Sealed, Shared, Snapshot, Tail, TailState, Tip};
use super::disk::Disk;
use super::rules::Numbering;
use super::{Config, Identity, Journal, OpenError};
use crate::model::{Epoch, Sequence, UnixMillis};

pub(super) fn open(
    config: &Config,
    dir: &Path,
    identity: Identity,
    now: UnixMillis,
    disk: Arc<dyn Disk>,
) -> Result<Journal, OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    files::make_dir(dir).map_err(io)?;
    let lock = lock(dir)?;
    let mut known = LogIdentity::read_or_make(&*disk, dir, identity, now)?;
    let opened = Opened::read(dir, &known, &*disk).map_err(io)?;
    opened.check_terms(&mut known);
    let ids = AtomicU64::new(opened.snapshot.sealed.len() as u64 + 2);
    let torn_bytes = opened.torn_bytes;
    let shared = Arc::new(Shared {
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
        unsynced: Mutex::default(),
        indexes: Mutex::new(VecDeque::new()),
        ids,
        _lock: lock,
    });
    if torn_bytes > 0 {
        tracing::warn!(journal = %dir.display(), torn_bytes, "the torn tail of the journal was cut off");
    }
    let writer = writer::EmbeddedWriter::new(shared.clone(), identity.term).map_err(io)?;
    Ok(Journal {
        writer: Box::new(writer),
        reader: Arc::new(reader::EmbeddedReader::new(shared.clone())),
        upkeep: Box::new(upkeep::EmbeddedUpkeep::new(shared)),
        torn_bytes,
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

/// What was found in the directory.
struct Opened {
    snapshot: Snapshot,
    state: TailState,
    tip: Tip,
    torn_bytes: u64,
}

impl Opened {
    fn read(dir: &Path, known: &LogIdentity, disk: &dyn Disk) -> io::Result<Self> {
        let names = files::segments(dir)?;
        files::sweep(dir, &names)?;
        let (sealed, tail) = match names.split_last() {
            Some((last, sealed)) if !last.packed => (sealed, Some(*last)),
            _ => (&names[..], None),
        };
        let mut found = Vec::with_capacity(sealed.len());
        for (at, &name) in sealed.iter().enumerate() {
            found.push(Arc::new(read_sealed(dir, name, known.epoch, at as u64)?));
        }
        let id = sealed.len() as u64;
        match tail {
            Some(name) => Self::with_tail(dir, known.epoch, disk, found, name, id),
            None => Self::with_new_tail(dir, known, disk, found, id),
        }
    }

    /// Goes on with the last segment, less its torn tail.
    fn with_tail(
        dir: &Path,
        epoch: Epoch,
        disk: &dyn Disk,
        sealed: Vec<Arc<Sealed>>,
        name: SegmentName,
        id: u64,
    ) -> io::Result<Self> {
        let path = name.path(dir);
        let scan = scan::scan(&path, epoch, name.first)?;
        let file = files::open_or_create(&path)?;
        let torn_bytes = scan.torn_bytes();
        files::remove(&files::index_path(&path))?;
        if torn_bytes > 0 {
            disk.truncate(&file, scan.sound_end)?;
            disk.sync(&file)?;
        }
        let mut offset = scan.sound_end;
        if scan.index.entries.is_empty() && !scan.header_sound {
            // Nothing is in it, not even all of its header: made anew, it is as good as ever.
            let header = scan::segment_header(epoch, name.first);
            disk.write_at(&file, &header, 0)?;
            offset = header.len() as u64;
        }
        let next = scan.index.entries.last().map_or(name.first, |entry| entry.header.end());
        let newest_received = scan.index.last_received().or_else(|| newest(&sealed));
        let index = RwLock::new(scan.index);
        let tail = Tail { id, first: name.first, path, file, index, dirty: AtomicBool::new(true) };
        Ok(Self {
            snapshot: Snapshot { sealed, tail: Arc::new(tail) },
            state: TailState { numbering: scan.numbering, offset, unclean: false },
            tip: Tip { next, newest_received },
            torn_bytes,
        })
    }

    /// The log is new, or its tail never reached the disk.
    fn with_new_tail(
        dir: &Path,
        known: &LogIdentity,
        disk: &dyn Disk,
        sealed: Vec<Arc<Sealed>>,
        id: u64,
    ) -> io::Result<Self> {
        let held = sealed.last().map(|last| last.summary.end.max(last.name.first));
        let listed = known.terms.iter().map(|start| start.first).max();
        let next: Sequence = held.or(listed).unwrap_or(1);
        let (tail, offset) = shared::create_tail(disk, dir, known.epoch, next, id)?;
        files::sync_dir(dir)?;
        let newest_received = newest(&sealed);
        Ok(Self {
            snapshot: Snapshot { sealed, tail: Arc::new(tail) },
            state: TailState { numbering: Numbering::default(), offset, unclean: false },
            tip: Tip { next, newest_received },
            torn_bytes: 0,
        })
    }

    /// Makes the table of terms fit the log: none begins beyond the end, and none of the last segment's is missing.
    fn check_terms(&self, known: &mut LogIdentity) {
        known.clamp(self.tip.next);
        for entry in &self.snapshot.tail.index.read().entries {
            let (term, first) = (entry.header.term, entry.header.first);
            if known.terms.iter().all(|start| start.term != term) {
                tracing::warn!(%term, first, "a term of the journal was not in its table");
                let at = known.terms.partition_point(|start| start.first <= first);
                known.terms.insert(at, crate::model::TermStart { term, first });
            }
        }
    }
}

fn newest(sealed: &[Arc<Sealed>]) -> Option<UnixMillis> {
    sealed.iter().rev().find_map(|segment| segment.summary.received).map(|(_, last)| last)
}

/// Takes the head of a segment's index, or reads the segment if that is lost.
fn read_sealed(dir: &Path, name: SegmentName, epoch: Epoch, id: u64) -> io::Result<Sealed> {
    let path = name.path(dir);
    let (summary, index_bytes, held) = match index_file::read_summary(&path, epoch)? {
        Some((summary, index_bytes)) => (summary, index_bytes, None),
        None => {
            tracing::info!(segment = %path.display(), "a segment has no index yet; reading it");
            let scan = scan::scan(&path, epoch, name.first)?;
            (Summary::of(&scan.index, scan.length), 0, Some(Held::Loaded(Arc::new(scan.index))))
        }
    };
    Ok(Sealed {
        id,
        name,
        path,
        summary,
        index_bytes: AtomicU64::new(index_bytes),
        held: Mutex::new(held),
        left_alone: AtomicBool::new(false),
    })
}
