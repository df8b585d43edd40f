use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::JobState;

/// What recovery does. Cloning shares the numbers. Its connects have the metrics of `upstream`, with a prefix.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    jobs: Family<JobStateLabel, Gauge>,
    ended: Family<JobOutcomeLabel, Counter>,
    refused: Gauge,
    /// Requests that X refused: 400, 403.
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
    /// Registers what recovery does.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("recovery_jobs", "Recovery jobs that have not ended, by state", own.jobs.clone());
        registry.register("recovery_jobs_finished", "Recovery jobs that have ended, by outcome", own.ended.clone());
        let help = "Recovery jobs that wait because X refuses their requests (RECOVERY_NOT_ENTITLED)";
        registry.register("recovery_jobs_refused", help, own.refused.clone());
        registry.register("recovery_refusals", "Recovery requests that X refused", own.refusals.clone());
        registry.register("recovery_posts_received", "Posts that jobs received", own.posts_received.clone());
        registry.register("recovery_posts_new", "Posts that only a job brought", own.posts_new.clone());
        for state in [JobState::Waiting, JobState::Running] {
            own.set_active(state, 0);
        }
        for state in [JobState::Succeeded, JobState::Failed, JobState::Cancelled] {
            own.ended.get_or_create(&JobOutcomeLabel { outcome: state.name() }).inc_by(0);
        }
        own
    }

    /// So many jobs are in this state.
    pub(super) fn set_active(&self, state: JobState, jobs: usize) {
        self.jobs.get_or_create(&JobStateLabel { state: state.name() }).set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// So many jobs wait because X refuses them.
    pub(super) fn refused(&self, jobs: usize) {
        self.refused.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// A job has ended so.
    pub(super) fn ended(&self, state: JobState) {
        self.ended.get_or_create(&JobOutcomeLabel { outcome: state.name() }).inc();
    }
}
