//! Opens the directory of a log: segments, the torn tail of the last one, damage.
//!
//! Damage of a segment or an index never prevents opening. The end of the last segment is treated as follows:
//! - incomplete bytes (a killed process, a power cut) are a torn tail and are truncated: a block is exposed only when
//!   it is completely written;
//! - a complete block with a damaged body may have been exposed: its records keep their sequences and are damage;
//! - a segment with bytes that the disk cannot read is not written to any more: a new segment starts after it;
//! - bytes that are malformed from the first one on are no interrupted append. The number of their records is unknown:
//!   they are truncated too, but reported as corrupt ([`LostTail::corrupt`]). The writer of checkpoints knows the
//!   sequence that had been reached.
//!   reached.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};

use super::files::{self, SegmentName};
use super::identity::LogIdentity;
use super::index::ReceivedBounds;
use super::index_file::{self, SegmentSummary};
use super::segment_scan::{self, SegmentScan};
use super::shared::{self, ActiveSegment, IndexHandle, LogSnapshot, SealedSegment, TailState, Tip};
use crate::journal::disk::{Disk, is_shortage};
use crate::journal::rule_table::RuleInterner;
use crate::journal::{Damage, LostTail};
use crate::model::{Epoch, Sequence, TermStart, UnixMillis};

/// State loaded from the directory.
pub(super) struct LoadedLog {
    pub(super) snapshot: LogSnapshot,
    pub(super) state: TailState,
    pub(super) tip: Tip,
    pub(super) lost_tail: LostTail,
}

/// Parameters of opening a log.
struct Opening<'a> {
    dir: &'a Path,
    known: &'a LogIdentity,
    disk: &'a dyn Disk,
    now: UnixMillis,
}

impl LoadedLog {
    pub(super) fn read(dir: &Path, known: &LogIdentity, disk: &dyn Disk, now: UnixMillis) -> io::Result<Self> {
        let names = files::segments(dir)?;
        files::remove_orphans(dir, &names)?;
        let (sealed, tail) = match names.split_last() {
            Some((last, sealed)) if !last.packed => (sealed, Some(*last)),
            _ => (&names[..], None),
        };
        let mut found = Vec::with_capacity(sealed.len());
        for (at, &name) in sealed.iter().enumerate() {
            found.push(Arc::new(read_sealed(disk, dir, name, known.epoch, at as u64)?));
        }
        let opening = Opening { dir, known, disk, now };
        match tail {
            Some(name) => opening.with_tail(found, name),
            None => opening.with_new_tail(found),
        }
    }

    /// Adapts the table of terms to the log: no term begins after the end, and every term of the last segment is
    /// listed.
    pub(super) fn check_terms(&self, known: &mut LogIdentity) {
        known.clamp(self.tip.next);
        for entry in &self.snapshot.tail.index.read().entries {
            let (term, first) = (entry.header.term, entry.header.first);
            if known.terms.iter().all(|start| start.term != term) {
                tracing::warn!(%term, first, "added missing term to journal identity");
                let at = known.terms.partition_point(|start| start.first <= first);
                known.terms.insert(at, TermStart { term, first });
            }
        }
    }

    /// Returns damage that is visible without reading a block: sequences without a segment.
    pub(super) fn missing_segments(&self) -> Vec<Damage> {
        let LogSnapshot { sealed, tail, outermost } = &self.snapshot;
        let mut missing = Vec::new();
        let mut add = |first: Sequence, end: Sequence, from: Option<UnixMillis>, to: Option<UnixMillis>| {
            if first < end {
                let (from, to) = (from.unwrap_or(outermost.from), to.unwrap_or(outermost.to));
                missing.push(Damage { first, last: end - 1, from, to });
            }
        };
        for (at, segment) in sealed.iter().enumerate() {
            let first = segment.summary.end.max(segment.name.first);
            let (before, after) = (self.snapshot.received_before(at + 1), self.snapshot.received_after(at));
            add(first, self.snapshot.end(at), before, after);
        }
        let index = tail.index.read();
        let first = index.entries.last().map_or(tail.first, |entry| entry.header.end());
        let before = index.last_received().or_else(|| self.snapshot.received_before(sealed.len()));
        add(first, tail.claimed, before, None);
        missing
    }
}

