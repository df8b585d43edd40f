use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::replica_link::LeaderName;
use crate::ingest::replication::{FollowCounters, LeadershipEnd, PlaceCell};
use crate::lease::LeaseHandle;
use crate::telemetry::metrics::{ComputedGauge, Part};

/// Metrics of a replica.
#[derive(Clone, Default)]
pub(super) struct ReplicaMetrics {
    pub(super) leader: Gauge,
    ended: Family<LeadershipEndLabel, Counter>,
    pub(super) found: FollowCounters,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeadershipEndLabel {
    end: &'static str,
}

/// Name of an end by order: the process stops.
const ORDERED: &str = "ordered";
/// Names of the ends of leaderships.
const ENDS: [&str; 9] = [
    ORDERED,
    "fenced",
    "rolled_back",
    "no_log",
    "in_doubt",
    "lease_ended",
    "misplaced",
    "rejected",
    "journal_unavailable",
];

impl ReplicaMetrics {
    pub(super) fn register(part: &mut Part, cell: &PlaceCell, leader: &LeaderName, lease: LeaseHandle) -> Self {
        let own = Self::default();
        for end in ENDS {
            drop(own.ended.get_or_create(&LeadershipEndLabel { end }));
        }
        part.register("leader", "Whether this replica leads (1) or follows (0)", own.leader.clone());
        let leader = leader.clone();
        let help = "Whether this replica receives announcements of a leader (1) or not (0)";
        part.register("leader_known", help, ComputedGauge::new(move || f64::from(u8::from(leader.is_known()))));
        part.register("leaderships", "Total leaderships of this replica that ended, by end", own.ended.clone());
        let help = "Total messages of the shared log that did not count";
        part.register("shared_messages_passed_over", help, own.found.passed_over.clone());
        let help = "Times that the shared log had lost messages that this replica has read";
        part.register("shared_log_rollbacks", help, own.found.rollbacks.clone());
        let help = "Total records that this replica appended again to a shared log that had lost them";
        part.register("shared_log_restored_records", help, own.found.restored.clone());
        let help = "Duration of an append to the shared log, up to its acknowledgement by a quorum";
        part.register("shared_append_seconds", help, own.found.append_duration.clone());
        let help = "Total repeated attempts of appends to the shared log whose outcome was not known";
        part.register("shared_append_retries", help, own.found.append_retries.clone());
        let help = "Seconds for which this replica may lead without a renewal of its lease; 0 if it does not hold it";
        part.register("lease_seconds_left", help, ComputedGauge::new(move || lease_left(&lease)));
        let cell = cell.clone();
        let help = "Messages of the shared log that were announced and that this replica does not have yet";
        part.register("follow_lag_messages", help, ComputedGauge::new(move || cell.lag() as f64));
        own
    }

    pub(super) fn note_end(&self, reason: Option<&LeadershipEnd>) {
        let end = match reason {
            None => ORDERED,
            Some(LeadershipEnd::Fenced { .. }) => "fenced",
            Some(LeadershipEnd::RolledBack { .. } | LeadershipEnd::Rewritten { .. }) => "rolled_back",
            Some(LeadershipEnd::NoLog) => "no_log",
            Some(LeadershipEnd::LeaseEnded { in_doubt: true } | LeadershipEnd::Trimmed { .. }) => "in_doubt",
            Some(LeadershipEnd::LeaseEnded { in_doubt: false }) => "lease_ended",
            Some(LeadershipEnd::Misplaced { .. }) => "misplaced",
            Some(LeadershipEnd::Rejected(_)) => "rejected",
            Some(LeadershipEnd::JournalUnavailable(_)) => "journal_unavailable",
        };
        self.ended.get_or_create(&LeadershipEndLabel { end }).inc();
    }
}

fn lease_left(lease: &LeaseHandle) -> f64 {
    lease.held().map_or(0.0, |tenure| tenure.until.since(lease.now()).as_secs_f64())
}
