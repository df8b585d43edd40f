//! Jobs made and ended by hand.

use super::*;
use crate::model::Caller;

impl JobTable {
    /// A job by hand, in whole minutes. One that still has to bring all of it is given back instead; one by hand that
    /// waits and touches it is made longer.
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
                job.brought.remove(window);
                job.confirming = false;
                job.id
            }
            None => self.add(window, now, true),
        }
    }

    /// The same within the budgets of this caller and of the account. Only a new job is charged: identical and covered
    /// intervals cost no request, and one that becomes longer was charged when it was made.
    pub(in crate::ingest::recovery) fn create_charged(
        &mut self,
        span: TimeRange,
        caller: Caller,
        config: &Config,
        now: UnixMillis,
    ) -> Result<JobId, BudgetExceeded> {
        if self.needs_job(round_out_to_minutes(span)) {
            self.budget.charge(caller, &config.manual_limits(), now)?;
        }
        Ok(self.create(span, now))
    }

    /// True if no job exists that has to bring all of this window, and none by hand waits that touches it.
    fn needs_job(&self, window: TimeRange) -> bool {
        let touches = |job: &Job| job.window.from <= window.to && window.from <= job.window.to;
        let joins = |job: &Job| job.state == JobState::Waiting && job.manual && touches(job);
        !self.active().any(|job| job.rest.covers(window) || joins(job))
    }

    /// Ends a job by hand; what it has not brought is not asked for again by itself. False if there is no such job.
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
