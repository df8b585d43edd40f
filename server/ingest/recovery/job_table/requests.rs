//! Requests of jobs: which is next, how far one is, and what its end makes of the job.

use super::super::attempt_result::AttemptResult;
use super::*;

impl JobTable {
    /// The next request: of those whose time has come, the one that expires first. `stamp` is that of the demand; it was
    /// taken before `missing` was.
    pub(in crate::ingest::recovery) fn begin(
        &mut self,
        missing: &TimeRangeSet,
        stamp: RequestStamp,
        now: JobClock,
        limits: &RecoveryLimits,
        config: &Config,
    ) -> Option<JobRequest> {
        let longest = limits.request_max();
        let due = |job: &&Job| {
            job.state == JobState::Waiting
                && self.retry_at(job.id).is_none_or(|at| at <= now.moment)
                && self.askable_at(job, now.time, limits) <= now.time
        };
        let id = self.jobs.values().filter(due).min_by_key(|job| (job.request(longest).from, job.id))?.id;
        let job = self.jobs.get_mut(&id)?;
        self.retries.remove(&id);
        job.state = JobState::Running;
        job.attempts += 1;
        let (request, stop) = (job.request(longest), Shutdown::new());
        let core = |span: TimeRange| {
            TimeRange::new(span.from.plus(limits.allowed_lateness), span.to.minus(limits.allowed_lateness))
        };
        let whole = || [request].into_iter().collect();
        let asked: TimeRangeSet = if job.manual { whole() } else { missing.within(request) };
        let core =
            if job.manual { whole() } else { missing.iter().map(core).collect::<TimeRangeSet>().within(request) };
        self.running.insert(id, RunningJob { request, asked: asked.clone(), stamp, stop: stop.clone() });
        let confirms = job.confirming.then_some(job.found);
        let counts_left = config.count_repeats_max.saturating_sub(job.mismatches);
        Some(JobRequest { id, request, demanded: asked, core, confirms, counts_left, stop })
    }

    /// Posts that a running job has brought.
    pub(in crate::ingest::recovery) fn add_posts(&mut self, id: JobId, received: u64, recovered: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.received += received;
            job.recovered += recovered;
        }
    }

    /// What a running job has appended proves its request up to here, and no further.
    pub(in crate::ingest::recovery) fn advance(&mut self, id: JobId, reached: UnixMillis) {
        let (Some(job), Some(running)) = (self.jobs.get_mut(&id), self.running.get(&id)) else { return };
        if job.state == JobState::Running {
            job.reach(running.request, &running.asked, running.stamp, reached);
        }
    }

    /// A request has ended, and found so many posts of its interval: the job waits for the next one, or is done. Returns
    /// true if less of the interval is left to be requested than before the request.
    pub(in crate::ingest::recovery) fn finish_attempt(
        &mut self,
        id: JobId,
        verdict: &AttemptResult,
        found: u64,
        now: UnixMillis,
    ) -> bool {
        let Some(RunningJob { request, mut asked, stamp, .. }) = self.running.remove(&id) else { return false };
        // It may have been ended by hand meanwhile.
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) else { return false };
        job.state = JobState::Waiting;
        job.last_attempt = LastAttempt::Unproven;
        job.confirming = matches!(verdict, AttemptResult::Confirm { .. });
        job.found = found;
        match verdict {
            AttemptResult::Again { from, .. } | AttemptResult::Confirm { from } => {
                job.reach(request, &asked, stamp, *from)
            }
            AttemptResult::Proven { rest, evidence } => {
                job.mismatches = 0;
                job.reach(request, &TimeRangeSet::default(), stamp, request.from);
                let more = job.rest.iter().any(|rest| rest.covers(request) && rest.to > request.to);
                job.rest.remove(request);
                job.rest.insert_all(rest);
                if more && request.to.since(request.from) > MINUTE {
                    // The next request overlaps with this one.
                    job.rest.insert(TimeRange::new(request.to.minus(MINUTE), request.to));
                }
                let (mut brought, brought_at) = (std::mem::take(&mut job.brought), job.brought_at);
                let (done, progressed) = (job.rest.is_empty(), !job.rest.covers(request));
                asked.remove_all(rest);
                if brought_at == stamp {
                    asked.insert_all(&std::mem::take(&mut brought));
                }
                for (proven, stamp) in [(brought, brought_at), (asked, stamp)] {
                    if !proven.is_empty() {
                        self.told.push(Resolution::Proven(proven, *evidence, stamp));
                    }
                }
                if done {
                    self.end(id, JobState::Succeeded, "", now);
                }
                return progressed;
            }
        }
        !job.rest.covers(request)
    }

    /// A request was given up by the gateway, or not answered: the job goes on later. One that has `begun` to bring
    /// something confirms nothing any more.
    pub(in crate::ingest::recovery) fn requeue(&mut self, id: JobId, begun: bool) {
        self.running.remove(&id);
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) {
            job.state = JobState::Waiting;
            job.confirming &= !begun;
        }
    }
}
