use std::sync::Arc;
use std::time::Duration;

use super::DedupError;
use super::compaction::{self, FileStats};
use super::id_file::IdFile;
use super::index::{DedupIndex, IdFileSet};
use super::store::Store;
use super::trailer::Coverage;
use crate::journal::LogBounds;
use crate::model::{Sequence, UnixMillis};

/// Housekeeping, on a thread of its own: seals, drops what is past the deduplication window, merges.
pub struct DedupMaintenance {
    index: Arc<DedupIndex>,
}

/// What maintenance did in one step, and what there is after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DedupReport {
    /// Generations written to files.
    pub sealed: u64,
    /// Files merged into others.
    pub merged: u64,
    /// Files dropped.
    pub dropped: u64,
    /// Files dropped before the deduplication window, for want of memory; only without a directory.
    pub dropped_early: u64,
    /// Files, after it.
    pub files: u64,
    /// When the oldest record that the files cover was received: how far back posts are known.
    pub since: Option<UnixMillis>,
}

impl DedupMaintenance {
    pub(super) fn new(index: Arc<DedupIndex>) -> Self {
        let maintenance = Self { index };
        maintenance.measure();
        maintenance
    }

    /// Does what is due. Called about once a second; `journal` = what the journal holds now, `appended_before` = the
    /// sequence before which all of its records are at least so old, by machine time: no clock makes ids forgotten.
    ///
    /// After an error everything is as searchable as before, and the next step tries again.
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

    /// Writes everything in memory to a file, so that the next start has nothing to note again: for a clean stop.
    pub fn flush(&mut self) -> Result<u64, DedupError> {
        self.index.rotate_if_due(Sequence::MAX);
        let sealed = self.seal_frozen()?;
        self.measure();
        Ok(sealed)
    }

    /// Forgets every record after `last`, which the journal has lost (a torn tail, a journal restored from a copy), and
    /// all that is in no file. Only before anything is judged; `covered` may be lower after it.
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
        // A delta after `last` hides what was known before it, so nothing of the file is complete any more.
        let kept = Coverage { last, complete: coverage.first.saturating_sub(1), ..coverage };
        let entries = file.entries().filter(|entry| entry.as_ref().map_or(true, |entry| entry.sequence <= last));
        let rewritten = (coverage.first <= last).then(|| self.index.store.write(kept, entries)).transpose()?;
        self.replace(std::slice::from_ref(file), rewritten.map(Arc::new))
    }

    /// Where nothing was judged yet, a file that was set aside is lost: its records are noted again.
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
        // A quarter: what is kept in files for longer than the deduplication window stays below that.
        let span_max = self.index.config.window / 4;
        let Some(range) = compaction::plan(&shapes, self.index.config.file_ids_max, span_max) else { return Ok(0) };
        let inputs = &levels.files[range];
        let Some(coverage) = compaction::coverage(inputs) else { return Ok(0) };
        let merged = match self.index.store.write(coverage, compaction::entries(inputs)) {
            // Merged at a later step, when all of them can be read.
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

    /// Takes files out of the index, and then away; a crash in between is cleared up at open.
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
    let Coverage { received_min, received_max, .. } = file.trailer().coverage;
    FileStats { ids: file.trailer().ids, received_min, received_max }
}

/// Where the older half of a journal that is being trimmed ends. What is trimmed cannot be noted again, so ids are in
/// files before their records come near the end; 0 while nothing was trimmed.
fn midpoint(journal: LogBounds) -> Sequence {
    if journal.earliest <= 1 {
        return 0;
    }
    journal.earliest + journal.next.saturating_sub(journal.earliest) / 2
}
