//! Recovery from a failed sync.
//!
//! The operating system reports a failed write-back once, and may have dropped the pages. A second, successful sync
//! proves nothing. Every segment with a failed sync is therefore rewritten: intact blocks are copied to a new file,
//! which is synced and renamed over the old one. The other blocks are reported as damaged. Until this is done nothing
//! is appended ([`SharedLog::sync_failed`]): the journal is unavailable.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use zstd::bulk::Decompressor;

use super::files;
use super::index::SegmentIndex;
use super::index_file::SegmentSummary;
use super::segment_scan;
use super::shared::{ActiveSegment, IndexHandle, SealedSegment, SharedLog};
use crate::journal::Damage;
use crate::journal::block::{BlockHeader, DecodedBlock, seed};
use crate::journal::disk::try_read;
use crate::journal::rule_table::RuleInterner;
use crate::state_file::Replacement;

/// Rewrites all segments whose sync failed. After an error the rest is left for the next call.
pub(super) fn rescue(shared: &SharedLog) -> io::Result<()> {
    leave_tail(shared)?;
    let failed: Vec<Arc<ActiveSegment>> =
        shared.unsynced.lock().iter().filter(|it| it.sync_failed()).cloned().collect();
    for tail in failed {
        rewrite(shared, &tail)?;
        shared.unsynced.lock().retain(|it| it.id != tail.id);
    }
    files::sync_dir(&shared.dir)?;
    shared.sync_failed.store(false, Ordering::Release);
    Ok(())
}

/// Seals the active segment if its sync failed, so that it is rewritten like the others.
fn leave_tail(shared: &SharedLog) -> io::Result<()> {
    let mut state = shared.tail.lock();
    let tail = shared.snapshot.load().tail.clone();
    if !tail.sync_failed() {
        return Ok(());
    }
    if shared.tip.lock().next > tail.first {
        return shared.seal_unsynced(&mut state);
    }
    // The segment is empty: a new one replaces it.
    let target = Replacement::new(&tail.path)?;
    let header = segment_scan::segment_header(shared.epoch, tail.first);
    shared.disk.write_at(&target.file, &header, 0)?;
    let file = target.file.try_clone()?;
    target.publish(|file| shared.disk.sync(file))?;
    let (id, first, path) = (shared.new_id(), tail.first, tail.path.clone());
    let (index, dirty) = (RwLock::default(), AtomicBool::new(false));
    let new = ActiveSegment { id, first, path, file, index, dirty, failed: AtomicBool::new(false), claimed: 0 };
    state.offset = header.len() as u64;
    state.unclean = false;
    shared.change(|snapshot| snapshot.tail = Arc::new(new));
    Ok(())
}

/// Intact blocks of a segment, in a new file.
struct SegmentCopy {
    target: Replacement,
    index: SegmentIndex,
    offset: u64,
    lost: Vec<BlockHeader>,
}

fn rewrite(shared: &SharedLog, tail: &ActiveSegment) -> io::Result<()> {
    let held = |sealed: &&Arc<SealedSegment>| sealed.id == tail.id;
    let Some(old) = shared.snapshot.load().sealed.iter().find(held).cloned() else {
        // Trimmed or recompressed meanwhile: its records are in another file, or removed.
        return Ok(());
    };
    let copy = copy(shared, tail)?;
    // The index file of the old segment does not fit the new one.
    files::remove(&*shared.disk, &files::index_path(&old.path))?;
    copy.target.publish(|file| shared.disk.sync(file))?;
    let new = Arc::new(SealedSegment {
        id: shared.new_id(),
        name: old.name,
        path: old.path.clone(),
        summary: SegmentSummary::of(&copy.index, copy.offset),
        index_bytes: AtomicU64::new(0),
        held: Mutex::new(Some(IndexHandle::Loaded(Arc::new(copy.index)))),
        left_alone: AtomicBool::new(false),
        unreadable: false,
    });
    let blocks = new.summary.blocks;
    shared.change(|snapshot| {
        if let Some(place) = snapshot.sealed.iter_mut().find(|sealed| sealed.id == old.id) {
            *place = new;
        }
    });
    let lost = copy.lost.len();
    tracing::error!(segment = %old.path.display(), blocks, lost, "journal segment rewritten after a failed sync");
    for header in copy.lost {
        let (from, to) = (header.first_received, header.last_received);
        shared.damage.add(&shared.dir, Damage { first: header.first, last: header.end() - 1, from, to });
    }
    Ok(())
}

fn copy(shared: &SharedLog, tail: &ActiveSegment) -> io::Result<SegmentCopy> {
    let target = Replacement::new(&tail.path)?;
    let header = segment_scan::segment_header(shared.epoch, tail.first);
    shared.disk.write_at(&target.file, &header, 0)?;
    let mut copy =
        SegmentCopy { target, index: SegmentIndex::default(), offset: header.len() as u64, lost: Vec::new() };
    let (seed, mut decompressor, mut numbering) = (seed(shared.epoch), Decompressor::new()?, RuleInterner::default());
    let entries = tail.index.read().entries.clone();
    for entry in entries {
        let mut bytes = vec![0; usize::try_from(entry.header.block_bytes()).map_err(io::Error::other)?];
        let read = try_read(&*shared.disk, &tail.file, &mut bytes, entry.offset)?;
        let block = if read { DecodedBlock::decode(&bytes, seed, &mut decompressor).ok() } else { None };
        match block.filter(|block| block.header == entry.header) {
            Some(block) => {
                shared.disk.write_at(&copy.target.file, &bytes, copy.offset)?;
                copy.index.push(copy.offset, entry.header, &block.table.rules, &mut numbering);
                copy.offset += entry.header.block_bytes();
            }
            None => copy.lost.push(entry.header),
        }
    }
    Ok(copy)
}
