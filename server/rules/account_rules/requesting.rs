//! The side of the task that makes requests: the next action, and its outcome.

use std::time::Duration;

use super::{AccountRules, Inner};
use crate::rules::budget::{BudgetExhausted, RuleBudget, RunningTime};
use crate::rules::change::ChangeError;
use crate::rules::events::{RulesDifference, difference, orphaned_tags};
use crate::rules::outcome::{Outcome, reset_in};
use crate::rules::planner::Step;
use crate::rules::reconciler::{ReadCause, ReconcilerStep};
use crate::rules::state::{KnownRules, RulesState};
use crate::xapi::{RuleAnswer, XRule};

/// Changes of another client: their cause.
const FOREIGN: &str = "foreign";
/// Changes that are kept until they are taken: the budget allows fewer in a day.
const UNANNOUNCED_MAX: usize = 100;

impl AccountRules {
    /// Returns the next action, charged and persisted; `None`: a request is due and its charge cannot be persisted.
    /// Blocks on the disk.
    pub(in crate::rules) fn begin(&self) -> Option<ReconcilerStep> {
        let mut inner = self.inner.lock();
        if inner.damaged.is_some() {
            return Some(ReconcilerStep::Wait(None));
        }
        let now = self.now(&inner);
        let look_again = self.read_after_drift(&mut inner, now);
        let ended = inner.reconciler.state.last_ended();
        let action = inner.reconciler.next(now);
        if let ReconcilerStep::Wait(wait) = action {
            if inner.reconciler.state.last_ended() != ended {
                self.observe_ended(&inner);
                self.save(&mut inner);
                drop(inner);
                self.notify();
            }
            return Some(ReconcilerStep::Wait(wait.into_iter().chain(look_again).min()));
        }
        let before = inner.reconciler.clone();
        if !inner.reconciler.begin(&action, now) {
            return Some(ReconcilerStep::Wait(Some(Duration::from_secs(60))));
        }
        if matches!(action, ReconcilerStep::Send(_)) {
            inner.reconciler.state.sets.values_mut().for_each(|set| set.history.mark_spent());
        }
        if !self.save(&mut inner) {
            inner.reconciler = before;
            return None;
        }
        drop(inner);
        self.notify();
        Some(action)
    }

    /// Applies the result of reading the rules. Blocks on the disk.
    pub(in crate::rules) fn on_read(&self, result: Result<Vec<XRule>, Outcome>, answer: Option<&RuleAnswer>) {
        let mut inner = self.inner.lock();
        let now = self.now(&inner);
        let before = inner.reconciler.state.known.clone();
        let is_read = result.is_ok();
        let changed = inner.reconciler.on_read(result, limits(answer), now);
        inner.reconciler.update_risky(&*self.checker);
        if is_read {
            inner.unknown_ids.clear();
            inner.reads += 1;
        }
        let (managed, unmanaged) = inner.reconciler.state.counts();
        self.record_change(&mut inner, before.as_ref(), FOREIGN);
        self.save(&mut inner);
        drop(inner);
        if changed {
            self.metrics.drift.inc();
            tracing::warn!(account = %self.account, managed, unmanaged, "rules at X were changed by another client");
        }
        self.announce();
        self.notify();
    }

    /// Applies the outcome of a step. Blocks on the disk.
    pub(in crate::rules) fn on_step(&self, step: &Step, outcome: Outcome, answer: Option<&RuleAnswer>) {
        let mut inner = self.inner.lock();
        let now = self.now(&inner);
        let before = inner.reconciler.state.known.clone();
        let cause = inner.reconciler.state.operation.as_ref().map(|own| own.cause.clone()).unwrap_or_default();
        let ended = inner.reconciler.state.last_ended();
        inner.reconciler.on_step(step, outcome, limits(answer), now);
        if inner.reconciler.state.last_ended() != ended {
            self.observe_ended(&inner);
        }
        self.record_change(&mut inner, before.as_ref(), &cause);
        self.save(&mut inner);
        drop(inner);
        self.announce();
        self.notify();
    }

    /// Keeps what changed at X until it is taken.
    fn record_change(&self, inner: &mut Inner, before: Option<&KnownRules>, cause: &str) {
        let time = self.now(inner).time;
        let state = &mut inner.reconciler.state;
        // Rules that were never known did not change.
        let (Some(before), Some(after)) = (before, &state.known) else { return };
        let (added, removed) = difference(&before.rules, &after.rules);
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let (revision, orphaned_tags) = (state.revision, orphaned_tags(&removed, &after.rules));
        let cause = cause.to_owned();
        state.unannounced.push(RulesDifference { revision, added, removed, orphaned_tags, cause, time });
        let excess = state.unannounced.len().saturating_sub(UNANNOUNCED_MAX);
        state.unannounced.drain(..excess);
    }

    /// Observes the duration of the operation that ended last.
    fn observe_ended(&self, inner: &Inner) {
        if let Some(ended) = inner.reconciler.state.ended.last() {
            let duration = ended.changed_time.since(ended.created_time);
            self.metrics.observe_operation(ended.state, duration);
            let (operation, requests, error) = (ended.id, ended.requests, ended.error.as_str());
            let state = ended.state.name();
            tracing::info!(account = %self.account, operation, state, requests, error, "rule operation ended");
        }
    }

    /// Returns the number of reads that X has answered.
    pub fn reads(&self) -> u64 {
        self.inner.lock().reads
    }

    /// Has the rules read from X, with one request. With `repair`, a state that cannot be read is replaced: of its budget
    /// one request is assumed to be left. Blocks on the disk.
    pub fn refresh(&self, repair: bool, use_reserve: bool) -> Result<(), ChangeError> {
        let mut inner = self.inner.lock();
        if inner.damaged.is_some() {
            if !repair {
                return Err(ChangeError::Damaged(inner.damaged.clone().unwrap_or_default()));
            }
            self.replace_state(&mut inner);
        }
        let now = self.now(&inner);
        inner.reconciler.state.budget.advance(now.running);
        // A read after an unknown outcome, or of a replaced state, may use the reserve.
        let is_ordinary = inner.reconciler.read != Some(ReadCause::Unknown);
        if is_ordinary && let Err(BudgetExhausted { retry_after }) = inner.reconciler.check_read(use_reserve) {
            return Err(ChangeError::Budget { requests: 1, available: 0, retry_after });
        }
        inner.reconciler.request_read(use_reserve);
        drop(inner);
        self.notify();
        Ok(())
    }

    fn replace_state(&self, inner: &mut Inner) {
        let (limits, time) = (inner.reconciler.policy.budget, self.clock.now());
        inner.reconciler.state = RulesState { budget: RuleBudget::unknown(&limits, time), ..RulesState::default() };
        inner.started = (RunningTime::default(), self.clock.moment());
        inner.damaged = None;
        inner.last_files = None;
        inner.reconciler.read = Some(ReadCause::Unknown);
        self.save(inner);
        tracing::warn!(account = %self.account, "state of rules was replaced, rules are read from X");
    }
}

/// Returns X's count and the time until its window ends.
fn limits(answer: Option<&RuleAnswer>) -> (Option<u64>, Option<Duration>) {
    (answer.and_then(|answer| answer.rate_limit().remaining), answer.and_then(reset_in))
}
