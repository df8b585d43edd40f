//! Housekeeping: syncs, trims, seals by age, writes index files, recompresses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::files;
use super::index_file;
use super::pack::{self, Packing, Progress};
use super::shared::{Sealed, Shared};
use crate::clock::Moment;
use crate::journal::ages::Ages;
use crate::journal::disk::refused;
use crate::journal::retention::{Bounds, Candidate, judge};
use crate::journal::{AppendError, Durability, Report, Upkeep};
use crate::model::Sequence;

/// A segment is sealed when its first record has reached this part of the retention, so that a quiet log is trimmed that
/// closely.
const AGE_PARTS: u32 = 24;

pub(super) struct EmbeddedUpkeep {
    shared: Arc<Shared>,
    packing: Option<Packing>,
    ages: Ages,
}

impl EmbeddedUpkeep {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (next, longest) = (shared.tip.lock().next, shared.config.retention_age_max);
        let ages = Ages::open(&shared.dir, shared.epoch, next, longest);
        Self { shared, packing: None, ages }
    }

    /// Makes all that was appended until now survive a power cut.
    fn sync(&self) -> io::Result<()> {
        let shared = &self.shared;
        let sealed = shared.unsynced.lock().clone();
        let tail = shared.snapshot.load().tail.clone();
        for tail in sealed.iter().chain([&tail]) {
            if tail.dirty.swap(false, Ordering::AcqRel)
                && let Err(error) = shared.disk.sync(&tail.file)
            {
                tail.dirty.store(true, Ordering::Release);
                return Err(error);
            }
        }
        if sealed.is_empty() {
            return Ok(());
        }
        files::sync_dir(&shared.dir)?;
        shared.unsynced.lock().drain(..sealed.len());
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

    fn trim(&self) -> io::Result<u64> {
        let shared = &self.shared;
        let snapshot = shared.snapshot.load_full();
        let expired = self.ages.appended_before(shared.config.retention_age_max);
        let candidate = |(number, it): (usize, &Arc<Sealed>)| Candidate {
            bytes: bytes_of(it),
            expired: snapshot.end(number) <= expired,
        };
        let candidates: Vec<Candidate> = snapshot.sealed.iter().enumerate().map(candidate).collect();
        let bounds = Bounds {
            bytes_max: shared.config.retention_bytes_max,
            headroom_bytes_min: shared.config.disk_headroom_bytes_min,
        };
        let free = shared.disk.free_bytes(&shared.dir).ok();
        let tail_bytes = shared.tail.lock().offset;
        let verdict = judge(&candidates, tail_bytes, free, &bounds);
        if shared.full.swap(verdict.full, Ordering::Relaxed) != verdict.full {
            tracing::warn!(full = verdict.full, free_bytes = free, "the disk of the journal is full, or is no more");
        }
        if verdict.trim == 0 {
            return Ok(0);
        }
        let earliest = snapshot.earliest();
        // Told first, removed then: no reader finds a file gone that its list has without a newer list to look at.
        shared.change(|snapshot| drop(snapshot.sealed.drain(..verdict.trim)));
        for segment in &snapshot.sealed[..verdict.trim] {
            files::remove(&segment.path)?;
            files::remove(&files::index_path(&segment.path))?;
        }
        Ok(shared.snapshot.load().earliest() - earliest)
    }

    fn write_indexes(&self) -> io::Result<()> {
        let shared = &self.shared;
        for segment in &shared.snapshot.load_full().sealed {
            let Some(held) = segment.held.lock().clone() else { continue };
            // What is about to be recompressed gets its index then.
            if pack::is_worth_it(segment) {
                continue;
            }
            let segment_bytes = segment.summary.segment_bytes;
            let write = |index: &_| index_file::write(&*shared.disk, &segment.path, shared.epoch, index, segment_bytes);
            segment.index_bytes.store(held.look(write)?, Ordering::Relaxed);
            *segment.held.lock() = None;
        }
        Ok(())
    }

    /// Recompresses for a while; true if a segment was finished.
    fn pack(&mut self) -> io::Result<bool> {
        if self.shared.full.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let packing = match self.packing.take() {
            Some(packing) => packing,
            None => {
                let snapshot = self.shared.snapshot.load_full();
                let Some(source) = snapshot.sealed.iter().find(|it| pack::is_worth_it(it)) else { return Ok(false) };
                Packing::start(&self.shared, source.clone())?
            }
        };
        let source = packing.source().clone();
        let packed = self.pack_on(packing);
        let damaged = match &packed {
            Ok(progress) => matches!(progress, Progress::Damaged),
            Err(error) => error.kind() != io::ErrorKind::StorageFull,
        };
        if damaged {
            source.left_alone.store(true, Ordering::Relaxed);
            tracing::warn!(segment = %source.path.display(), "a segment cannot be read whole; it is left as it is");
        }
        Ok(matches!(packed?, Progress::Done { replaced: true }))
    }

    fn pack_on(&mut self, mut packing: Packing) -> io::Result<Progress> {
        match packing.step(&self.shared)? {
            Progress::Done { .. } => packing.finish(&self.shared),
            Progress::Damaged => Ok(Progress::Damaged),
            Progress::More => {
                self.packing = Some(packing);
                Ok(Progress::More)
            }
        }
    }
}

impl Upkeep for EmbeddedUpkeep {
    fn step(&mut self, now: Moment) -> Result<Report, AppendError> {
        self.ages.note(now, self.shared.tip.lock().next);
        let trimmed_records = self.trim().map_err(refused)?;
        if self.shared.config.durability == Durability::Os {
            self.sync().map_err(refused)?;
        }
        self.seal_by_age().map_err(refused)?;
        self.write_indexes().map_err(refused)?;
        let recompressed = u64::from(self.pack().map_err(refused)?);
        self.ages.save(&*self.shared.disk).map_err(refused)?;
        let snapshot = self.shared.snapshot.load();
        let sealed: u64 = snapshot.sealed.iter().map(|it| bytes_of(it)).sum();
        let bytes = sealed + self.shared.tail.lock().offset;
        Ok(Report { trimmed_records, bytes, segments: snapshot.sealed.len() as u64 + 1, recompressed })
    }

    fn appended_before(&self, age: Duration) -> Sequence {
        self.ages.appended_before(age)
    }

    fn keep_ages(&mut self, longest: Duration) {
        self.ages.keep(longest);
    }
}

fn bytes_of(segment: &Sealed) -> u64 {
    segment.summary.segment_bytes + segment.index_bytes.load(Ordering::Relaxed)
}
