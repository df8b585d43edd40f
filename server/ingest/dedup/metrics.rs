use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted of the ids.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Ids in the table in memory and in generations that wait for their file.
    pub unsealed_ids: Gauge,
    /// Ids in sealed files.
    pub sealed_ids: Gauge,
    /// Sealed files.
    pub files: Gauge,
    /// Bytes of sealed files.
    pub files_bytes: Gauge,
    /// Bytes of the filters in memory.
    pub filter_bytes: Gauge,
    /// Look-ups that had to read a block of a file.
    pub file_reads: Counter,
    /// Those of them that found nothing: the filter was wrong.
    pub false_positives: Counter,
    /// Damaged files that were written again from the journal.
    pub rebuilt_files: Counter,
    /// Ids of damaged files that the journal had no record of any more.
    pub lost_ids: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let gauges = [
            ("dedup_memtable_ids", "Post ids in memory that are in no file yet", &metrics.unsealed_ids),
            ("dedup_file_ids", "Post ids in sealed files", &metrics.sealed_ids),
            ("dedup_files", "Sealed id files", &metrics.files),
            ("dedup_files_bytes", "Bytes of sealed id files", &metrics.files_bytes),
            ("dedup_filter_bytes", "Bytes of memory for the filters of id files", &metrics.filter_bytes),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register("dedup_file_reads", "Look-ups that read an id file", metrics.file_reads.clone());
        registry.register("dedup_false_positives", "Look-ups that read in vain", metrics.false_positives.clone());
        registry.register("dedup_rebuilt_files", "Damaged id files written again", metrics.rebuilt_files.clone());
        registry.register("dedup_lost_ids", "Post ids lost with damaged id files", metrics.lost_ids.clone());
        metrics
    }
}
