//! Outcomes of requests, applied to the state.

use std::time::Duration;

use super::{DRIFT, Now, ReadCause, Reconciler};
use crate::rules::operation::OperationState;
use crate::rules::outcome::{Outcome, RuleResult};
use crate::rules::planner::{OldRule, RuleAddition, Step};
use crate::rules::policy::Mode;
use crate::xapi::XRule;

/// Times that a request which X refuses without a reason is halved.
const HALVINGS_MAX: u32 = 2;
/// Operations that X's changes may begin in a day: if X, or another client, undoes them again and again, they stop.
const DRIFT_OPERATIONS_MAX: usize = 3;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Waits after requests that could not be sent: the first, doubled each time, and the longest.
const NOT_SENT_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(320));
/// Waits after the rules could not be read, which the budget pays for.
const READ_WAIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(6 * 3_600));

impl Reconciler {
    fn wait_longer(&mut self, (first, longest): (Duration, Duration), now: Now) {
        let wait = self.retry.map_or(first, |(_, wait)| (wait * 2).clamp(first, longest));
        self.retry = Some((now.running.plus(wait), wait));
    }

    /// Applies the end of a request to the budget. `limits` are X's count and the time until its window ends.
    fn settle(&mut self, outcome: Option<&Outcome>, limits: (Option<u64>, Option<Duration>), now: Now) {
        self.in_flight = None;
        match outcome {
            Some(Outcome::NotSent(_)) => {
                self.state.budget.refund();
                self.wait_longer(NOT_SENT_WAIT, now);
                return;
            }
            Some(Outcome::Limited(reset_in)) => {
                self.state.budget.finish(now.running, None, None);
                self.state.budget.block(now.running, *reset_in);
            }
            Some(Outcome::Denied { status, message }) => {
                self.state.budget.finish(now.running, limits.0, limits.1);
                self.denied = Some(format!("HTTP {status}: {message}"));
            }
            _ => self.state.budget.finish(now.running, limits.0, limits.1),
        }
        self.retry = None;
    }

    /// Applies the outcome of reading the rules. Returns whether they had changed without the gateway.
    pub fn on_read(
        &mut self,
        result: Result<Vec<XRule>, Outcome>,
        limits: (Option<u64>, Option<Duration>),
        now: Now,
    ) -> bool {
        let earlier = self.retry;
        self.settle(result.as_ref().err(), limits, now);
        let rules = match result {
            Ok(rules) => rules,
            Err(Outcome::NotSent(_)) => return false,
            // Whatever the reason: the same request follows after a wait.
            Err(outcome) => {
                self.retry = earlier;
                self.wait_longer(READ_WAIT, now);
                if let Some(operation) = &mut self.state.operation {
                    operation.error = format!("failed to read the rules: {}", outcome.name());
                }
                return false;
            }
        };
        let was_known = self.state.known.is_some();
        let expected = self.read == Some(ReadCause::Unknown);
        let before = self.state.known_values();
        let changed = self.state.refresh(rules, now.time);
        if was_known && !self.state.known_values().is_subset(&before) {
            self.state.last_added = Some(now.running);
        }
        (self.read, self.read_reserve, self.state.is_stale) = (None, false, false);
        if self.policy.mode == Mode::Manage && self.policy.adopt {
            self.state.adopt_unmanaged(now.time);
        }
        if self.policy.mode == Mode::Manage && self.state.operation.is_none() && !self.state.sets.is_empty() {
            self.begin_drift(now);
        }
        changed && was_known && !expected
    }

    /// Begins an operation if X does not have what the sets want.
    fn begin_drift(&mut self, now: Now) {
        if self.plan(usize::MAX).steps.is_empty() {
            return;
        }
        let recent = self
            .state
            .ended
            .iter()
            .filter(|operation| operation.cause == DRIFT && now.time.since(operation.created_time) < DAY);
        if recent.count() < DRIFT_OPERATIONS_MAX {
            self.state.begin_operation(DRIFT, now.time);
        }
    }

