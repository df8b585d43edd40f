use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::ingest::replication::{LeadershipEnd, PlaceCell};
use crate::telemetry::metrics::{ComputedGauge, Part};

/// Metrics of a replica.
#[derive(Clone, Default)]
pub(super) struct ReplicaMetrics {
    pub(super) leader: Gauge,
    ended: Family<LeadershipEndLabel, Counter>,
    passed_over: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeadershipEndLabel {
    end: &'static str,
}

/// Name of an end by order: the process stops.
const ORDERED: &str = "ordered";

impl ReplicaMetrics {
    pub(super) fn register(part: &mut Part, cell: &PlaceCell) -> Self {
        let own = Self::default();
        part.register("leader", "Whether this replica leads (1) or follows (0)", own.leader.clone());
        part.register("leaderships", "Total leaderships of this replica that ended, by end", own.ended.clone());
        let help = "Messages of the shared log that did not count since the start of this replica";
        part.register("shared_messages_passed_over", help, own.passed_over.clone());
        let cell = cell.clone();
        let help = "Messages of the shared log that were announced and that this replica does not have yet";
        part.register("follow_lag_messages", help, ComputedGauge::new(move || cell.lag() as f64));
        own
    }

    pub(super) fn note_end(&self, reason: Option<&LeadershipEnd>) {
        let end = match reason {
            None => ORDERED,
            Some(LeadershipEnd::Fenced { .. }) => "fenced",
            Some(LeadershipEnd::LeaseEnded { in_doubt: true }) => "in_doubt",
            Some(LeadershipEnd::LeaseEnded { in_doubt: false }) => "lease_ended",
            Some(LeadershipEnd::Misplaced { .. }) => "misplaced",
            Some(LeadershipEnd::Rejected(_)) => "rejected",
            Some(LeadershipEnd::JournalUnavailable(_)) => "journal_unavailable",
        };
        self.ended.get_or_create(&LeadershipEndLabel { end }).inc();
    }

    pub(super) fn note_passed_over(&self, messages: u64) {
        self.passed_over.set(i64::try_from(messages).unwrap_or(i64::MAX));
    }
}
