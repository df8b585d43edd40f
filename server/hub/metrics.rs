use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::progress::SessionTable;
use super::session::EndReason;
use super::start::StartOutcome;
use crate::telemetry::metrics::{ComputedGauge, Histogram, LABEL_VALUES_MAX, PrincipalLabel};

/// Metrics of the hub of one account.
#[derive(Clone, Default)]
pub struct Metrics {
    /// Open sessions and their progress.
    pub(super) sessions: Arc<SessionTable>,
    started: Family<StartLabel, Counter>,
    ended: Family<EndLabel, Counter>,
    sent_bytes: Family<PrincipalLabel, Counter>,
    /// Time from the receipt of a post until the socket of a live session accepts it.
    pub delivery: Histogram,
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
    principals: Arc<Mutex<Vec<String>>>,
}

/// Label: outcome of a start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StartLabel {
    outcome: &'static str,
}

/// Label: reason of an end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    reason: &'static str,
}

/// Reason of sessions that the client or its connection ended.
const CANCELLED: &str = "cancelled";

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
        let open = own.sessions.clone();
        registry.register("sessions", "Subscribe streams open now", ComputedGauge::new(move || open.len() as f64));
        for outcome in StartOutcome::ALL {
            drop(own.started.get_or_create(&StartLabel { outcome: outcome.name() }));
        }
        for reason in EndReason::ALL.map(EndReason::name).into_iter().chain([CANCELLED]) {
            drop(own.ended.get_or_create(&EndLabel { reason }));
        }
        registry.register("sessions_started", "Total sessions begun, by outcome of the start", own.started.clone());
        registry.register("sessions_ended", "Total sessions ended, by reason", own.ended.clone());
        let help = "Total bytes of all messages of sessions, by principal, as sent before TLS and HTTP/2";
        registry.register_with_unit("sent", help, Unit::Bytes, own.sent_bytes.clone());
        let help = "Time from the receipt of the oldest post of a batch until the socket accepts the batch, for sessions at the tip";
        registry.register("delivery_seconds", help, own.delivery.clone());
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

    /// Returns the label of a consumer. Beyond `labels_max` names, further ones are `other`.
    pub(super) fn label(&self, consumer: &str, labels_max: usize) -> String {
        bounded(&self.names, if consumer.is_empty() { "unnamed" } else { consumer }, labels_max)
    }

    /// Returns the counter of bytes sent to a principal.
    pub fn sent_bytes(&self, principal: &str) -> Counter {
        let principal = bounded(&self.principals, principal, LABEL_VALUES_MAX);
        self.sent_bytes.get_or_create_owned(&PrincipalLabel { principal })
    }

    /// Counts the start of a session.
    pub(super) fn note_start(&self, outcome: StartOutcome) {
        self.started.get_or_create(&StartLabel { outcome: outcome.name() }).inc();
    }

    /// Counts the end of a session; `None`: the client or its connection ended it.
    pub(super) fn note_end(&self, reason: Option<EndReason>) {
        let reason = reason.map_or(CANCELLED, EndReason::name);
        self.ended.get_or_create(&EndLabel { reason }).inc();
    }
}

/// Returns the value of a label: the first `values_max` names, then `other`.
fn bounded(known: &Mutex<Vec<String>>, name: &str, values_max: usize) -> String {
    let mut known = known.lock();
    if !known.iter().any(|own| own == name) {
        if known.len() >= values_max {
            return "other".into();
        }
        known.push(name.to_owned());
    }
    name.to_owned()
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

    /// Clients choose names: however many they use, the series of a scrape are bounded.
    #[test]
    fn series_of_10000_consumers_and_principals_are_bounded() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for n in 0..10_000 {
            metrics.session(&format!("consumer {n}"), 200).passed.inc();
            metrics.sent_bytes(&format!("principal-{n}")).inc_by(1);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes any text");
        for name in
            ["records_scanned_total{consumer=", "events_delivered_total{consumer=", "sent_bytes_total{principal="]
        {
            assert_eq!(text.matches(name).count(), 201, "{name}");
        }
        assert!(text.contains("sent_bytes_total{principal=\"other\"} 9800\n"));
    }
}