impl Opening<'_> {
    /// Continues with the last segment after truncating its torn tail.
    fn with_tail(&self, sealed: Vec<Arc<SealedSegment>>, name: SegmentName) -> io::Result<LoadedLog> {
        let path = name.path(self.dir);
        let scan = match segment_scan::scan(self.disk, &path, self.known.epoch, name.first) {
            Err(error) if is_shortage(&error) => return Err(error),
            Err(error) => {
                tracing::error!(segment = %path.display(), %error, "failed to read journal segment");
                segment_scan::unreadable(std::fs::metadata(&path).map_or(0, |it| it.len()))
            }
            scan => scan?,
        };
        if scan.unreadable_bytes > 0 {
            return self.behind_unreadable(sealed, name, scan);
        }
        if let Err(error) = files::remove(self.disk, &files::index_path(&path)) {
            tracing::warn!(segment = %path.display(), %error, "failed to remove stale index");
        }
        let file = files::open_or_create(&path)?;
        let torn_bytes = scan.torn_bytes();
        let corrupt = torn_bytes > 0 && !is_torn(self.disk, &file, &scan, self.known.epoch)?;
        if torn_bytes > 0 {
            self.disk.truncate(&file, scan.kept_end())?;
        }
        let mut offset = scan.kept_end();
        if scan.index.entries.is_empty() && !scan.header_sound && scan.claimed.is_none() {
            // The file does not even contain a complete header, so it is recreated.
            let header = segment_scan::segment_header(self.known.epoch, name.first);
            self.disk.write_at(&file, &header, 0)?;
            offset = header.len() as u64;
        }
        let (next, last_received) = (scan.next(name.first), scan.last_received());
        let index = RwLock::new(scan.index);
        let (dirty, failed) = (AtomicBool::new(true), AtomicBool::new(false));
        let id = sealed.len() as u64;
        let claimed = scan.claimed.map_or(0, |_| next);
        let tail = ActiveSegment { id, first: name.first, path, file, index, dirty, failed, claimed };
        let snapshot = self.snapshot(sealed, tail, last_received);
        let tip = Tip { next, newest_received: last_received.or_else(|| snapshot.newest()) };
        Ok(LoadedLog {
            snapshot,
            state: TailState { numbering: scan.numbering, offset, unclean: false },
            tip,
            lost_tail: LostTail { bytes: torn_bytes, corrupt },
        })
    }

    /// Leaves the last segment, which the disk cannot read completely, and continues in a new one.
    fn behind_unreadable(
        &self,
        mut sealed: Vec<Arc<SealedSegment>>,
        name: SegmentName,
        scan: SegmentScan,
    ) -> io::Result<LoadedLog> {
        let path = name.path(self.dir);
        let (next, lost_bytes, last_received) = (scan.next(name.first), scan.torn_bytes(), scan.last_received());
        // A file that cannot be opened has no known length.
        let corrupt = lost_bytes > 0 || scan.length == 0;
        tracing::error!(
            segment = %path.display(), bytes = scan.unreadable_bytes, next,
            "journal segment has unreadable bytes; continuing in a new segment",
        );
        if next == name.first {
            set_aside(&path)?;
        } else {
            sealed.push(Arc::new(of_scan(path, name, sealed.len() as u64, scan)));
        }
        let opened = self.with_tail_at(sealed, next, last_received)?;
        Ok(LoadedLog { lost_tail: LostTail { bytes: lost_bytes, corrupt }, ..opened })
    }

    /// Creates the active segment of a new log, or of one whose active segment never reached the disk.
    fn with_new_tail(&self, mut sealed: Vec<Arc<SealedSegment>>) -> io::Result<LoadedLog> {
        if let Some(last) = sealed.pop_if(|last| last.summary.end == 0) {
            // The new segment takes its sequence.
            set_aside(&last.path)?;
        }
        let held = sealed.last().map(|last| last.summary.end.max(last.name.first));
        let listed = self.known.terms.iter().map(|start| start.first).max();
        self.with_tail_at(sealed, held.or(listed).unwrap_or(1), None)
    }

    fn with_tail_at(
        &self,
        sealed: Vec<Arc<SealedSegment>>,
        next: Sequence,
        last_received: Option<UnixMillis>,
    ) -> io::Result<LoadedLog> {
        let id = sealed.len() as u64;
        let (tail, offset) = shared::create_tail(self.disk, self.dir, self.known.epoch, next, id)?;
        files::sync_dir(self.dir)?;
        let snapshot = self.snapshot(sealed, tail, last_received);
        let tip = Tip { next, newest_received: last_received.or_else(|| snapshot.newest()) };
        let state = TailState { numbering: RuleInterner::default(), offset, unclean: false };
        Ok(LoadedLog { snapshot, state, tip, lost_tail: LostTail::default() })
    }

    fn snapshot(
        &self,
        sealed: Vec<Arc<SealedSegment>>,
        tail: ActiveSegment,
        last_received: Option<UnixMillis>,
    ) -> LogSnapshot {
        let mut snapshot = LogSnapshot { sealed, tail: Arc::new(tail), outermost: ReceivedBounds::default() };
        let created = self.known.created;
        let newest = last_received.or_else(|| snapshot.newest()).unwrap_or(self.now);
        snapshot.outermost = ReceivedBounds { from: created.min(newest), to: newest };
        snapshot
    }
}

