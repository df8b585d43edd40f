use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of deduplication.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Ids in memory: active and frozen memtables.
    pub unsealed_ids: Gauge,
    /// Ids in files.
    pub sealed_ids: Gauge,
    /// Id files.
    pub files: Gauge,
    /// Bytes of id files.
    pub files_bytes: Gauge,
    /// Bytes of the filters in memory.
    pub filter_bytes: Gauge,
    /// Lookups that read a block of a file.
    pub file_reads: Counter,
    /// Lookups that read a block without a match: false positives of the filter.
    pub false_positives: Counter,
    /// Damaged files that were rebuilt from the journal.
    pub rebuilt_files: Counter,
    /// Ids of damaged files without a record in the journal.
    pub lost_ids: Counter,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let gauges = [
            ("dedup_memtable_ids", "Post ids in memory, not flushed to a file yet", &metrics.unsealed_ids),
            ("dedup_file_ids", "Post ids in id files", &metrics.sealed_ids),
            ("dedup_files", "Number of id files", &metrics.files),
            ("dedup_files_bytes", "Bytes of id files", &metrics.files_bytes),
            ("dedup_filter_bytes", "Bytes of memory of id file filters", &metrics.filter_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register("dedup_file_reads", "Total lookups that read an id file", metrics.file_reads.clone());
        registry.register(
            "dedup_false_positives",
            "Total lookups that read an id file without a match",
            metrics.false_positives.clone(),
        );
        registry.register(
            "dedup_rebuilt_files",
            "Total damaged id files rebuilt from the journal",
            metrics.rebuilt_files.clone(),
        );
        registry.register("dedup_lost_ids", "Total post ids lost with damaged id files", metrics.lost_ids.clone());
        metrics
    }
}
