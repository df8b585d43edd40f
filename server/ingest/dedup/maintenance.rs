use std::sync::Arc;
use std::time::Duration;

use super::DedupError;
use super::compaction::{self, FileStats};
use super::id_file::IdFile;
use super::index::{DedupIndex, IdFileSet};
use super::store::Store;
use super::trailer::IdCoverage;
use crate::journal::LogBounds;
use crate::model::{Sequence, UnixMillis};

/// Maintenance on a dedicated thread: flushes memtables, drops files past the deduplication window, compacts files.
pub struct DedupMaintenance {
    index: Arc<DedupIndex>,
}

/// Result of one maintenance step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DedupReport {
    /// Memtables written to files.
    pub sealed: u64,
    /// Files compacted into others.
    pub merged: u64,
    /// Files dropped.
    pub dropped: u64,
    /// Files dropped within the deduplication window to bound memory; only without a directory.
    pub dropped_early: u64,
    /// Number of files after the step.
    pub files: u64,
    /// When the oldest record covered by files was received: how far back posts are known.
    pub since: Option<UnixMillis>,
}

impl DedupMaintenance {
    pub(super) fn new(index: Arc<DedupIndex>) -> Self {
        let maintenance = Self { index };
        maintenance.measure();
        maintenance
    }

    /// Runs one step; called about once a second. `journal` are the current bounds of the journal. `appended_before`
    /// returns the sequence before which every record is at least this old, by machine time: no clock causes ids to be
    /// forgotten.
    ///
    /// After an error everything remains searchable, and the next step retries.
    pub fn step(
        &mut self,
        journal: LogBounds,
        appended_before: &dyn Fn(Duration) -> Sequence,
    ) -> Result<DedupReport, DedupError> {
        let old = appended_before(self.index.config.memtable_age_max);
        self.index.rotate_if_due(old.max(midpoint(journal)));
        let mut report = DedupReport { sealed: self.seal_frozen()?, ..DedupReport::default() };
        self.expire(appended_before(self.index.config.window), &mut report)?;
        report.merged = self.merge_once()?;
        report.files = self.index.levels().files.len() as u64;
        report.since = self.index.levels().files.iter().map(|file| file.trailer().coverage.received_min).min();
        self.measure();
        Ok(report)
    }

    /// Flushes all ids in memory, so that the next start has nothing to stage again: for a clean shutdown.
    pub fn flush(&mut self) -> Result<u64, DedupError> {
        self.index.rotate_if_due(Sequence::MAX);
        let sealed = self.seal_frozen()?;
        self.measure();
        Ok(sealed)
    }

    /// Forgets every record after `last`, which the journal has lost (a torn tail, a restored copy), and all ids that
    /// are in no file. Must be called before the first `classify`; `covered` may be lower afterwards.
    pub fn truncate_after(&mut self, last: Sequence) -> Result<(), DedupError> {
        let knows_more = |file: &&Arc<IdFile>| file.trailer().coverage.last > last;
        while let Some(file) = self.index.levels().files.iter().find(knows_more).cloned() {
            match self.forget_in(&file, last) {
                Err(error) if error.is_damage() => self.rebuild_or_leave(&file, error)?,
                done => done?,
            }
        }
        self.index.drop_memtables();
        self.measure();
        Ok(())
    }

    fn forget_in(&self, file: &Arc<IdFile>, last: Sequence) -> Result<(), DedupError> {
        let coverage = file.trailer().coverage;
        // A delta after `last` replaces the entry before it, so the file is incomplete from here on.
        let kept = IdCoverage { last, complete: coverage.first.saturating_sub(1), ..coverage };
        let entries = file.entries().filter(|entry| entry.as_ref().map_or(true, |entry| entry.sequence <= last));
        let rewritten = (coverage.first <= last).then(|| self.index.store.write(kept, entries)).transpose()?;
        self.replace(std::slice::from_ref(file), rewritten.map(Arc::new))
    }

    /// Repairs the file, or leaves it quarantined before the first `classify`: its records are staged again then.
    fn rebuild_or_leave(&self, file: &Arc<IdFile>, why: DedupError) -> Result<(), DedupError> {
        match self.index.rebuild(file, why) {
            Err(error) if error.is_damage() => {
                self.index.change(|levels| {
                    levels.without(std::slice::from_ref(file));
                    levels.lost.push(file.trailer().coverage.first);
                });
                Ok(())
            }
            done => done,
        }
    }

