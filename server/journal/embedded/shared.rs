//! State shared by the writer, the readers and maintenance of a log.
//!
//! The list of segments is an immutable snapshot: readers load it without a lock and use it until one of its files is
//! gone. The index of the active segment is behind a lock held for microseconds. Lock order: `SharedLog::tail` (to
//! append to or seal the active segment), then `SharedLog::change` (to replace the list).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::damage::KnownDamage;
use super::files::{self, SegmentName};
use super::identity::LogIdentity;
use super::index::{ReceivedBounds, SegmentIndex};
use super::index_file::{self, SegmentSummary};
use super::segment_scan;
use super::unlinked_segment::UnlinkedSegment;
use crate::journal::disk::Disk;
use crate::journal::rule_table::RuleInterner;
use crate::journal::{AppendError, Config, Durability, LogBounds, ReadError};
use crate::model::{Sequence, TermStart, UnixMillis};

/// The active segment, which is appended to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) id: u64,
    pub(super) first: Sequence,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) index: RwLock<SegmentIndex>,
    /// True if written bytes are not synced.
    pub(super) dirty: AtomicBool,
    /// True if a sync failed: written bytes may be lost although the next sync succeeds.
    pub(super) failed: AtomicBool,
    /// Sequence after a complete but damaged block found at the end of the file at open; 0 if there was none. Sequences
    /// before it that are not in the index are damaged.
    pub(super) claimed: Sequence,
}

impl ActiveSegment {
    pub(super) fn sync_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// A sealed segment, which is immutable.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) id: u64,
    pub(super) name: SegmentName,
    pub(super) path: PathBuf,
    pub(super) summary: SegmentSummary,
    /// Length of its index file; 0 if there is none.
    pub(super) index_bytes: AtomicU64,
    /// Its index while there is no index file.
    pub(super) held: Mutex<Option<IndexHandle>>,
    /// True if it is damaged, or otherwise excluded from recompression.
    pub(super) left_alone: AtomicBool,
    /// True if the disk could not read a part of it during the scan. No index file is written from that scan, so that
    /// the next start scans it again.
    pub(super) unreadable: bool,
}

/// An index in memory.
#[derive(Clone, Debug)]
pub(super) enum IndexHandle {
    /// Of a segment that is or was active.
    Tail(Arc<ActiveSegment>),
    /// Of an index file.
    Loaded(Arc<SegmentIndex>),
}

impl IndexHandle {
    /// Passes the index to `look`; for the active segment, the writer waits meanwhile.
    pub(super) fn with_index<R>(&self, look: impl FnOnce(&SegmentIndex) -> R) -> R {
        match self {
            Self::Tail(tail) => look(&tail.index.read()),
            Self::Loaded(index) => look(index),
        }
    }
}

/// The segments at one moment.
#[derive(Debug)]
pub(super) struct LogSnapshot {
    /// Oldest first.
    pub(super) sealed: Vec<Arc<SealedSegment>>,
    pub(super) tail: Arc<ActiveSegment>,
    /// Bounds of damage that has no readable record on one side: when the log was made, or its newest trimmed record was
    /// received; when the newest record was received that was found at open, sound or not.
    pub(super) outermost: ReceivedBounds,
}

impl LogSnapshot {
    pub(super) fn earliest(&self) -> Sequence {
        self.sealed.first().map_or(self.tail.first, |segment| segment.name.first)
    }

    /// Returns the number of the segment that contains, or would contain, this record; the active segment is one past
    /// the last sealed.
    pub(super) fn find(&self, at: Sequence) -> Result<usize, ReadError> {
        let earliest = self.earliest();
        if at < earliest {
            return Err(ReadError::Trimmed { earliest });
        }
        if at >= self.tail.first {
            return Ok(self.sealed.len());
        }
        Ok(self.sealed.partition_point(|segment| segment.name.first <= at) - 1)
    }

    /// Returns the receive time of the last readable record of the segments before this one.
    pub(super) fn received_before(&self, at: usize) -> Option<UnixMillis> {
        self.sealed[..at].iter().rev().find_map(|it| it.summary.received).map(|(_, last)| last)
    }

    /// Returns the receive time of the first readable record of the segments after this one.
    pub(super) fn received_after(&self, at: usize) -> Option<UnixMillis> {
        let behind = self.sealed.iter().skip(at + 1).find_map(|it| it.summary.received).map(|(first, _)| first);
        let in_tail = || if at < self.sealed.len() { self.tail.index.read().first_received() } else { None };
        behind.or_else(in_tail)
    }

