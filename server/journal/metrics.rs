use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::MaintenanceReport;
use crate::telemetry::metrics::Histogram;

/// Steps of maintenance.
const STEPS: [&str; 5] = ["journal", "ids", "gaps", "jobs", "side"];

/// Label: step of maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

/// Metrics of a log's files.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    bytes: Gauge<u64, AtomicU64>,
    segments: Gauge<u64, AtomicU64>,
    trimmed_records: Counter,
    recompressed_segments: Counter,
    trimmed_early_records: Counter,
    damaged_records: Gauge<u64, AtomicU64>,
    maintenance_failures: Family<StepLabel, Counter>,
    retention_limited: Gauge<u64, AtomicU64>,
    /// [`RetentionBound`] of the last trim.
    bound: Arc<AtomicU8>,
    /// Seconds for which records are to be retained.
    pub retention: Gauge<u64, AtomicU64>,
    /// Duration of fdatasync.
    pub sync_duration: Histogram,
    /// Bytes of a torn tail that were truncated at open.
    pub torn_bytes: Counter,
}

/// What bounds the retained window of a log, by its last trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionBound {
    /// The age (`journal.retention_age_max`), or nothing was trimmed yet.
    Age,
    /// The bytes of the log (`journal.retention_bytes_max`).
    Bytes,
    /// The free space of the disk (`journal.disk_headroom_bytes_min`).
    Disk,
}

impl Metrics {
    /// Registers the metrics of a log's files.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("journal_bytes", "Bytes of the log on disk", own.bytes.clone());
        registry.register("journal_segments", "Segments of the log", own.segments.clone());
        let damaged = own.damaged_records.clone();
        registry.register("journal_damaged_records", "Records of the log that are known to be damaged", damaged);
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("journal_trimmed_records", "Records removed by retention", &own.trimmed_records);
        counter("journal_recompressed_segments", "Segments recompressed", &own.recompressed_segments);
        let early = "Records removed before retention_age_max, by retention_bytes_max or disk_headroom_bytes_min";
        counter("journal_trimmed_early_records", early, &own.trimmed_early_records);
        counter("journal_truncated_bytes", "Bytes of a torn tail truncated at open", &own.torn_bytes);
        let help = "Whether the last trim removed records before retention_age_max (1) or not (0)";
        registry.register("journal_retention_limited", help, own.retention_limited.clone());
        let help = "Time for which records are to be retained (journal.retention_age_max)";
        registry.register("journal_retention_seconds", help, own.retention.clone());
        registry.register("journal_sync_seconds", "Duration of a sync of the log to disk", own.sync_duration.clone());
        for step in STEPS {
            drop(own.maintenance_failures.get_or_create(&StepLabel { step }));
        }
        let failures = own.maintenance_failures.clone();
        registry.register("maintenance_failures", "Failed steps of maintenance, each tried again, by step", failures);
        own
    }

    /// Counts a failed step of maintenance.
    pub fn note_failure(&self, step: &'static str) {
        self.maintenance_failures.get_or_create(&StepLabel { step }).inc();
    }

    /// Adds the results of a maintenance step.
    pub fn note(&self, report: &MaintenanceReport) {
        self.bytes.set(report.bytes);
        self.segments.set(report.segments);
        self.trimmed_records.inc_by(report.trimmed_records);
        self.trimmed_early_records.inc_by(report.trimmed_early_records);
        if report.trimmed_records > 0 {
            self.retention_limited.set(u64::from(report.trimmed_early_records > 0));
            let bound = match (report.trimmed_early_records, report.trimmed_for_headroom) {
                (0, _) => RetentionBound::Age,
                (_, false) => RetentionBound::Bytes,
                (_, true) => RetentionBound::Disk,
            };
            self.bound.store(bound as u8, Ordering::Relaxed);
        }
        self.damaged_records.set(report.damaged_records);
        self.recompressed_segments.inc_by(report.recompressed);
    }

    /// Returns the bytes of the log on disk, as of the last step of maintenance.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Returns what bounds the retained window.
    pub fn bound(&self) -> RetentionBound {
        let bounds = [RetentionBound::Age, RetentionBound::Bytes, RetentionBound::Disk];
        let stored = self.bound.load(Ordering::Relaxed);
        bounds.into_iter().find(|bound| *bound as u8 == stored).unwrap_or(RetentionBound::Age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_bounded_by_reason_of_last_trim() {
        let metrics = Metrics::default();
        let check = |trimmed_records, trimmed_early_records, trimmed_for_headroom, expected| {
            let report = MaintenanceReport {
                trimmed_records,
                trimmed_early_records,
                trimmed_for_headroom,
                ..MaintenanceReport::default()
            };
            metrics.note(&report);
            assert_eq!(metrics.bound(), expected, "{report:?}");
        };
        check(0, 0, false, RetentionBound::Age);
        check(9, 9, true, RetentionBound::Disk);
        check(0, 0, false, RetentionBound::Disk);
        check(9, 4, false, RetentionBound::Bytes);
        check(9, 0, false, RetentionBound::Age);
    }
}