    fn seal_frozen(&mut self) -> Result<u64, DedupError> {
        let frozen = self.index.levels().frozen.clone();
        for hot in &frozen {
            let Some(coverage) = hot.coverage(self.index.epoch) else { continue };
            let file = Arc::new(self.index.store.write(coverage, hot.sorted().map(Ok))?);
            self.index.change(|levels| {
                levels.frozen.retain(|other| !Arc::ptr_eq(other, hot));
                levels.insert(file.clone());
            });
        }
        Ok(frozen.len() as u64)
    }

    fn expire(&mut self, forgotten: Sequence, report: &mut DedupReport) -> Result<(), DedupError> {
        let config = &self.index.config;
        let levels = self.index.levels();
        let in_memory = matches!(self.index.store, Store::Memory);
        let mut bytes: u64 = levels.files.iter().map(|file| file.bytes()).sum();
        for file in &levels.files {
            let expired = file.trailer().coverage.last < forgotten;
            let crowded = in_memory && bytes > config.memory_bytes_max;
            if expired || crowded {
                self.replace(std::slice::from_ref(file), None)?;
                bytes -= file.bytes();
                report.dropped += 1;
                report.dropped_early += u64::from(!expired);
            }
        }
        Ok(())
    }

    fn merge_once(&mut self) -> Result<u64, DedupError> {
        let levels = self.index.levels();
        let shapes: Vec<FileStats> = levels.files.iter().map(|file| shape(file)).collect();
        // A quarter: files retain ids past the deduplication window for less than that.
        let span_max = self.index.config.window / 4;
        let Some(range) = compaction::plan(&shapes, self.index.config.file_ids_max, span_max) else { return Ok(0) };
        let inputs = &levels.files[range];
        let Some(coverage) = compaction::coverage(inputs) else { return Ok(0) };
        let merged = match self.index.store.write(coverage, compaction::entries(inputs)) {
            // Compacted at a later step, when all of them are readable.
            Err(error) if error.is_damage() => return self.rebuild_broken(inputs, error).map(|()| 0),
            written => Arc::new(written?),
        };
        self.replace(inputs, Some(merged))?;
        Ok(inputs.len() as u64)
    }

    fn rebuild_broken(&self, files: &[Arc<IdFile>], why: DedupError) -> Result<(), DedupError> {
        for file in files {
            if file.entries().any(|entry| entry.is_err()) {
                return self.index.rebuild(file, why);
            }
        }
        Err(why)
    }

    /// Replaces files in the index, then removes them; `load` cleans up after a crash in between.
    fn replace(&self, gone: &[Arc<IdFile>], by: Option<Arc<IdFile>>) -> Result<(), DedupError> {
        self.index.change(|levels| {
            levels.without(gone);
            by.iter().for_each(|file| levels.insert(file.clone()));
        });
        gone.iter().try_for_each(|file| self.index.store.remove(file))
    }

    fn measure(&self) {
        let IdFileSet { files, .. } = &*self.index.levels();
        let metrics = &self.index.metrics;
        metrics.unsealed_ids.set(self.index.unsealed_ids() as i64);
        metrics.sealed_ids.set(files.iter().map(|file| file.trailer().ids as i64).sum());
        metrics.files.set(files.len() as i64);
        metrics.files_bytes.set(files.iter().map(|file| file.bytes() as i64).sum());
        metrics.filter_bytes.set(files.iter().map(|file| file.filter_bytes() as i64).sum());
    }
}

fn shape(file: &IdFile) -> FileStats {
    let IdCoverage { received_min, received_max, .. } = file.trailer().coverage;
    FileStats { ids: file.trailer().ids, received_min, received_max }
}

/// Returns the middle of a journal that is being trimmed; 0 while nothing was trimmed. Trimmed records cannot be staged
/// again, so ids must be in files before their records are trimmed.
fn midpoint(journal: LogBounds) -> Sequence {
    if journal.earliest <= 1 {
        return 0;
    }
    journal.earliest + journal.next.saturating_sub(journal.earliest) / 2
}
