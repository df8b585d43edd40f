//! The reconciler: decides the next request from the persisted state, and applies its outcome. No I/O and no clock.

use std::collections::HashSet;
use std::time::Duration;

use super::budget::{BudgetAccess, BudgetExhausted, Method, RunningTime};
use super::operation::{Operation, OperationState};
use super::plan_changes::{PlannedChange, plan_changes};
use super::planner::{Plan, Step, plan};
use super::policy::{Mode, Policy};
use super::rule::WantedRule;
use super::sets::{removals_max, union};
use super::state::RulesState;
use crate::model::UnixMillis;

mod apply;

/// The time, as the reconciler needs it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Running time, for durations.
    pub running: RunningTime,
    /// Upstream time, for operators.
    pub time: UnixMillis,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcilerStep {
    /// Read all rules.
    Read,
    /// Make this request.
    Send(Step),
    /// Wait: for so long, or until something changes.
    Wait(Option<Duration>),
}

/// Why the rules are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadCause {
    /// They were never read, or a caller asked.
    Requested,
    /// The outcome of a request is unknown.
    Unknown,
}

/// State with the policy that applies to it.
#[derive(Clone, Debug)]
pub struct Reconciler {
    /// Persisted state.
    pub state: RulesState,
    /// Policy.
    pub policy: Policy,
    /// The rules are to be read.
    pub read: Option<ReadCause>,
    /// That read may use the reserve.
    read_reserve: bool,
    /// X does not accept the credential or the URL: no request until an operator or a restart.
    pub denied: Option<String>,
    /// Texts with which a request may be refused.
    pub risky: HashSet<String>,
    /// Until when changes are gathered, and when that began.
    gathering: Option<(RunningTime, RunningTime)>,
    /// The request in progress.
    in_flight: Option<ReconcilerStep>,
    /// No request before this time, after a wait of this length.
    retry: Option<(RunningTime, Duration)>,
}

impl Reconciler {
    /// Continues with a persisted state. An operation whose request has no answer is read again.
    pub fn new(mut state: RulesState, policy: Policy) -> Self {
        state.budget.restart();
        let mut read = state.known.is_none().then_some(ReadCause::Requested);
        if let Some(operation) = &mut state.operation
            && operation.sent
        {
            operation.sent = false;
            operation.replans += 1;
            operation.steps.clear();
            state.is_stale = true;
        }
        if state.is_stale {
            read = Some(ReadCause::Unknown);
        }
        Self {
            state,
            policy,
            read,
            read_reserve: false,
            denied: None,
            risky: HashSet::new(),
            gathering: None,
            in_flight: None,
            retry: None,
        }
    }

    /// Delays the first read after a start for as long as changes are gathered: a gateway that fails soon after each start
    /// spends nothing.
    pub fn delay_first_read(&mut self, now: RunningTime) {
        if self.read == Some(ReadCause::Requested) {
            self.retry = Some((now.plus(self.policy.gather.0), Duration::ZERO));
        }
    }

    /// Begins an operation for changed sets, or adds the change to the current one.
    pub fn on_change(&mut self, cause: &str, now: Now) -> &mut Operation {
        let (interval, max) = self.policy.gather;
        let began = self.gathering.map_or(now.running, |(_, began)| began);
        self.gathering = Some((now.running.plus(interval).min(began.plus(max)), began));
        self.state.forget_rejected();
        self.state.assign_owners();
        self.state.revision += 1;
        let operation = self.state.begin_operation(cause, now.time);
        operation.steps.clear();
        operation.replans = 0;
        operation.changed_time = now.time;
        if !operation.sent {
            operation.state = OperationState::Waiting;
        }
        operation
    }

    /// Cancels the current operation before its next request. Returns false if it is another one.
    pub fn cancel(&mut self, id: u64, now: Now) -> bool {
        match &mut self.state.operation {
            Some(operation) if operation.id == id => {
                if operation.sent {
                    operation.cancelled = true;
                } else {
                    self.end(OperationState::Cancelled, "", now);
                }
                true
            }
            _ => false,
        }
    }

    /// Has the rules read again, also after X has refused the credential.
    pub fn request_read(&mut self, use_reserve: bool) {
        self.read = self.read.max(Some(ReadCause::Requested));
        self.read_reserve |= use_reserve;
        self.denied = None;
        self.retry = None;
    }

