//! Trimming: removes the oldest segments by age, by size of the log, and for the headroom of the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::files;
use super::shared::{LogSnapshot, SealedSegment, SharedLog};
use super::unlinked_segment::UnlinkedSegment;
use crate::journal::headroom::{DiskState, Headroom, HeadroomDecision};
use crate::journal::retention::{RetentionLimits, TrimCandidate, TrimDecision, select_for_trim};
use crate::model::{Sequence, UnixMillis};

/// Steps (about one a second) between two warnings about records that are trimmed before their age.
const WARNING_STEPS: u32 = 60;

/// Trims a log step by step.
#[derive(Default)]
pub(super) struct Trimmer {
    headroom: Headroom,
    early: EarlyTrims,
}

/// Records trimmed by a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trimmed {
    pub(super) records: u64,
    /// Records of these that were younger than the retention.
    pub(super) early_records: u64,
    /// Segments were trimmed for the headroom of the disk.
    pub(super) for_headroom: bool,
}

/// Records trimmed before their age and not logged yet.
#[derive(Default)]
struct EarlyTrims {
    records: u64,
    received: Option<(UnixMillis, UnixMillis)>,
    for_headroom: bool,
    for_bytes: bool,
    /// Steps until the next warning.
    silent_steps: u32,
}

impl Trimmer {
    /// Trims as configured; records before `expired` are older than the retention. Segments whose removal fails are
    /// retried by the next step; the error is returned. `packing_bytes` is the size of a segment being rewritten.
    pub(super) fn step(
        &mut self,
        shared: &SharedLog,
        packing_bytes: u64,
        expired: Sequence,
    ) -> (Trimmed, io::Result<()>) {
        let removed = shared.remove_doomed();
        let snapshot = shared.snapshot.load_full();
        let candidate = |(at, it): (usize, &Arc<SealedSegment>)| TrimCandidate {
            bytes: bytes_of(it),
            expired: snapshot.end_of(at + 1) <= expired,
        };
        let candidates: Vec<TrimCandidate> = snapshot.sealed.iter().enumerate().map(candidate).collect();
        let retention = by_retention(shared, &candidates);
        let by_retention = retention.by_age + retention.by_bytes;
        let decision = self.for_headroom(shared, &candidates, by_retention, packing_bytes);
        let trim = by_retention + decision.trim;
        let trimmed = Trimmed {
            records: snapshot.end_of(trim) - snapshot.earliest(),
            early_records: snapshot.end_of(trim) - snapshot.end_of(retention.by_age),
            for_headroom: decision.trim > 0,
        };
        self.early.add(
            &snapshot.sealed[retention.by_age..trim],
            trimmed.early_records,
            retention.by_bytes,
            decision.trim,
        );
        self.early.warn(shared);
        if trim == 0 {
            return (trimmed, removed);
        }
        // Unlinked from the list first, removed then: a reader that finds no file also finds a newer list.
        shared.change(|snapshot| {
            let gone: Vec<_> = snapshot.sealed.drain(..trim).collect();
            let newest = gone.iter().filter_map(|it| it.summary.received).map(|(_, last)| last).max();
            snapshot.outermost.from = snapshot.outermost.from.max(newest.unwrap_or_default());
        });
        shared.damage.trimmed(shared.snapshot.load().earliest());
        let doomed = snapshot.sealed[..trim].iter().map(|it| UnlinkedSegment::new(it.path.clone(), bytes_of(it)));
        shared.doomed.lock().extend(doomed);
        (trimmed, removed.and(shared.remove_doomed()))
    }

