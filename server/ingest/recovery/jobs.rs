use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::planner::{self, Limits, MINUTE, minute_of, outward};
use super::verdict::{Verdict, resume_at};
use super::{Config, Job, JobId, JobState};
use crate::clock::Moment;
use crate::model::{GapEvidence, Span, Spans, UnixMillis};
use crate::task::Shutdown;

/// The book of an account's jobs.
#[derive(Debug, Default)]
pub struct Jobs {
    last: u64,
    jobs: BTreeMap<JobId, Job>,
    running: BTreeMap<JobId, Running>,
    /// When those that had a setback may try again.
    retries: BTreeMap<JobId, Moment>,
    /// What is not asked for again by itself: a person ended the job.
    declined: Spans,
    told: Vec<Told>,
    ended: Vec<JobId>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsState {
    last: u64,
    jobs: Vec<Job>,
    declined: Spans,
}

/// A request under way.
#[derive(Debug)]
struct Running {
    request: Span,
    /// What was demanded before its minute was asked for.
    asked: Spans,
    stop: Shutdown,
}

/// A request to be made.
#[derive(Debug)]
pub(super) struct Order {
    pub id: JobId,
    /// In whole minutes.
    pub request: Span,
    pub confirming: bool,
    /// Cancelled when nobody wants it any more.
    pub stop: Shutdown,
}

/// Something that the demand is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Proven(Spans, GapEvidence),
    Lost(Spans, GapEvidence),
}

/// Now, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub time: UnixMillis,
    pub moment: Moment,
}

const EXPIRED: &str = "its interval left the time that X recovers";
const UNWANTED: &str = "nothing misses its interval any more";

impl Jobs {
    /// The book as it was left. What was running then waits for its turn, and goes on where it was.
    pub fn restore(state: JobsState) -> Self {
        let put_back = |mut job: Job| {
            if job.state == JobState::Running {
                (job.state, job.confirming) = (JobState::Waiting, false);
            }
            (job.id, job)
        };
        let jobs = state.jobs.into_iter().map(put_back).collect();
        Self { last: state.last, jobs, declined: state.declined, ..Self::default() }
    }

    /// What outlives the process.
    pub fn snapshot(&self) -> JobsState {
        JobsState { last: self.last, jobs: self.jobs.values().cloned().collect(), declined: self.declined.clone() }
    }

    /// All jobs, the newest first.
    pub fn list(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().rev()
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// When a job that had a setback may try again.
    pub(super) fn retry_at(&self, id: JobId) -> Option<Moment> {
        self.retries.get(&id).copied()
    }

    /// How many are in this state.
    pub(super) fn count(&self, state: JobState) -> usize {
        self.jobs.values().filter(|job| job.state == state).count()
    }

    /// What the demand is to be told since this was last asked.
    pub(super) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// The jobs that have ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.ended).into_iter().filter_map(|id| self.jobs.get(&id).cloned()).collect()
    }

    /// Gives up what has expired or is not wanted any more, and makes jobs for what is missing.
    pub(super) fn plan(&mut self, missing: &Spans, now: UnixMillis, limits: &Limits, config: &Config) {
        self.expire(limits.horizon(now), now);
        self.drop_unwanted(missing, now);
        let mut held = self.declined.clone();
        self.active().for_each(|job| held.insert_all(&job.holds()));
        for Told::Proven(spans, _) | Told::Lost(spans, _) in &self.told {
            // The demand does not know yet.
            held.insert_all(spans);
        }
        let plan = planner::plan(missing, &held, now, limits);
        if !plan.lost.is_empty() {
            self.told.push(Told::Lost(plan.lost, GapEvidence::WindowPassed));
        }
        for window in plan.windows.into_iter().filter(|_| config.enabled) {
            self.add(window, now, false);
        }
        self.prune(now, config);
    }