fn set_aside(path: &Path) -> io::Result<()> {
    let aside = files::aside(path);
    tracing::error!(segment = %path.display(), aside = %aside.display(), "unreadable journal segment set aside");
    std::fs::rename(path, aside)
}

/// Returns true if the bytes after the last known block are the beginning of a block, that is, an interrupted append.
fn is_torn(disk: &dyn Disk, file: &File, scan: &SegmentScan, epoch: Epoch) -> io::Result<bool> {
    if scan.kept_end() < segment_scan::SEGMENT_HEADER_BYTES as u64 {
        return Ok(true);
    }
    segment_scan::begins_block(disk, file, scan.kept_end(), scan.torn_bytes(), epoch)
}

/// Reads the head of a segment's index, or the segment if the index is lost.
fn read_sealed(disk: &dyn Disk, dir: &Path, name: SegmentName, epoch: Epoch, id: u64) -> io::Result<SealedSegment> {
    let path = name.path(dir);
    match index_file::read_summary(&path, epoch) {
        Ok(Some((summary, index_bytes))) => {
            return Ok(SealedSegment {
                id,
                name,
                path,
                summary,
                index_bytes: AtomicU64::new(index_bytes),
                held: Mutex::new(None),
                left_alone: AtomicBool::new(false),
                unreadable: false,
            });
        }
        Err(error) if is_shortage(&error) => return Err(error),
        Ok(None) | Err(_) => {}
    }
    tracing::info!(segment = %path.display(), "journal segment has no index, scanning it");
    let scan = match segment_scan::scan(disk, &path, epoch, name.first) {
        Err(error) if is_shortage(&error) => return Err(error),
        Err(error) => {
            tracing::error!(segment = %path.display(), %error, "failed to read journal segment");
            segment_scan::unreadable(0)
        }
        scan => scan?,
    };
    Ok(of_scan(path, name, id, scan))
}

fn of_scan(path: std::path::PathBuf, name: SegmentName, id: u64, scan: SegmentScan) -> SealedSegment {
    let unreadable = scan.unreadable_bytes > 0;
    SealedSegment {
        id,
        name,
        path,
        summary: SegmentSummary::of(&scan.index, scan.length),
        index_bytes: AtomicU64::new(0),
        held: Mutex::new(Some(IndexHandle::Loaded(Arc::new(scan.index)))),
        left_alone: AtomicBool::new(unreadable),
        unreadable,
    }
}
