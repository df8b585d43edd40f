use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of the hub of one account.
#[derive(Clone, Default)]
pub struct Metrics {
    /// Open sessions.
    pub sessions: Gauge<i64, AtomicI64>,
    /// Session wake-ups.
    pub wakes: Counter,
    /// Records that a session found when a timer ended its wait, although they were published before.
    pub found_by_timer: Counter,
    /// Reads of the journal.
    pub cold_reads: Counter,
    /// Reads of sessions behind the ring that the page cache answered.
    pub cold_reads_shared: Counter,
    by_consumer: Family<ConsumerLabel, Counter<u64, AtomicU64>>,
    filtered: Family<ConsumerLabel, Counter<u64, AtomicU64>>,
    notices: Family<ConsumerLabel, Counter<u64, AtomicU64>>,
    passed: Family<ConsumerLabel, Counter<u64, AtomicU64>>,
    names: Arc<Mutex<Vec<String>>>,
}

/// Label: consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConsumerLabel {
    consumer: String,
}

/// The counters of one session: `delivered + filtered + notices = passed` (the accounting law).
#[derive(Clone)]
pub struct SessionCounters {
    /// Events delivered.
    pub delivered: Counter<u64, AtomicU64>,
    /// Records that did not match.
    pub filtered: Counter<u64, AtomicU64>,
    /// Gaps and skips delivered.
    pub notices: Counter<u64, AtomicU64>,
    /// Records passed.
    pub passed: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Registers the metrics of the hub.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("sessions", "Subscribe streams open now", own.sessions.clone());
        registry.register("session_wakeups", "Sessions woken by a batch that may be for them", own.wakes.clone());
        let found = "Records that a session found by a timer: no wake-up came for them, which is a defect";
        registry.register("records_found_by_timer", found, own.found_by_timer.clone());
        registry.register("cold_reads", "Reads of the journal for sessions behind the ring", own.cold_reads.clone());
        let shared = "Reads for sessions behind the ring that were answered from memory";
        registry.register("page_cache_hits", shared, own.cold_reads_shared.clone());
        let mut family = |name: &str, help: &str, family: &Family<ConsumerLabel, Counter<u64, AtomicU64>>| {
            registry.register(name, help, family.clone());
        };
        family("events_delivered", "Events delivered", &own.by_consumer);
        family("records_filtered", "Records passed that the filter left out", &own.filtered);
        family("notices_delivered", "Gaps and skips delivered", &own.notices);
        family("records_scanned", "Records passed: delivered, filtered and notices", &own.passed);
        own
    }

    /// Returns the counters of a consumer. Beyond `labels_max` names, further ones count as `other`.
    pub fn session(&self, consumer: &str, labels_max: usize) -> SessionCounters {
        let label = ConsumerLabel { consumer: self.label(consumer, labels_max) };
        SessionCounters {
            delivered: self.by_consumer.get_or_create_owned(&label),
            filtered: self.filtered.get_or_create_owned(&label),
            notices: self.notices.get_or_create_owned(&label),
            passed: self.passed.get_or_create_owned(&label),
        }
    }

    fn label(&self, consumer: &str, labels_max: usize) -> String {
        let name = if consumer.is_empty() { "unnamed" } else { consumer };
        let mut names = self.names.lock();
        if !names.iter().any(|known| known == name) {
            if names.len() >= labels_max {
                return "other".into();
            }
            names.push(name.to_owned());
        }
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_past_bound_count_as_other() {
        let metrics = Metrics::register(&mut Registry::default());
        let labels = ["a", "b", "", "c", "a"].map(|name| metrics.label(name, 3));
        assert_eq!(labels, ["a", "b", "unnamed", "other", "a"]);
    }
}
