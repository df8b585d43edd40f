//! Injected faults and their scopes.
//!
//! Owns: the types of faults, and the pending ones. Does not own: their execution (`stream`, `http_handler`), their
//! counters (`counters`, when they fire), the timeline (`script`).
//!
//! Invariant: a response that was requested n times is given n times (`refusals_are_given_as_often_as_asked`).

mod cut;
mod date;
mod error_response;
mod flow;
mod job;
mod pending_response;
mod rule_fault;
mod scope;
mod stream_error;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use cut::CutKind;
pub use date::DateHeader;
pub use error_response::ErrorResponse;
pub use flow::{BogusResponse, Flow};
pub use job::JobFault;
pub(super) use pending_response::InjectedResponse;
use pending_response::PendingResponse;
pub use pending_response::Repeat;
use rule_fault::PendingRuleFaults;
pub use rule_fault::{RuleFault, RuleMethod, RuleRequestFilter};
pub use scope::Scope;
pub use stream_error::StreamError;

use crate::clock::Moment;
use crate::model::UnixMillis;

/// The next jobs of at least so many minutes go wrong like this.
#[derive(Debug)]
struct JobFaultOrder {
    minutes_min: u32,
    times: u32,
    fault: JobFault,
}

/// Pending faults.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Of live connections, of recovery jobs.
    flows: [watch::Sender<Flow>; 2],
    /// True once a stream has met the current stall.
    stall_met: AtomicBool,
    orders: Mutex<VecDeque<PendingResponse>>,
    jobs: Mutex<VecDeque<JobFaultOrder>>,
    rules: Mutex<PendingRuleFaults>,
    heartbeats_to_skip: AtomicU32,
    date: Mutex<DateHeader>,
    skew_ms: AtomicI64,
}

impl Faults {
    /// What all streams of this kind carry from now on.
    pub(super) fn set_flow(&self, recovery: bool, flow: Flow) {
        self.flows[usize::from(recovery)].send_replace(flow);
    }

    pub(super) fn flow(&self, recovery: bool) -> watch::Receiver<Flow> {
        self.flows[usize::from(recovery)].subscribe()
    }

    /// Another stall begins.
    pub(super) fn new_stall(&self) {
        self.stall_met.store(false, Ordering::Relaxed);
    }

    /// True the first time that a stall is met.
    pub(super) fn is_stalled(&self) -> bool {
        !self.stall_met.swap(true, Ordering::Relaxed)
    }

    pub(super) fn order(&self, scope: Scope, times: Repeat, answer: InjectedResponse, now: Moment) {
        self.orders.lock().push_back(PendingResponse::new(scope, times, answer, now));
    }

    /// No more answers that were asked for with this scope; all of them without one.
    pub(super) fn clear_orders(&self, scope: Option<&Scope>) {
        self.orders.lock().retain(|order| scope.is_some_and(|scope| !order.has_scope(scope)));
    }

    /// What the next request of this kind gets instead of a stream. A hollow stream is spent by `consume_bogus_response`, when the
    /// request is admitted.
    pub(super) fn take_answer(
        &self,
        recovery: bool,
        datacenter: Option<&str>,
        now: Moment,
    ) -> Option<InjectedResponse> {
        let mut orders = self.orders.lock();
        orders.retain(|order| !order.is_over(now));
        orders
            .iter_mut()
            .find(|order| order.is_for(recovery, datacenter))
            .map(|order| if order.is_hollow() { order.answer() } else { order.take() })
    }

    /// The hollow stream that was taken for this request is given.
    pub(super) fn consume_bogus_response(&self, recovery: bool, datacenter: Option<&str>) {
        let mut orders = self.orders.lock();
        if let Some(order) = orders.iter_mut().find(|order| order.is_hollow() && order.is_for(recovery, datacenter)) {
            order.take();
        }
    }

    pub(super) fn fail_jobs(&self, minutes_min: u32, times: u32, fault: JobFault) {
        self.jobs.lock().push_back(JobFaultOrder { minutes_min, times, fault });
    }

    pub(super) fn clear_jobs(&self) {
        self.jobs.lock().clear();
    }

    /// What goes wrong with the job of so many minutes that begins.
    pub(super) fn take_job(&self, minutes: i64) -> Option<JobFault> {
        let mut jobs = self.jobs.lock();
        while jobs.front().is_some_and(|order| order.times == 0) {
            jobs.pop_front();
        }
        let order = jobs.front_mut().filter(|order| i64::from(order.minutes_min) <= minutes)?;
        order.times -= 1;
        Some(order.fault.clone())
    }