    /// Applies the outcome of a step.
    pub fn on_step(&mut self, step: &Step, outcome: Outcome, limits: (Option<u64>, Option<Duration>), now: Now) {
        self.settle(Some(&outcome), limits, now);
        let is_whole = match (&outcome, step) {
            (Outcome::Results(results), Step::Add(rules)) => self.apply_added(rules, results, now),
            (Outcome::Results(results), Step::Delete { rules, .. }) => self.apply_deleted(rules, results),
            _ => false,
        };
        if outcome.needs_refresh() {
            (self.read, self.state.is_stale) = (Some(ReadCause::Unknown), true);
        }
        let Some(operation) = &mut self.state.operation else { return };
        operation.sent = false;
        operation.changed_time = now.time;
        match outcome {
            Outcome::Results(_) if is_whole && operation.steps.first() == Some(step) => {
                operation.steps.remove(0);
            }
            Outcome::Results(_) if is_whole => operation.steps.clear(),
            Outcome::Results(ref results) => {
                let unexpected =
                    results.contains(&RuleResult::Unknown) || results.iter().all(|one| *one == RuleResult::Again);
                operation.replans += u32::from(unexpected);
                operation.steps.clear();
            }
            Outcome::Unknown(message) | Outcome::OverLimit(message) => {
                operation.replans += 1;
                operation.error = message;
                operation.steps.clear();
            }
            Outcome::RefusedWhole(message) => self.on_refused(step, &message, now),
            Outcome::Denied { message, .. } | Outcome::NotSent(message) => operation.error = message,
            Outcome::Limited(_) => operation.error = "X refused the request: too many requests".to_owned(),
        }
        if self.state.operation.as_ref().is_some_and(|operation| operation.cancelled) {
            self.end(OperationState::Cancelled, "", now);
        }
    }

    /// Applies the results of an addition. Returns false if some rules are not at X.
    fn apply_added(&mut self, rules: &[RuleAddition], results: &[RuleResult], now: Now) -> bool {
        let mut is_whole = true;
        for (rule, result) in rules.iter().zip(results) {
            match result {
                RuleResult::Added(found) => {
                    self.state.add_known(found.clone(), rule, now.time);
                    self.state.last_added = Some(now.running);
                }
                RuleResult::Rejected(message) => {
                    self.state.reject(&rule.value, message, now.time);
                    is_whole = false;
                }
                RuleResult::Again | RuleResult::Unknown | RuleResult::Deleted => is_whole = false,
            }
        }
        is_whole
    }

    fn apply_deleted(&mut self, rules: &[OldRule], results: &[RuleResult]) -> bool {
        for (rule, _) in rules.iter().zip(results).filter(|(_, result)| **result == RuleResult::Deleted) {
            self.state.remove_known(rule.id.as_ref(), &rule.value);
        }
        results.iter().all(|result| *result == RuleResult::Deleted)
    }

    /// Handles a request that X refused without naming a rule: it is halved at most twice, then its rules count as
    /// rejected.
    fn on_refused(&mut self, step: &Step, message: &str, now: Now) {
        let Some(operation) = &mut self.state.operation else { return };
        operation.error = message.to_owned();
        let (first, second) = match halves(step) {
            Some(halves) if operation.halvings < HALVINGS_MAX => halves,
            _ => {
                operation.halvings = 0;
                operation.steps.clear();
                match step {
                    Step::Add(rules) => {
                        rules.iter().for_each(|rule| self.state.reject(&rule.value, message, now.time));
                    }
                    Step::Delete { .. } => self.end(OperationState::Failed, message, now),
                }
                return;
            }
        };
        operation.halvings += 1;
        if operation.steps.first() == Some(step) {
            operation.steps.splice(..1, [first, second]);
        }
    }
}

/// Divides a step; `None` if it has one rule.
fn halves(step: &Step) -> Option<(Step, Step)> {
    match step {
        Step::Add(rules) if rules.len() > 1 => {
            let (first, second) = rules.split_at(rules.len() / 2);
            Some((Step::Add(first.to_vec()), Step::Add(second.to_vec())))
        }
        Step::Delete { rules, coverage_break } if rules.len() > 1 => {
            let (first, second) = rules.split_at(rules.len() / 2);
            let half = |rules: &[OldRule]| Step::Delete { rules: rules.to_vec(), coverage_break: *coverage_break };
            Some((half(first), half(second)))
        }
        _ => None,
    }
}