    fn active(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| job.state.is_active())
    }

    fn add(&mut self, window: Span, now: UnixMillis, manual: bool) -> JobId {
        self.last += 1;
        let id = JobId(self.last);
        self.jobs.insert(id, Job::new(id, window, now, manual));
        id
    }

    /// Trims what waits. The minute of the horizon may still be asked for as a whole.
    fn expire(&mut self, horizon: UnixMillis, now: UnixMillis) {
        let expired = Span::new(UnixMillis(i64::MIN), minute_of(horizon));
        self.declined.remove(expired);
        let mut over = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.state == JobState::Waiting) {
            if job.rest.first().is_some_and(|rest| rest.from < expired.to) {
                job.rest.remove(expired);
                if job.brought.is_empty() {
                    job.window.from = job.window.from.max(expired.to).min(job.window.to);
                }
                if job.rest.is_empty() {
                    over.push(job.id);
                }
            }
        }
        for id in over {
            self.end(id, JobState::Failed, EXPIRED, now);
        }
    }

    fn drop_unwanted(&mut self, missing: &Spans, now: UnixMillis) {
        let wanted = |job: &Job| job.manual || job.holds().iter().any(|held| !missing.within(held).is_empty());
        let unwanted: Vec<_> =
            self.jobs.values().filter(|job| job.state == JobState::Waiting && !wanted(job)).map(|job| job.id).collect();
        for id in unwanted {
            self.end(id, JobState::Cancelled, UNWANTED, now);
        }
    }

    /// Ends a job that did not bring all: what it has brought is there nevertheless.
    fn end(&mut self, id: JobId, state: JobState, error: &str, now: UnixMillis) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.state, job.ended) = (state, Some(now));
        if !error.is_empty() {
            job.last_error = error.to_owned();
        }
        let brought = std::mem::take(&mut job.brought);
        if !brought.is_empty() {
            self.told.push(Told::Proven(brought, GapEvidence::None));
        }
        self.retries.remove(&id);
        self.ended.push(id);
    }

    /// Forgets those that ended long ago, or are too many.
    fn prune(&mut self, now: UnixMillis, config: &Config) {
        self.jobs.retain(|_, job| job.ended.is_none_or(|ended| now.since(ended) < config.retention));
        let mut ended: Vec<_> = self.jobs.values().filter_map(|job| Some((job.ended?, job.id))).collect();
        ended.sort_unstable();
        let surplus = ended.len().saturating_sub(config.jobs_kept_max);
        for (_, id) in ended.drain(..surplus) {
            self.jobs.remove(&id);
        }
    }

    /// The next request: of those whose time has come, the one that expires first.
    pub(super) fn begin(&mut self, missing: &Spans, now: Now, limits: &Limits) -> Option<Order> {
        let longest = limits.request_max();
        let due = |job: &&Job| {
            job.state == JobState::Waiting
                && self.retry_at(job.id).is_none_or(|at| at <= now.moment)
                && limits.askable_at(job.request(longest).to) <= now.time
        };
        let id = self.jobs.values().filter(due).min_by_key(|job| (job.request(longest).from, job.id))?.id;
        let job = self.jobs.get_mut(&id)?;
        self.retries.remove(&id);
        job.state = JobState::Running;
        job.attempts += 1;
        let (request, stop) = (job.request(longest), Shutdown::new());
        let running = Running { request, asked: missing.within(request), stop: stop.clone() };
        self.running.insert(id, running);
        Some(Order { id, request, confirming: job.confirming, stop })
    }

    /// Posts that a running job has brought.
    pub(super) fn add_posts(&mut self, id: JobId, received: u64, recovered: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.received += received;
            job.recovered += recovered;
        }
    }

    /// A running job has appended posts of this minute: those before it are complete but for the last.
    pub(super) fn advance(&mut self, id: JobId, newest: UnixMillis, missing: &Spans) {
        let (Some(job), Some(running)) = (self.jobs.get_mut(&id), self.running.get_mut(&id)) else { return };
        if job.state == JobState::Running {
            job.bring(running.request, &running.asked, resume_at(running.request, Some(newest)));
            // Missed since the request was made, and still to come.
            let ahead = Span::new(newest.plus(MINUTE), running.request.to);
            running.asked.insert_all(&missing.within(ahead));
        }
    }

    /// A request has ended: the job waits for the next one, or is done.
    pub(super) fn settle(&mut self, id: JobId, verdict: &Verdict, missing: &Spans, now: UnixMillis) {
        let Some(Running { request, asked, .. }) = self.running.remove(&id) else { return };
        // It may have been ended by hand meanwhile.
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) else { return };
        job.state = JobState::Waiting;
        job.confirming = matches!(verdict, Verdict::Confirm { .. });
        match verdict {
            Verdict::Again { from } | Verdict::Confirm { from } => job.ask_again(request, &asked, *from),
            Verdict::Proven { rest, evidence } => {
                let mut proven = std::mem::take(&mut job.brought);
                proven.insert_all(&asked);
                proven.remove_all(rest);
                job.rest.remove(request);
                job.rest.insert_all(rest);
                let done = job.rest.is_empty();
                if job.manual {
                    // Nobody needs to have missed it: it may have been given up before.
                    let mut beside: Spans = [job.window].into_iter().collect();
                    beside.remove_all(&job.rest);
                    beside.remove_all(missing);
                    proven.insert_all(&beside);
                }
                self.told.push(Told::Proven(proven, *evidence));
                if done {
                    self.end(id, JobState::Succeeded, "", now);
                }
            }
        }
    }

    /// A request was given up by the gateway, or not answered: the job goes on later. One that has `begun` to bring
    /// something confirms nothing any more.
    pub(super) fn put_back(&mut self, id: JobId, begun: bool) {
        self.running.remove(&id);
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) {
            job.state = JobState::Waiting;
            job.confirming &= !begun;
        }
    }

    /// X had no room for a request: it does not count.
    pub(super) fn uncount(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.attempts = job.attempts.saturating_sub(1);
        }
    }

    /// Notes why a request failed, and when the next one may be made.
    pub(super) fn set_back(&mut self, id: JobId, error: Option<String>, retry_at: Option<Moment>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Waiting) else { return };
        if let Some(error) = error {
            job.last_error = error;
        }
        if let Some(at) = retry_at {
            self.retries.insert(id, at);
        }
    }

    /// X took a request.
    pub(super) fn taken(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.refusals = 0;
        }
    }

    /// X refused a request. After so many in a row the job is given up.
    pub(super) fn refuse(&mut self, id: JobId, refusals_max: u32, now: UnixMillis) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Waiting) else { return };
        job.refusals += 1;
        if job.refusals >= refusals_max {
            self.told.push(Told::Lost(job.rest.clone(), GapEvidence::Refused));
            self.end(id, JobState::Failed, "", now);
        }
    }

    /// A job by hand, in whole minutes. One that still has to bring all of it is given back instead; one by hand that
    /// waits and touches it is made longer.
    pub(super) fn create(&mut self, span: Span, now: UnixMillis) -> JobId {
        let window = outward(span);
        self.declined.remove(window);
        if let Some(job) = self.active().find(|job| job.rest.covers(window)) {
            return job.id;
        }
        let touches = |job: &Job| job.window.from <= window.to && window.from <= job.window.to;
        let mut waiting = self.jobs.values_mut().filter(|job| job.state == JobState::Waiting && job.manual);
        match waiting.find(|job| touches(job)) {
            Some(job) => {
                job.window = Span::new(job.window.from.min(window.from), job.window.to.max(window.to));
                job.rest.insert(window);
                job.brought.remove(window);
                job.confirming = false;
                job.id
            }
            None => self.add(window, now, true),
        }
    }

    /// Ends a job by hand; what it has not brought is not asked for again by itself. False if there is no such job.
    pub(super) fn cancel(&mut self, id: JobId, now: UnixMillis) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        if job.state.is_active() {
            self.declined.insert_all(&job.rest);
            self.end(id, JobState::Cancelled, "", now);
            if let Some(running) = self.running.get(&id) {
                running.stop.cancel();
            }
        }
        true
    }

    /// How long until something is due by time alone; `None` if nothing is.
    pub(super) fn wait(&self, missing: &Spans, now: Now, limits: &Limits) -> Option<Duration> {
        let waiting = self.jobs.values().filter(|job| job.state == JobState::Waiting);
        let turns = waiting.map(|job| {
            let ended = limits.askable_at(job.request(limits.request_max()).to).since(now.time);
            let retry = self.retry_at(job.id).map(|at| at.since(now.moment));
            ended.max(retry.unwrap_or_default())
        });
        let expiry = missing.first().map(|first| first.from.plus(limits.reach).since(now.time));
        // What is due now waits for something else: a slot, or the end of a request.
        turns.chain(expiry).filter(|wait| !wait.is_zero()).min()
    }
}

#[cfg(test)]
mod tests;