    /// Returns whether the budget covers a read.
    pub fn check_read(&self, use_reserve: bool) -> Result<(), BudgetExhausted> {
        let access = if use_reserve { BudgetAccess::Reserve } else { self.access() };
        match self.state.budget.wait(access, &self.policy.budget) {
            Duration::ZERO => Ok(()),
            retry_after => Err(BudgetExhausted { retry_after }),
        }
    }

    /// Has the rules read again because posts name unknown rules. Returns the time until that is possible; `None` if the
    /// read is due.
    pub fn read_after_drift(&mut self, now: Now) -> Option<Duration> {
        if self.read.is_some() {
            return None;
        }
        let next = self.state.drift_read.map_or(now.running, |last| last.plus(self.policy.drift_refresh));
        if next > now.running {
            return Some(next.since(now.running));
        }
        self.state.drift_read = Some(now.running);
        self.read = Some(ReadCause::Requested);
        None
    }

    /// Returns the time until the next request, if there will be one and it waits for a known time.
    pub fn next_request(&self, now: Now) -> Option<Duration> {
        if self.state.operation.is_none() && self.read.is_none() {
            return None;
        }
        match self.clone().next(now) {
            ReconcilerStep::Wait(wait) => wait,
            ReconcilerStep::Read | ReconcilerStep::Send(_) => None,
        }
    }

    /// Returns a plan from the known rules to what the sets want, for a number of requests.
    pub fn plan(&self, available: usize) -> Plan {
        let known = self.state.known.as_ref().map(|known| known.rules.as_slice()).unwrap_or_default();
        let targets =
            union(&self.state.sets, |value| self.state.is_rejected(value), |value| self.risky.contains(value));
        plan(known, &targets, self.policy.unmanaged, &self.policy.limits, available)
    }

    /// Returns the plan that would follow if a set had these rules.
    pub fn plan_with(&self, set: &str, rules: &[WantedRule], available: usize) -> Plan {
        let mut other = self.clone();
        other.state.set_rules(set, rules.to_vec(), UnixMillis(0));
        other.state.assign_owners();
        other.plan(available)
    }

    /// Returns the changes of single rules that would follow if a set had these rules.
    pub fn changes_with(&self, set: &str, rules: &[WantedRule]) -> Vec<PlannedChange> {
        let mut other = self.clone();
        other.state.set_rules(set, rules.to_vec(), UnixMillis(0));
        other.state.assign_owners();
        let known = other.state.known.as_ref().map(|known| known.rules.as_slice()).unwrap_or_default();
        plan_changes(known, &other.plan(usize::MAX))
    }

    /// Returns the number of rules that a plan may remove without force.
    pub fn removals_max(&self) -> usize {
        removals_max(self.policy.removals_max, self.state.counts().0)
    }

    /// Decides what to do next. Call [`Self::begin`] before a request leaves.
    pub fn next(&mut self, now: Now) -> ReconcilerStep {
        if self.in_flight.is_some() || self.denied.is_some() {
            return ReconcilerStep::Wait(None);
        }
        self.state.budget.advance(now.running);
        if let Some((until, _)) = self.retry.filter(|(until, _)| *until > now.running) {
            return ReconcilerStep::Wait(Some(until.since(now.running)));
        }
        if let Some(cause) = self.read {
            return self.affordable(ReconcilerStep::Read, self.read_access(cause));
        }
        if self.policy.mode == Mode::Observe || self.state.operation.is_none() {
            return ReconcilerStep::Wait(None);
        }
        if let Some((until, _)) = self.gathering.filter(|(until, _)| *until > now.running) {
            return ReconcilerStep::Wait(Some(until.since(now.running)));
        }
        self.gathering = None;
        self.next_step(now)
    }

    /// Returns the next step of the operation, which is planned if it has none.
    fn next_step(&mut self, now: Now) -> ReconcilerStep {
        let access = self.access();
        let available = self.state.budget.available(access, &self.policy.budget);
        let Some(operation) = &self.state.operation else { return ReconcilerStep::Wait(None) };
        // The second half of a step that interrupts coverage must follow at once.
        let needs = match operation.steps.first() {
            Some(Step::Delete { coverage_break: true, .. }) => 2,
            Some(_) => 1,
            None => 0,
        };
        if needs == 0 || available < needs {
            match self.replan(available, now) {
                Ok(()) => {}
                Err(wait) => return wait,
            }
        }
        let effect = self.effect_wait(now);
        let operation = self.state.operation.as_mut().expect("planned above");
        if let Some(wait) = effect {
            operation.state = OperationState::Waiting;
            return ReconcilerStep::Wait(Some(wait));
        }
        match operation.steps.first().cloned() {
            Some(step) => {
                operation.state = OperationState::Running;
                ReconcilerStep::Send(step)
            }
            None => {
                operation.state = OperationState::Waiting;
                let wait = self.state.budget.wait(access, &self.policy.budget);
                // A step that interrupts coverage waits for two requests.
                ReconcilerStep::Wait(Some(wait.max(Duration::from_secs(60))))
            }
        }
    }