    /// Returns the receive time of the newest readable record of the sealed segments.
    pub(super) fn newest(&self) -> Option<UnixMillis> {
        self.sealed.iter().rev().find_map(|segment| segment.summary.received).map(|(_, last)| last)
    }

    /// Returns the first sequence of the segment after this one.
    pub(super) fn end(&self, at: usize) -> Sequence {
        self.sealed.get(at + 1).map_or(self.tail.first, |segment| segment.name.first)
    }
}

/// Tip of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tip {
    pub(super) next: Sequence,
    pub(super) newest_received: Option<UnixMillis>,
}

/// State needed to append to or seal the active segment.
#[derive(Debug)]
pub(super) struct TailState {
    pub(super) numbering: RuleInterner,
    /// Offset of the next block.
    pub(super) offset: u64,
    /// True if bytes of a failed append may follow `offset`.
    pub(super) unclean: bool,
}

/// Cached indexes of sealed segments: 8 of about 100 KiB each once recompressed, some MiB before.
const INDEXES_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct SharedLog {
    pub(super) dir: PathBuf,
    pub(super) config: Config,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) snapshot: ArcSwap<LogSnapshot>,
    pub(super) change: Mutex<()>,
    pub(super) tail: Mutex<TailState>,
    pub(super) tip: Mutex<Tip>,
    pub(super) identity: Mutex<LogIdentity>,
    pub(super) epoch: crate::model::Epoch,
    pub(super) terms: RwLock<Arc<[TermStart]>>,
    /// True while free space is below the headroom and trimming cannot help.
    pub(super) full: AtomicBool,
    /// True if an append was refused because the disk was full since the last maintenance step.
    pub(super) refused: AtomicBool,
    /// Bytes appended since the log was opened.
    pub(super) appended_bytes: AtomicU64,
    /// Trimmed or replaced segments whose files are not removed yet.
    pub(super) doomed: Mutex<Vec<UnlinkedSegment>>,
    /// True while a segment has to be rewritten because its sync failed; appends are refused meanwhile.
    pub(super) sync_failed: AtomicBool,
    /// Damaged ranges.
    pub(super) damage: KnownDamage,
    /// Every record before this sequence was synced.
    pub(super) synced: AtomicU64,
    /// Sealed segments that are not synced yet.
    pub(super) unsynced: Mutex<Vec<Arc<ActiveSegment>>>,
    pub(super) indexes: Mutex<VecDeque<(u64, Arc<SegmentIndex>)>>,
    pub(super) ids: AtomicU64,
    /// True while the directory is not where it was opened: writes go to unlinked files.
    pub(super) gone: AtomicBool,
    /// Locked while the log is open.
    pub(super) lock: File,
}

impl SharedLog {
    /// Returns a segment id that is unique since the log was opened.
    pub(super) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Checks that the opened directory still has its name; logs a change.
    pub(super) fn check_dir(&self) -> io::Result<()> {
        let opened = self.lock.metadata()?;
        let found = std::fs::symlink_metadata(self.dir.join(files::LOCK));
        let gone = !found.is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
        if self.gone.swap(gone, Ordering::AcqRel) != gone {
            let journal = self.dir.display();
            if gone {
                tracing::error!(%journal, "journal directory was removed or replaced, appends refused");
            } else {
                tracing::warn!(%journal, "journal directory is available again");
            }
        }
        self.check_gone()
    }

    /// Returns an error while the directory is missing.
    pub(super) fn check_gone(&self) -> io::Result<()> {
        let gone = self.gone.load(Ordering::Acquire);
        let text = "journal directory was removed or replaced; restore it or restart the gateway";
        if gone { Err(io::Error::new(io::ErrorKind::NotFound, text)) } else { Ok(()) }
    }

    /// Records an append that was refused because the disk was full.
    pub(super) fn note_refusal(&self, error: AppendError) -> AppendError {
        if matches!(error, AppendError::DiskFull) {
            self.refused.store(true, Ordering::Relaxed);
        }
        error
    }

    /// Records that a sync of this segment failed.
    pub(super) fn note_failed_sync(&self, tail: &ActiveSegment, error: &io::Error) {
        tail.failed.store(true, Ordering::Release);
        if !self.sync_failed.swap(true, Ordering::AcqRel) {
            tracing::error!(
                journal = %self.dir.display(), %error,
                "failed to sync journal, appends refused until the segment is rewritten",
            );
        }
    }