    fn for_headroom(
        &mut self,
        shared: &SharedLog,
        candidates: &[TrimCandidate],
        taken: usize,
        packing_bytes: u64,
    ) -> HeadroomDecision {
        let freed: u64 = candidates[..taken].iter().map(|it| it.bytes).sum();
        let free = shared.disk.free_bytes(&shared.dir).ok();
        let sealed: Vec<u64> = candidates[taken..].iter().map(|it| it.bytes).collect();
        let now = DiskState {
            sealed: &sealed,
            free_bytes: free.map(|free| free.saturating_add(freed)),
            written_bytes: shared.appended_bytes.load(Ordering::Relaxed) + packing_bytes,
            next: shared.tip.lock().next,
            refused: shared.refused.swap(false, Ordering::Relaxed),
            removal_pending: !shared.doomed.lock().is_empty(),
        };
        let decision = self.headroom.decide(shared.config.disk_headroom_bytes_min, &now);
        if shared.full.swap(decision.full, Ordering::Relaxed) != decision.full {
            let (journal, headroom) = (shared.dir.display(), shared.config.disk_headroom_bytes_min);
            if decision.full {
                tracing::error!(
                    %journal, free_bytes = free, headroom_bytes = headroom, log_bytes = sealed.iter().sum::<u64>(),
                    "journal disk low on space, trimming cannot help, appends refused",
                );
            } else {
                tracing::warn!(%journal, free_bytes = free, headroom_bytes = headroom, "journal disk has space again");
            }
        }
        decision
    }
}

fn by_retention(shared: &SharedLog, candidates: &[TrimCandidate]) -> TrimDecision {
    let config = &shared.config;
    let bounds = RetentionLimits { bytes_max: config.retention_bytes_max };
    let tail_bytes = shared.tail.lock().offset;
    let retention = select_for_trim(candidates, tail_bytes, &bounds);
    // While trimmed segments cannot be removed, trimming more would not shrink the log.
    if shared.doomed.lock().is_empty() { retention } else { TrimDecision { by_bytes: 0, ..retention } }
}

impl SharedLog {
    /// Removes the files of trimmed segments. Failures are retried by the next call.
    pub(super) fn remove_doomed(&self) -> io::Result<()> {
        let mut result = Ok(());
        self.doomed.lock().retain(|doomed| {
            let index = files::index_path(&doomed.path);
            let removed = files::remove(&*self.disk, &doomed.path).and(files::remove(&*self.disk, &index));
            let failed = removed.is_err();
            if result.is_ok() {
                result = removed;
            }
            failed
        });
        result
    }

    /// Returns the bytes of trimmed segments that are still on the disk.
    pub(super) fn doomed_bytes(&self) -> u64 {
        self.doomed.lock().iter().map(|it| it.bytes).sum()
    }
}

impl EarlyTrims {
    fn add(&mut self, segments: &[Arc<SealedSegment>], records: u64, by_bytes: usize, for_headroom: usize) {
        self.records += records;
        self.for_bytes |= by_bytes > 0;
        self.for_headroom |= for_headroom > 0;
        for (first, last) in segments.iter().filter_map(|it| it.summary.received) {
            let (from, to) = self.received.unwrap_or((first, last));
            self.received = Some((from.min(first), to.max(last)));
        }
    }

    /// Logs a warning at once, then a summary every [`WARNING_STEPS`].
    fn warn(&mut self, shared: &SharedLog) {
        self.silent_steps = self.silent_steps.saturating_sub(1);
        if self.records == 0 || self.silent_steps > 0 {
            return;
        }
        let Self { records, received, for_headroom, for_bytes, .. } = std::mem::take(self);
        let (from, to) = received.unzip();
        let time = |time: Option<UnixMillis>| time.map(|time| time.to_string());
        tracing::warn!(
            journal = %shared.dir.display(), records, from = time(from), to = time(to), for_headroom, for_bytes,
            "journal records trimmed before retention_age_max",
        );
        self.silent_steps = WARNING_STEPS;
    }
}

impl LogSnapshot {
    /// Returns the first sequence of the log after this many segments are trimmed.
    fn end_of(&self, trim: usize) -> Sequence {
        self.sealed.get(trim).map_or(self.tail.first, |segment| segment.name.first)
    }
}

/// Returns the bytes of a segment and its index.
pub(super) fn bytes_of(segment: &SealedSegment) -> u64 {
    segment.summary.segment_bytes + segment.index_bytes.load(Ordering::Relaxed)
}
