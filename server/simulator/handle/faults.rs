use std::time::Duration;

use super::SimulatorHandle;
use crate::simulator::faults::{
    BogusResponse, CutKind, DateHeader, ErrorResponse, Flow, InjectedResponse, JobFault, Repeat, Scope, StreamError,
};
use crate::simulator::stream::StreamEnd;

impl SimulatorHandle {
    /// Cuts all live connections. Returns their number.
    pub fn cut(&self, kind: CutKind) -> usize {
        self.cut_of(&Scope::Live, kind)
    }

    /// Cuts all recovery jobs. Returns their number.
    pub fn cut_recovery(&self, kind: CutKind) -> usize {
        self.cut_of(&Scope::Recovery, kind)
    }

    /// Cuts these streams. Returns their number. A kind that waits for a post is counted when the post comes.
    pub fn cut_of(&self, scope: &Scope, kind: CutKind) -> usize {
        let links = self.state.slots.of(scope, &self.state.config().datacenters);
        let cut = links.iter().filter(|link| link.cut(kind)).count();
        if !kind.waits() {
            self.state.count(|counters| kind.count(counters, cut));
        }
        cut
    }

    /// Ends these streams with an error object and the zero-length chunk. Returns their number.
    pub fn end_with(&self, scope: &Scope, error: StreamError) -> usize {
        let links = self.state.slots.of(scope, &self.state.config().datacenters);
        let ending = || StreamEnd::Clean(Some(error.json().into()));
        let ended = links.iter().filter(|link| link.end(ending())).count();
        self.state.count(|counters| counters.in_stream_errors += ended as u64);
        ended
    }

    /// Ends these live connections as if their buffers were full, with or without X's message. Returns their number.
    /// The next connection gets no backfill (`Config::slow_reader_backfill`).
    pub fn cut_slow_reader(&self, scope: &Scope, message: bool) -> usize {
        let links = self.state.slots.of(scope, &self.state.config().datacenters);
        links.iter().filter(|link| link.is_live() && self.state.drop_slow_reader(link, message)).count()
    }

    /// While on, live connections stay open and nothing comes, not even heartbeats.
    pub fn stall(&self, on: bool) {
        self.set_flow(&Scope::Live, if on { Flow::Stalled } else { Flow::Open });
    }

    /// Sets what these streams carry from now on. Returns the number of open ones. `All`, `Live` and `Recovery` apply
    /// to future streams too.
    pub fn set_flow(&self, scope: &Scope, flow: Flow) -> usize {
        let faults = &self.state.faults;
        for recovery in [false, true].into_iter().filter(|recovery| scope.has_all(*recovery)) {
            if flow == Flow::Stalled && *faults.flow(recovery).borrow() != flow {
                faults.new_stall();
            }
            faults.set_flow(recovery, flow);
        }
        let links = self.state.slots.of(scope, &self.state.config().datacenters);
        if let Scope::Datacenter(_) | Scope::Connection(_) = scope {
            faults.new_stall();
            links.iter().for_each(|link| link.set_flow(flow));
        }
        links.len()
    }

    /// Delays the posts of the next live connection, after earlier requests of this kind.
    pub fn lag_next(&self, lag: Duration) {
        self.state.slots.lag_next(lag);
    }

    /// Delays the posts of these live connections. Returns the number of open ones.
    pub fn set_lag(&self, scope: &Scope, lag: Duration) -> usize {
        let links = self.state.slots.of(scope, &self.state.config().datacenters);
        let live = links.iter().filter(|link| link.is_live());
        live.map(|link| link.set_lag(lag)).count()
    }

    /// Leaves out so many of the next heartbeats of live connections.
    pub fn skip_heartbeats(&self, count: u32) {
        self.state.faults.skip_heartbeats(count);
    }

    /// Refuses this many stream requests, after those refusals that were asked for before.
    pub fn refuse_next(&self, times: u32, refusal: ErrorResponse) {
        self.refuse(&Scope::All, Repeat::Next(times), refusal);
    }

    /// Refuses all stream requests until it is cleared.
    pub fn refuse_until_cleared(&self, refusal: ErrorResponse) {
        self.refuse(&Scope::All, Repeat::UntilCleared, refusal);
    }

    /// Refuses requests for these streams. What was asked for first and fits a request is what it gets.
    pub fn refuse(&self, scope: &Scope, times: Repeat, refusal: ErrorResponse) {
        let now = self.state.clock.moment();
        self.state.faults.order(scope.clone(), times, InjectedResponse::Refuse(refusal), now);
    }

    /// Answers requests for these streams with 200, and then with something else than posts.
    pub fn answer_with(&self, scope: &Scope, times: Repeat, hollow: BogusResponse) {
        let now = self.state.clock.moment();
        self.state.faults.order(scope.clone(), times, InjectedResponse::Hollow(hollow), now);
    }

    /// No more refusals and other answers that were asked for.
    pub fn clear_refusals(&self) {
        self.state.faults.clear_orders(None);
    }

    /// Clears only those with this scope.
    pub fn clear_refusals_of(&self, scope: &Scope) {
        self.state.faults.clear_orders(Some(scope));
    }

    /// Makes the next recovery jobs fail like this, after earlier requests of this kind.
    pub fn fail_jobs(&self, times: u32, fault: JobFault) {
        self.fail_long_jobs(0, times, fault);
    }

    /// The same, of jobs of at least so many minutes.
    pub fn fail_long_jobs(&self, minutes_min: u32, times: u32, fault: JobFault) {
        self.state.faults.fail_jobs(minutes_min, times, fault);
    }

    /// No recovery job goes wrong any more.
    pub fn clear_job_faults(&self) {
        self.state.faults.clear_jobs();
    }

    /// The `Date` header of answers from now on.
    pub fn set_date(&self, date: DateHeader) {
        self.state.faults.set_date(date);
    }

    /// X's time is so many seconds later than the clock, or earlier: its dates, its ids and its windows.
    pub fn set_skew_seconds(&self, seconds: i64) {
        self.state.faults.set_skew(seconds.saturating_mul(1_000));
    }
}
