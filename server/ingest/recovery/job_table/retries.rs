//! Effects of a failure on a job: backoff, refusals, and the bound of attempts without new posts.

use super::super::pace::AttemptRate;
use super::*;

impl JobTable {
    /// Returns when a job may retry after a failure.
    pub(in crate::ingest::recovery) fn retry_at(&self, id: JobId) -> Option<Moment> {
        self.retries.get(&id).copied()
    }

    /// Uncounts an attempt that X refused for too many connections.
    pub(in crate::ingest::recovery) fn refund_attempt(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.attempts = job.attempts.saturating_sub(1);
        }
    }

    /// Records why a request failed, and when the next one may be made.
    pub(in crate::ingest::recovery) fn record_failure(
        &mut self,
        id: JobId,
        error: Option<String>,
        retry_at: Option<Moment>,
    ) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Waiting) else { return };
        if let Some(error) = error {
            job.last_error = error;
        }
        if let Some(at) = retry_at {
            self.retries.insert(id, at);
        }
    }

    /// Records an attempt without new posts: the next one is delayed if there were too many in an hour.
    pub(in crate::ingest::recovery) fn pace(&mut self, id: JobId, pace: AttemptRate, now: JobClock) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Waiting) else { return };
        job.paced_until = pace.charge(job.paced_until, now.time);
        let at = now.moment.plus(pace.wait(job.paced_until, now.time));
        let retry = self.retries.entry(id).or_insert(at);
        *retry = at.max(*retry);
    }

    /// Records that X reported more sent posts than arrived.
    pub(in crate::ingest::recovery) fn count_differs(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.mismatches = job.mismatches.saturating_add(1);
        }
    }

    /// Records that X accepted a request. Windows that it refused when they were younger are refused for their age.
    pub(in crate::ingest::recovery) fn reset_refusals(&mut self, id: JobId, age_max: Duration, now: UnixMillis) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.refusals = 0;
        if let Some(age) = job.refused_age_ms.take() {
            self.young.learn(Duration::from_millis(age), age_max, now);
        }
    }

    /// Records that X refused a request for this window. Returns the number of consecutive refusals.
    pub(in crate::ingest::recovery) fn record_refusal(
        &mut self,
        id: JobId,
        window: Option<TimeRange>,
        now: UnixMillis,
    ) -> u32 {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Waiting) else { return 0 };
        job.refusals = job.refusals.saturating_add(1);
        job.last_attempt = LastAttempt::Refused;
        job.refused_age_ms = window.and_then(|window| u64::try_from(now.0 - window.to.0).ok());
        job.refusals
    }

    /// Records the age up to which X refuses windows.
    pub(in crate::ingest::recovery) fn learn_age(&mut self, within: Duration, age_max: Duration, now: UnixMillis) {
        self.young.learn(within, age_max, now);
    }

    /// Returns the ranges that wait because X refuses them.
    pub(in crate::ingest::recovery) fn refused(&self) -> TimeRangeSet {
        let mut refused = TimeRangeSet::default();
        self.active().filter(|job| job.is_refused()).for_each(|job| refused.insert_all(&job.claimed()));
        refused
    }
}
