//! Requests of jobs: selection of the next one, progress, and the effect of its end.

use super::super::attempt_result::AttemptResult;
use super::*;

impl JobTable {
    /// Starts the next request: the due one that expires first. `stamp` is the stamp of the demand, taken before
    /// `missing`.
    pub(in crate::ingest::recovery) fn begin(
        &mut self,
        missing: &TimeRangeSet,
        stamp: RequestStamp,
        now: JobClock,
        limits: &RecoveryLimits,
        config: &Config,
    ) -> Option<JobRequest> {
        let due = |job: &&Job| {
            job.state == JobState::Waiting
                && self.retry_at(job.id).is_none_or(|at| at <= now.moment)
                && self.askable_at(job, now.time, limits) <= now.time
        };
        let id = self.jobs.values().filter(due).min_by_key(|job| (job.rest.first().map(|rest| rest.from), job.id))?.id;
        let job = self.jobs.get_mut(&id)?;
        self.retries.remove(&id);
        job.state = JobState::Running;
        job.attempts += 1;
        let (next, stop) = (job.next_request(now.time, limits), Shutdown::new());
        let (request, piece) = (next.window, next.piece);
        let core = |span: TimeRange| {
            TimeRange::new(span.from.plus(limits.allowed_lateness), span.to.minus(limits.allowed_lateness))
        };
        let whole = || [piece].into_iter().collect();
        let asked: TimeRangeSet = if job.manual { whole() } else { missing.within(next.claim(missing, limits)) };
        let core = if job.manual { whole() } else { missing.iter().map(core).collect::<TimeRangeSet>().within(piece) };
        self.running.insert(id, RunningJob { request: next, asked: asked.clone(), stamp, stop: stop.clone() });
        let confirms = job.confirming.then_some(job.found);
        let counts_left = config.count_repeats_max.saturating_sub(job.mismatches);
        Some(JobRequest { id, request, demanded: asked, core, confirms, counts_left, stop })
    }

    /// Counts posts of a running job.
    pub(in crate::ingest::recovery) fn add_posts(&mut self, id: JobId, received: u64, recovered: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.received += received;
            job.recovered += recovered;
        }
    }

    /// Records that a running job has appended its request up to here, and no further.
    pub(in crate::ingest::recovery) fn advance(&mut self, id: JobId, reached: UnixMillis) {
        let (Some(job), Some(running)) = (self.jobs.get_mut(&id), self.running.get(&id)) else { return };
        if job.state == JobState::Running {
            job.reach(running.request, &running.asked, running.stamp, reached);
        }
    }

    /// Applies the end of a request with this many posts of its interval: the job waits for its next request, or is
    /// done. Returns true if less of the interval is left to be requested than before.
    pub(in crate::ingest::recovery) fn finish_attempt(
        &mut self,
        id: JobId,
        result: &AttemptResult,
        found: u64,
        now: UnixMillis,
    ) -> bool {
        let Some(RunningJob { request, mut asked, stamp, .. }) = self.running.remove(&id) else { return false };
        // The job may have been cancelled meanwhile.
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) else { return false };
        job.state = JobState::Waiting;
        job.last_attempt = LastAttempt::Unproven;
        job.confirming = matches!(result, AttemptResult::Confirm { .. });
        job.found = found;
        match result {
            AttemptResult::Again { from, .. } | AttemptResult::Confirm { from } => {
                job.reach(request, &asked, stamp, *from)
            }
            AttemptResult::Proven { rest, evidence } => {
                job.mismatches = 0;
                job.reach(request, &TimeRangeSet::default(), stamp, request.window.from);
                job.rest.remove(request.piece);
                job.rest.insert_all(&rest.within(request.piece));
                let (mut earlier, earlier_stamp) = (std::mem::take(&mut job.delivered), job.delivered_at);
                let (done, progressed) = (job.rest.is_empty(), !job.rest.covers(request.piece));
                asked.remove_all(rest);
                if earlier_stamp == stamp {
                    asked.insert_all(&std::mem::take(&mut earlier));
                }
                for (proven, stamp) in [(earlier, earlier_stamp), (asked, stamp)] {
                    if !proven.is_empty() {
                        self.resolutions.push(Resolution::Proven(proven, *evidence, stamp));
                    }
                }
                if done {
                    self.end(id, JobState::Succeeded, "", now);
                }
                return progressed;
            }
        }
        !job.rest.covers(request.piece)
    }

    /// Returns a job to the queue after a request that the gateway ended or X did not answer. A request that has
    /// `begun` to deliver cannot be a confirmation any more.
    pub(in crate::ingest::recovery) fn requeue(&mut self, id: JobId, begun: bool) {
        self.running.remove(&id);
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) {
            job.state = JobState::Waiting;
            job.confirming &= !begun;
        }
    }
}