    pub(super) fn extent(&self) -> LogBounds {
        let snapshot = self.snapshot.load();
        let tip = *self.tip.lock();
        let earliest = snapshot.earliest();
        let sealed = snapshot.sealed.iter().find_map(|segment| segment.summary.received);
        let earliest_received = sealed.map(|(first, _)| first).or_else(|| snapshot.tail.index.read().first_received());
        LogBounds {
            earliest,
            next: tip.next,
            earliest_received: earliest_received.filter(|_| earliest < tip.next),
            newest_received: tip.newest_received.filter(|_| earliest < tip.next),
        }
    }

    /// Replaces the list of segments.
    pub(super) fn change(&self, change: impl FnOnce(&mut LogSnapshot)) {
        let _guard = self.change.lock();
        let old = self.snapshot.load();
        let mut new = LogSnapshot { sealed: old.sealed.clone(), tail: old.tail.clone(), ..**old };
        change(&mut new);
        self.snapshot.store(Arc::new(new));
    }

    /// Returns the index of a sealed segment. If its file is lost, the segment is scanned.
    pub(super) fn index(&self, segment: &Arc<SealedSegment>) -> io::Result<IndexHandle> {
        if let Some(held) = &*segment.held.lock() {
            return Ok(held.clone());
        }
        let cached = self.indexes.lock().iter().find(|(id, _)| *id == segment.id).map(|(_, index)| index.clone());
        if let Some(index) = cached {
            return Ok(IndexHandle::Loaded(index));
        }
        let index = match index_file::read(&segment.path, self.epoch)? {
            Some(index) if SegmentSummary::of(&index, segment.summary.segment_bytes) == segment.summary => index,
            _ => {
                tracing::warn!(segment = %segment.path.display(), "segment index is damaged, scanning the segment");
                segment_scan::scan(&*self.disk, &segment.path, self.epoch, segment.name.first)?.index
            }
        };
        let index = Arc::new(index);
        let mut cache = self.indexes.lock();
        cache.truncate(INDEXES_MAX - 1);
        cache.push_front((segment.id, index.clone()));
        Ok(IndexHandle::Loaded(index))
    }

    /// Seals the active segment and starts an empty one. `state` is that of `self.tail`.
    pub(super) fn seal(&self, state: &mut TailState) -> io::Result<()> {
        self.seal_into(state, self.config.durability == Durability::Os)
    }

    /// Seals the active segment, and has it synced or rewritten whatever the durability is.
    pub(super) fn seal_unsynced(&self, state: &mut TailState) -> io::Result<()> {
        self.seal_into(state, true)
    }

    fn seal_into(&self, state: &mut TailState, unsynced: bool) -> io::Result<()> {
        let old = self.snapshot.load().tail.clone();
        if state.unclean {
            self.disk.truncate(&old.file, state.offset)?;
            state.unclean = false;
        }
        let (tail, offset) = self.new_tail(self.tip.lock().next)?;
        let summary = SegmentSummary::of(&old.index.read(), state.offset);
        let sealed = Arc::new(SealedSegment {
            id: old.id,
            name: SegmentName { first: old.first, packed: false },
            path: old.path.clone(),
            summary,
            index_bytes: AtomicU64::new(0),
            held: Mutex::new(Some(IndexHandle::Tail(old.clone()))),
            left_alone: AtomicBool::new(false),
            unreadable: false,
        });
        if unsynced {
            self.unsynced.lock().push(old);
        }
        *state = TailState { numbering: RuleInterner::default(), offset, unclean: false };
        self.change(|snapshot| {
            snapshot.sealed.push(sealed);
            snapshot.tail = Arc::new(tail);
        });
        Ok(())
    }

    fn new_tail(&self, first: Sequence) -> io::Result<(ActiveSegment, u64)> {
        create_tail(&*self.disk, &self.dir, self.epoch, first, self.new_id())
    }
}

/// Creates a segment file. Returns it with the offset of its first block.
pub(super) fn create_tail(
    disk: &dyn Disk,
    dir: &std::path::Path,
    epoch: crate::model::Epoch,
    first: Sequence,
    id: u64,
) -> io::Result<(ActiveSegment, u64)> {
    let path = SegmentName { first, packed: false }.path(dir);
    let file = files::create(&path)?;
    let header = segment_scan::segment_header(epoch, first);
    if let Err(error) = disk.write_at(&file, &header, 0) {
        // An empty file would look like a segment whose header is lost.
        files::remove(disk, &path)?;
        return Err(error);
    }
    let tail = ActiveSegment {
        id,
        first,
        path,
        file,
        index: RwLock::default(),
        dirty: AtomicBool::new(true),
        failed: AtomicBool::new(false),
        claimed: 0,
    };
    Ok((tail, header.len() as u64))
}