    /// Returns how long the next step waits for the effect of added rules: it deletes rules that they replace.
    fn effect_wait(&self, now: Now) -> Option<Duration> {
        let step = self.state.operation.as_ref()?.steps.first()?;
        let Step::Delete { rules, coverage_break: false } = step else { return None };
        let until = self.state.last_added?.plus(self.policy.effect_delay);
        let is_early = until > now.running && rules.iter().any(|rule| self.state.is_replaced(rule));
        is_early.then(|| until.since(now.running))
    }

    /// Plans the rest of the operation; ends it if nothing is left.
    fn replan(&mut self, available: usize, now: Now) -> Result<(), ReconcilerStep> {
        let plan = self.plan(available);
        let removals_max = self.removals_max();
        let Some(operation) = &mut self.state.operation else { return Err(ReconcilerStep::Wait(None)) };
        let error = if operation.replans > self.policy.replans_max {
            let replans = operation.replans;
            format!("X did not do what was expected {replans} times; read the rules again, then apply the set again")
        } else if plan.removals > removals_max && !operation.force {
            let removals = plan.removals;
            format!("plan removes {removals} rules, at most {removals_max} without force; apply with force")
        } else {
            (operation.pending, operation.rejected) = (plan.pending, plan.rejected);
            operation.steps = plan.steps;
            let is_done = operation.steps.is_empty() && plan.pending == (0, 0);
            if !is_done {
                return Ok(());
            }
            let left = match (plan.rejected, plan.over_limit) {
                (0, 0) => String::new(),
                (rejected, over) => format!("{rejected} rules rejected by X, {over} above its limit"),
            };
            self.end(OperationState::Succeeded, &left, now);
            return Err(self.next(now));
        };
        self.end(OperationState::Failed, &error, now);
        Err(self.next(now))
    }

    fn end(&mut self, state: OperationState, error: &str, now: Now) {
        if let Some(operation) = &mut self.state.operation {
            (operation.state, operation.changed_time, operation.sent) = (state, now.time, false);
            if !error.is_empty() {
                operation.error = error.to_owned();
            }
            operation.steps.clear();
        }
        self.state.end_operation();
    }

    fn access(&self) -> BudgetAccess {
        match &self.state.operation {
            Some(operation) if operation.use_reserve => BudgetAccess::Reserve,
            _ => BudgetAccess::Ordinary,
        }
    }

    /// After an unknown outcome, the first attempt to read may use the reserve.
    fn read_access(&self, cause: ReadCause) -> BudgetAccess {
        let is_first = cause == ReadCause::Unknown && self.retry.is_none();
        if is_first || self.read_reserve { BudgetAccess::Reserve } else { self.access() }
    }

    fn affordable(&self, action: ReconcilerStep, access: BudgetAccess) -> ReconcilerStep {
        match self.state.budget.wait(access, &self.policy.budget) {
            Duration::ZERO => action,
            wait => ReconcilerStep::Wait(Some(wait)),
        }
    }

    /// Charges a request and marks it as sent. Persist the state before the request leaves; if that fails, the previous
    /// reconciler is the one in force.
    pub fn begin(&mut self, action: &ReconcilerStep, now: Now) -> bool {
        let (method, access) = match action {
            ReconcilerStep::Read => (Method::Get, self.read_access(self.read.unwrap_or(ReadCause::Requested))),
            ReconcilerStep::Send(Step::Add(_)) => (Method::Post, self.access()),
            ReconcilerStep::Send(Step::Delete { .. }) => (Method::Delete, self.access()),
            ReconcilerStep::Wait(_) => return false,
        };
        let charged = self.state.budget.charge(method, access, &self.policy.budget, (now.running, now.time));
        if charged.is_err() {
            return false;
        }
        if let (ReconcilerStep::Send(_), Some(operation)) = (action, &mut self.state.operation) {
            operation.sent = true;
            operation.requests += 1;
        }
        self.in_flight = Some(action.clone());
        true
    }
}

/// Cause of operations that changes of others begin.
pub const DRIFT: &str = "drift";

#[cfg(test)]
mod tests;
