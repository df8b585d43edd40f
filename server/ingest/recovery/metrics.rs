use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::JobState;

/// Metrics of recovery. Clones share the counters. Its connections use the metrics of `upstream`, with a prefix.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    jobs: Family<JobStateLabel, Gauge>,
    ended: Family<JobOutcomeLabel, Counter>,
    refused: Gauge,
    /// Requests refused by X with 400 or 403.
    pub refusals: Counter,
    /// Posts received.
    pub posts_received: Counter,
    /// Posts among them that were new.
    pub posts_new: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobStateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobOutcomeLabel {
    outcome: &'static str,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("recovery_jobs", "Active recovery jobs, by state", own.jobs.clone());
        registry.register("recovery_jobs_finished", "Total finished recovery jobs, by outcome", own.ended.clone());
        let help = "Recovery jobs waiting because X refuses their requests (RECOVERY_NOT_ENTITLED)";
        registry.register("recovery_jobs_refused", help, own.refused.clone());
        registry.register("recovery_refusals", "Total recovery requests refused by X", own.refusals.clone());
        registry.register(
            "recovery_posts_received",
            "Total posts received by recovery jobs",
            own.posts_received.clone(),
        );
        registry.register("recovery_posts_new", "Total new posts delivered by recovery jobs", own.posts_new.clone());
        for state in [JobState::Waiting, JobState::Running] {
            own.set_active(state, 0);
        }
        for state in [JobState::Succeeded, JobState::Failed, JobState::Cancelled] {
            own.ended.get_or_create(&JobOutcomeLabel { outcome: state.name() }).inc_by(0);
        }
        own
    }

    /// Sets the number of jobs in this state.
    pub(super) fn set_active(&self, state: JobState, jobs: usize) {
        self.jobs.get_or_create(&JobStateLabel { state: state.name() }).set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// Sets the number of jobs that wait because X refuses them.
    pub(super) fn refused(&self, jobs: usize) {
        self.refused.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// Counts a finished job.
    pub(super) fn ended(&self, state: JobState) {
        self.ended.get_or_create(&JobOutcomeLabel { outcome: state.name() }).inc();
    }
}
