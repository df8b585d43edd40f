//! Jobs made and ended by hand.

use std::time::Duration;

use super::*;

/// The period of the budget of manual jobs.
const BUDGET_PERIOD: Duration = Duration::from_secs(3_600);

impl Jobs {
    /// A job by hand, in whole minutes. One that still has to bring all of it is given back instead; one by hand that
    /// waits and touches it is made longer.
    pub(in super::super) fn create(&mut self, span: Span, now: UnixMillis) -> JobId {
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

    /// Returns when a further manual job may be created: at once (`None`) if fewer than `max` were created within the last
    /// hour, or no new job would be. The list of jobs is the record, so that a restart does not renew the budget.
    pub(in super::super) fn manual_budget_from(&self, span: Span, max: usize, now: UnixMillis) -> Option<UnixMillis> {
        let window = outward(span);
        let touches = |job: &Job| job.window.from <= window.to && window.from <= job.window.to;
        let joins = |job: &Job| job.state == JobState::Waiting && job.manual && touches(job);
        if self.active().any(|job| job.rest.covers(window)) || self.jobs.values().any(joins) {
            return None;
        }
        let hour_ago = now.minus(BUDGET_PERIOD);
        let recent = self.jobs.values().filter(|job| job.manual && job.created > hour_ago);
        let mut created: Vec<_> = recent.map(|job| job.created).collect();
        created.sort_unstable();
        let first_counted = created.len().checked_sub(max)?;
        Some(created.get(first_counted).map_or(now, |created| *created).plus(BUDGET_PERIOD))
    }

    /// Ends a job by hand; what it has not brought is not asked for again by itself. False if there is no such job.
    pub(in super::super) fn cancel(&mut self, id: JobId, now: UnixMillis) -> bool {
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
