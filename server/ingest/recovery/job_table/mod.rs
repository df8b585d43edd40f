//! The table of recovery jobs: which intervals are requested, which wait, and which have ended. No I/O, no clock.
//!
//! Owns planned and manual jobs with their attempts (`requests`, `retries`, `manual`) and the budget of requests
//! (`budget`). Does not own what is missing (`MissingRanges`), sending a request (`attempt`) or the locks around the
//! table (`recovery_jobs`). Every missing range is requested, proven or lost, never forgotten: `tests`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::planner::{self, RecoveryLimits, minute_of, round_out_to_minutes};
use super::young::WindowAgeMin;
use super::{Config, Job, JobId, JobState, LastAttempt, RequestStamp};
use crate::clock::Moment;
use crate::model::{Budget, BudgetExceeded, GapEvidence, TimeRange, TimeRangeSet, UnixMillis};
use crate::task::Shutdown;

mod manual;
mod requests;
mod retries;
mod running;

pub(super) use running::JobRequest;
use running::RunningJob;

/// The job table.
#[derive(Debug, Default)]
pub struct JobTable {
    last: u64,
    jobs: BTreeMap<JobId, Job>,
    running: BTreeMap<JobId, RunningJob>,
    /// When jobs after a failure may retry.
    retries: BTreeMap<JobId, Moment>,
    /// Ranges that are not requested automatically, because an operator cancelled the job.
    declined: TimeRangeSet,
    young: WindowAgeMin,
    budget: Budget,
    resolutions: Vec<Resolution>,
    ended: Vec<JobId>,
}

/// Persisted state of the job table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsState {
    last: u64,
    jobs: Vec<Job>,
    declined: TimeRangeSet,
    #[serde(default)]
    young: WindowAgeMin,
    #[serde(default)]
    budget: Budget,
}

/// Result to be reported to [`MissingRanges`](super::MissingRanges).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Proven by requests with this stamp or a later one.
    Proven(TimeRangeSet, GapEvidence, RequestStamp),
    Lost(TimeRangeSet, GapEvidence),
}

/// Current time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobClock {
    pub time: UnixMillis,
    pub moment: Moment,
}

const EXPIRED: &str = "interval left the recovery window";
const NOT_MISSING: &str = "interval is not missing any more";
const DISABLED: &str = "recovery is disabled (ingest.recovery.enabled)";

impl JobTable {
    /// Restores the job table; `stamp` is the current stamp of the demand. Running jobs become waiting and continue
    /// where they were: their deliveries prove the common gaps of that time, and no private gap. A confirmation
    /// requires two ends in this process.
    pub fn restore(state: JobsState, stamp: RequestStamp) -> Self {
        let put_back = |mut job: Job| {
            if job.state == JobState::Running {
                job.state = JobState::Waiting;
            }
            job.confirming = false;
            job.delivered_at = job.delivered_at.of_earlier_process(stamp);
            (job.id, job)
        };
        let jobs = state.jobs.into_iter().map(put_back).collect();
        let JobsState { last, declined, young, budget, .. } = state;
        Self { last, jobs, declined, young, budget, ..Self::default() }
    }

    /// Returns the table of another process as it is, to be listed.
    pub(super) fn shown(state: JobsState) -> Self {
        let JobsState { last, jobs, declined, young, budget } = state;
        let jobs = jobs.into_iter().map(|job| (job.id, job)).collect();
        Self { last, jobs, declined, young, budget, ..Self::default() }
    }

    /// Returns the persisted state.
    pub fn snapshot(&self) -> JobsState {
        let jobs = self.jobs.values().cloned().collect();
        let (declined, budget) = (self.declined.clone(), self.budget.clone());
        JobsState { last: self.last, jobs, declined, young: self.young, budget }
    }

    /// Returns all jobs, newest first.
    pub fn list(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().rev()
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Returns the number of jobs in this state.
    pub(super) fn count(&self, state: JobState) -> usize {
        self.jobs.values().filter(|job| job.state == state).count()
    }

    /// Takes the results since the last call.
    pub(super) fn drain_resolutions(&mut self) -> Vec<Resolution> {
        std::mem::take(&mut self.resolutions)
    }

    /// Takes the jobs that have ended since the last call.
    pub(super) fn drain_finished(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.ended).into_iter().filter_map(|id| self.jobs.get(&id).cloned()).collect()
    }

    /// Gives up expired and unneeded ranges, and creates jobs for missing ones.
    pub(super) fn plan(&mut self, missing: &TimeRangeSet, now: UnixMillis, limits: &RecoveryLimits, config: &Config) {
        self.expire(limits.earliest_recoverable(now), now);
        self.cancel_unneeded(missing, now);
        let mut held = self.declined.clone();
        self.active().for_each(|job| held.insert_all(&job.claimed()));
        for resolution in &self.resolutions {
            // Not reported yet.
            let (Resolution::Proven(spans, ..) | Resolution::Lost(spans, _)) = resolution;
            held.insert_all(spans);
        }
        let plan = planner::plan(missing, &held, now, limits);
        if !plan.lost.is_empty() {
            self.resolutions.push(Resolution::Lost(plan.lost, GapEvidence::WindowPassed));
        }
        for window in plan.windows {
            if !self.lengthen(window, now, limits) {
                self.add(window, now, false);
            }
        }
        self.prune(now, config);
    }

