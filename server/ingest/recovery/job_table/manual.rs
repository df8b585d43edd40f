//! Creation and cancellation of manual jobs.

use super::*;
use crate::model::Caller;

impl JobTable {
    /// Creates a manual job, in whole minutes. If a job that still has to deliver the whole interval exists, its id is
    /// returned instead; a waiting manual job that touches the interval is extended.
    pub(in crate::ingest::recovery) fn create(&mut self, span: TimeRange, now: UnixMillis) -> JobId {
        let window = round_out_to_minutes(span);
        self.declined.remove(window);
        if let Some(job) = self.active().find(|job| job.rest.covers(window)) {
            return job.id;
        }
        let touches = |job: &Job| job.window.from <= window.to && window.from <= job.window.to;
        let mut waiting = self.jobs.values_mut().filter(|job| job.state == JobState::Waiting && job.manual);
        match waiting.find(|job| touches(job)) {
            Some(job) => {
                job.window = TimeRange::new(job.window.from.min(window.from), job.window.to.max(window.to));
                job.rest.insert(window);
                job.delivered.remove(window);
                job.confirming = false;
                job.id
            }
            None => self.add(window, now, true),
        }
    }

    /// Creates a job within the budgets of this caller and of the account. Only a new job is charged: identical and
    /// covered intervals cost no request, and an extended job was charged when it was created.
    pub(in crate::ingest::recovery) fn create_charged(
        &mut self,
        span: TimeRange,
        caller: Caller,
        config: &Config,
        now: UnixMillis,
    ) -> Result<JobId, BudgetExceeded> {
        let is_new = self.needs_job(span);
        if is_new {
            self.budget.charge(caller.clone(), &config.manual_limits(), now)?;
        }
        let id = self.create(span, now);
        if let Some(job) = self.jobs.get_mut(&id).filter(|_| is_new) {
            job.caller = Some(caller);
        }
        Ok(id)
    }

    /// True if an interval needs a new job: none has to deliver all of it, and no waiting manual job touches it.
    pub(in crate::ingest::recovery) fn needs_job(&self, span: TimeRange) -> bool {
        let window = round_out_to_minutes(span);
        let touches = |job: &Job| job.window.from <= window.to && window.from <= job.window.to;
        let joins = |job: &Job| job.state == JobState::Waiting && job.manual && touches(job);
        !self.active().any(|job| job.rest.covers(window) || joins(job))
    }

    /// Cancels a job; its remaining ranges are not requested again automatically. Returns false if it does not exist.
    pub(in crate::ingest::recovery) fn cancel(&mut self, id: JobId, now: UnixMillis) -> bool {
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
}