    pub(super) fn fail_rules(&self, filter: RuleRequestFilter, fault: RuleFault, times: Repeat, now: Moment) {
        self.rules.lock().order(filter, fault, times, now);
    }

    pub(super) fn clear_rules(&self) {
        self.rules.lock().clear();
    }

    /// The fault of a request for rules with these values and ids, and the value that the fault is for.
    pub(super) fn take_rule_fault(
        &self,
        method: RuleMethod,
        values: &[String],
        now: Moment,
    ) -> Option<(RuleFault, Option<String>)> {
        self.rules.lock().take(method, values, now)
    }

    pub(super) fn skip_heartbeats(&self, count: u32) {
        self.heartbeats_to_skip.fetch_add(count, Ordering::Relaxed);
    }

    /// True if the heartbeat that is due is to be left out.
    pub(super) fn skips_heartbeat(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.heartbeats_to_skip.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    pub(super) fn set_date(&self, date: DateHeader) {
        *self.date.lock() = date;
    }

    pub(super) fn date(&self) -> DateHeader {
        self.date.lock().clone()
    }

    pub(super) fn set_skew(&self, ms: i64) {
        self.skew_ms.store(ms, Ordering::Relaxed);
    }

    /// Returns X's time for a time of the clock.
    pub(super) fn skewed(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(now.0.saturating_add(self.skew_ms.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn statuses(faults: &Faults, recovery: bool, datacenter: Option<&str>, times: usize) -> Vec<u16> {
        let take = |_| match faults.take_answer(recovery, datacenter, Moment::default())? {
            InjectedResponse::Refuse(refusal) => Some(refusal.status),
            InjectedResponse::Hollow(_) => Some(200),
        };
        (0..times).filter_map(take).collect()
    }

    fn refuse(faults: &Faults, scope: Scope, times: Repeat, refusal: ErrorResponse) {
        faults.order(scope, times, InjectedResponse::Refuse(refusal), Moment::default());
    }

    #[test]
    fn refusals_are_given_as_often_as_asked() {
        let faults = Faults::default();
        refuse(&faults, Scope::All, Repeat::Next(2), ErrorResponse::unauthorized());
        refuse(&faults, Scope::All, Repeat::UntilCleared, ErrorResponse::html());
        assert_eq!(statuses(&faults, false, None, 4), [401, 401, 403, 403]);
        faults.clear_orders(None);
        assert!(statuses(&faults, false, None, 1).is_empty());
    }

    #[test]
    fn injected_error_applies_only_to_its_scope() {
        let faults = Faults::default();
        refuse(&faults, Scope::Recovery, Repeat::Next(2), ErrorResponse::too_many_connections());
        refuse(&faults, Scope::Datacenter("pdxa".into()), Repeat::UntilCleared, ErrorResponse::unauthorized());
        refuse(&faults, Scope::Live, Repeat::For(Duration::from_secs(9)), ErrorResponse::forbidden());
        assert_eq!(statuses(&faults, false, Some("pdxa"), 1), [401]);
        assert_eq!(statuses(&faults, false, Some("atla"), 1), [403]);
        assert_eq!(statuses(&faults, true, Some("atla"), 3), [429, 429]);
        let later = Moment::default().plus(Duration::from_secs(9));
        assert_eq!(faults.take_answer(false, None, later), None);
        faults.clear_orders(Some(&Scope::Datacenter("pdxa".into())));
        assert_eq!(faults.take_answer(false, Some("pdxa"), later), None);
    }

    #[test]
    fn heartbeats_and_jobs_fail_as_often_as_asked() {
        let faults = Faults::default();
        faults.skip_heartbeats(2);
        assert_eq!([(); 3].map(|()| faults.skips_heartbeat()), [true, true, false]);
        faults.fail_jobs(5, 2, JobFault::Silent);
        faults.fail_jobs(0, 1, JobFault::Unprocessed { minute: 3 });
        let drawn: Vec<_> = [5, 4, 6, 1, 1].into_iter().filter_map(|minutes| faults.take_job(minutes)).collect();
        assert_eq!(drawn, [JobFault::Silent, JobFault::Silent, JobFault::Unprocessed { minute: 3 }]);
    }
}