    /// Extends a job by an adjacent window, up to the longest request: only a job without a request so far, and only if
    /// it would not wait longer. Successive demands share a request this way while all slots are taken. Returns false
    /// if there is no such job.
    fn lengthen(&mut self, window: TimeRange, now: UnixMillis, limits: &RecoveryLimits) -> bool {
        let young = self.young.within(now);
        let hull = |job: &Job| TimeRange::new(job.window.from.min(window.from), job.window.to.max(window.to));
        let fits = |job: &&mut Job| {
            let (touches, hull) = (job.window.from <= window.to && window.from <= job.window.to, hull(job));
            let is_new = !job.manual && job.state == JobState::Waiting && job.attempts == 0 && job.delivered.is_empty();
            let waits = hull.to > job.window.to && limits.available_at(hull.to, young) > now;
            is_new && touches && !waits && hull.to.since(hull.from) <= limits.request_max()
        };
        let Some(job) = self.jobs.values_mut().find(fits) else { return false };
        job.window = hull(job);
        job.rest.insert(window);
        true
    }

    /// Ends all jobs, because recovery is disabled. Their deliveries remain.
    pub(super) fn close(&mut self, now: UnixMillis) {
        let active: Vec<_> = self.active().map(|job| job.id).collect();
        active.into_iter().for_each(|id| self.end(id, JobState::Failed, DISABLED, now));
    }

    fn active(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| job.state.is_active())
    }

    fn add(&mut self, window: TimeRange, now: UnixMillis, manual: bool) -> JobId {
        self.last += 1;
        let id = JobId(self.last);
        self.jobs.insert(id, Job::new(id, window, now, manual));
        id
    }

    /// Trims waiting jobs. The minute of `oldest` may still be requested as a whole.
    fn expire(&mut self, oldest: UnixMillis, now: UnixMillis) {
        let expired = TimeRange::new(UnixMillis(i64::MIN), minute_of(oldest));
        self.declined.remove(expired);
        let mut over = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.state == JobState::Waiting) {
            let late = job.rest.within(expired);
            if late.is_empty() {
                continue;
            }
            job.rest.remove(expired);
            if job.delivered.is_empty() {
                job.window.from = job.window.from.max(expired.to).min(job.window.to);
            }
            if job.rest.is_empty() {
                over.push(job.id);
            }
            // Ranges that were never requested are given up by the planner, with exact bounds.
            if job.last_attempt != LastAttempt::None {
                self.resolutions.push(Resolution::Lost(late, job.last_attempt.evidence()));
            }
        }
        for id in over {
            self.end(id, JobState::Failed, EXPIRED, now);
        }
    }

    fn cancel_unneeded(&mut self, missing: &TimeRangeSet, now: UnixMillis) {
        let wanted = |job: &Job| job.manual || job.claimed().iter().any(|held| !missing.within(held).is_empty());
        let unwanted: Vec<_> =
            self.jobs.values().filter(|job| job.state == JobState::Waiting && !wanted(job)).map(|job| job.id).collect();
        for id in unwanted {
            self.end(id, JobState::Cancelled, NOT_MISSING, now);
        }
    }

    /// Ends a job. Its deliveries remain, on the evidence of their order: no response was complete.
    fn end(&mut self, id: JobId, state: JobState, error: &str, now: UnixMillis) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.state, job.ended) = (state, Some(now));
        if !error.is_empty() && job.last_error.is_empty() {
            job.last_error = error.to_owned();
        } else if !error.is_empty() {
            job.last_error = format!("{error}; last attempt: {}", job.last_error);
        }
        let delivered = std::mem::take(&mut job.delivered);
        if !delivered.is_empty() {
            self.resolutions.push(Resolution::Proven(delivered, GapEvidence::PostOrder, job.delivered_at));
        }
        self.retries.remove(&id);
        self.ended.push(id);
    }

    /// Removes finished jobs that are too old or too many.
    fn prune(&mut self, now: UnixMillis, config: &Config) {
        self.jobs.retain(|_, job| job.ended.is_none_or(|ended| now.since(ended) < config.finished_jobs_retention));
        let mut ended: Vec<_> = self.jobs.values().filter_map(|job| Some((job.ended?, job.id))).collect();
        ended.sort_unstable();
        let surplus = ended.len().saturating_sub(config.finished_jobs_max);
        for (_, id) in ended.drain(..surplus) {
            self.jobs.remove(&id);
        }
    }

    /// Returns when the next request of a job may be made. A refused job only waits for its retry.
    fn askable_at(&self, job: &Job, now: UnixMillis, limits: &RecoveryLimits) -> UnixMillis {
        let end = job.next_request(now, limits).window.to;
        let young = if job.refusals == 0 { self.young.within(now) } else { Duration::ZERO };
        limits.available_at(end, young)
    }

    /// Returns the time until something is due; `None` if nothing is.
    pub(super) fn wait(&self, missing: &TimeRangeSet, now: JobClock, limits: &RecoveryLimits) -> Option<Duration> {
        let waiting = self.jobs.values().filter(|job| job.state == JobState::Waiting);
        let turns = waiting.map(|job| {
            let ended = self.askable_at(job, now.time, limits).since(now.time);
            let retry = self.retry_at(job.id).map(|at| at.since(now.moment));
            ended.max(retry.unwrap_or_default())
        });
        let expiry = missing.first().map(|first| first.from.plus(limits.lookback_max).since(now.time));
        // A job that is due already waits for a slot, or for the end of a request.
        turns.chain(expiry).filter(|wait| !wait.is_zero()).min()
    }
}

#[cfg(test)]
mod tests;
