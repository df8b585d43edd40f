//! Maintenance: syncs, trims, seals by age, writes index files, recompresses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::files;
use super::index_file;
use super::recompress::{self, Recompression, RecompressionProgress};
use super::rescue;
use super::shared::{SealedSegment, SharedLog};
use super::trim::{Trimmed, Trimmer, bytes_of};
use crate::clock::Moment;
use crate::journal::ages::RecordAges;
use crate::journal::disk::append_error;
use crate::journal::{AppendError, Durability, Maintenance, MaintenanceReport};
use crate::model::Sequence;

/// A segment is sealed when its first record reaches this part of the retention, so that a quiet log is trimmed with
/// this precision.
const AGE_PARTS: u32 = 24;

pub(super) struct EmbeddedMaintenance {
    shared: Arc<SharedLog>,
    packing: Option<Recompression>,
    trimmer: Trimmer,
    /// Records trimmed by steps that then failed; not reported yet.
    trimmed: Trimmed,
    ages: RecordAges,
}

impl EmbeddedMaintenance {
    pub(super) fn new(shared: Arc<SharedLog>) -> Self {
        let (next, longest) = (shared.tip.lock().next, shared.config.retention_age_max);
        let ages = RecordAges::open(&shared.dir, shared.epoch, next, longest);
        Self { shared, packing: None, trimmer: Trimmer::default(), trimmed: Trimmed::default(), ages }
    }

    /// Makes all records appended so far survive a power cut.
    fn sync(&self) -> io::Result<()> {
        let shared = &self.shared;
        let next = shared.tip.lock().next;
        let sealed = shared.unsynced.lock().clone();
        let tail = shared.snapshot.load().tail.clone();
        for tail in sealed.iter().chain([&tail]) {
            if tail.dirty.swap(false, Ordering::AcqRel)
                && let Err(error) = shared.disk.sync(&tail.file)
            {
                shared.note_failed_sync(tail, &error);
            }
        }
        if shared.sync_failed.load(Ordering::Acquire) {
            rescue::rescue(shared)?;
        }
        if !sealed.is_empty() {
            files::sync_dir(&shared.dir)?;
            shared.unsynced.lock().retain(|it| sealed.iter().all(|synced| synced.id != it.id));
        }
        shared.synced.fetch_max(next, Ordering::AcqRel);
        Ok(())
    }

    fn seal_by_age(&self) -> io::Result<()> {
        let old = self.ages.appended_before(self.shared.config.retention_age_max / AGE_PARTS);
        let due = || {
            let tail = &self.shared.snapshot.load().tail;
            tail.first < old && !tail.index.read().entries.is_empty()
        };
        if due() {
            let mut state = self.shared.tail.lock();
            if due() {
                self.shared.seal(&mut state)?;
            }
        }
        Ok(())
    }

    fn write_indexes(&self) -> io::Result<()> {
        let shared = &self.shared;
        let mut result = Ok(());
        for segment in &shared.snapshot.load_full().sealed {
            let Some(held) = segment.held.lock().clone() else { continue };
            // A segment that is about to be recompressed gets its index with its replacement.
            if segment.unreadable || recompress::is_worth_it(segment) {
                continue;
            }
            let segment_bytes = segment.summary.segment_bytes;
            let write = |index: &_| index_file::write(&*shared.disk, &segment.path, shared.epoch, index, segment_bytes);
            match held.with_index(write) {
                Ok(bytes) => {
                    segment.index_bytes.store(bytes, Ordering::Relaxed);
                    *segment.held.lock() = None;
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Recompresses for a while; returns true if a segment was finished.
    fn recompress_next(&mut self) -> io::Result<bool> {
        if self.shared.full.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let packing = match self.packing.take() {
            Some(packing) => packing,
            None => {
                let snapshot = self.shared.snapshot.load_full();
                let Some(source) = snapshot.sealed.iter().find(|it| recompress::is_worth_it(it)) else {
                    return Ok(false);
                };
                match Recompression::start(&self.shared, source.clone())? {
                    Some(packing) => packing,
                    None => return Ok(leave_alone(source)),
                }
            }
        };
        let source = packing.source().clone();
        match self.continue_recompression(packing)? {
            RecompressionProgress::Damaged => Ok(leave_alone(&source)),
            RecompressionProgress::Done { replaced } => Ok(replaced),
            RecompressionProgress::More => Ok(false),
        }
    }

    fn continue_recompression(&mut self, mut packing: Recompression) -> io::Result<RecompressionProgress> {
        match packing.step(&self.shared)? {
            RecompressionProgress::Done { .. } => packing.finish(&self.shared),
            RecompressionProgress::Damaged => Ok(RecompressionProgress::Damaged),
            RecompressionProgress::More => {
                self.packing = Some(packing);
                Ok(RecompressionProgress::More)
            }
        }
    }
}

/// Excludes a damaged segment from recompression, so that its damaged ranges stay the same. Returns false: not
/// replaced.
fn leave_alone(source: &SealedSegment) -> bool {
    source.left_alone.store(true, Ordering::Relaxed);
    tracing::warn!(segment = %source.path.display(), "segment is corrupt, skipping recompression");
    false
}

impl Maintenance for EmbeddedMaintenance {
    /// Executes every part even if others fail; returns the first error.
    fn step(&mut self, now: Moment) -> Result<MaintenanceReport, AppendError> {
        // Nothing is written into a directory that replaced the log's.
        self.shared.check_dir().map_err(AppendError::Io)?;
        self.ages.note(now, self.shared.tip.lock().next);
        let expired = self.ages.appended_before(self.shared.config.retention_age_max);
        let packing_bytes = self.packing.as_ref().map_or(0, Recompression::bytes);
        let (trimmed, mut result) = self.trimmer.step(&self.shared, packing_bytes, expired);
        if self.shared.config.durability == Durability::Os || self.shared.sync_failed.load(Ordering::Acquire) {
            result = result.and(self.sync());
        }
        result = result.and(self.seal_by_age());
        result = result.and(self.write_indexes());
        result = result.and(self.ages.save(&*self.shared.disk));
        let packed = self.recompress_next();
        let recompressed = u64::from(*packed.as_ref().unwrap_or(&false));
        self.trimmed.records += trimmed.records;
        self.trimmed.early_records += trimmed.early_records;
        self.trimmed.for_headroom |= trimmed.for_headroom;
        result.and(packed.map(drop)).map_err(append_error)?;
        // Trims of failed steps are reported by the next step that succeeds.
        let Trimmed { records, early_records, for_headroom } = std::mem::take(&mut self.trimmed);
        let snapshot = self.shared.snapshot.load();
        let sealed: u64 = snapshot.sealed.iter().map(|it| bytes_of(it)).sum();
        Ok(MaintenanceReport {
            trimmed_records: records,
            trimmed_early_records: early_records,
            trimmed_for_headroom: for_headroom,
            bytes: sealed + self.shared.tail.lock().offset + self.shared.doomed_bytes(),
            segments: snapshot.sealed.len() as u64 + 1,
            recompressed,
            damaged_records: self.shared.damage.records(),
        })
    }

    fn appended_before(&self, age: Duration) -> Sequence {
        self.ages.appended_before(age)
    }

    fn keep_ages(&mut self, longest: Duration) {
        self.ages.keep(longest);
    }
}
