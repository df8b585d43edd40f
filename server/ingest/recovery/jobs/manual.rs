//! Jobs made and ended by hand.

use super::*;

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
