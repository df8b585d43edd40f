//! The rules of an account, shared by the task that makes requests and by callers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::audit::{AuditFile, AuditLine};
use super::budget::{BudgetStatus, RunningTime};
use super::check::RuleChecker;
use super::events::{RuleEvents, RulesDifference};
use super::metrics::Metrics;
use super::operation::{Operation, OperationId};
use super::planner::Plan;
use super::policy::{Mode, Policy};
use super::reconciler::{Now, Reconciler};
use super::rule::WantedRule;
use super::state::{RulesState, StateStore};
use super::view::{RuleList, list};
use crate::clock::{Clock, Moment};
use crate::model::{AccountName, UnixMillis};
use crate::query::{Finding, Severity};
use crate::xapi::RuleId;

mod changing;
mod drift;
mod requesting;

/// What the rules of an account are opened with.
pub struct AccountRulesParts {
    /// Account.
    pub account: AccountName,
    /// Policy.
    pub policy: Policy,
    /// Clock of the account.
    pub clock: Clock,
    /// Where the state is kept.
    pub store: Arc<dyn StateStore>,
    /// Checks the language of rules.
    pub checker: Arc<dyn RuleChecker>,
    /// Receives changes, and knows what posts show.
    pub events: Arc<dyn RuleEvents>,
    /// Audit file.
    pub audit: AuditFile,
}

/// Rules of an account.
pub struct AccountRules {
    account: AccountName,
    inner: Mutex<Inner>,
    clock: Clock,
    store: Arc<dyn StateStore>,
    checker: Arc<dyn RuleChecker>,
    events: Arc<dyn RuleEvents>,
    audit: AuditFile,
    metrics: Metrics,
    changes: watch::Sender<u64>,
}

struct Inner {
    reconciler: Reconciler,
    /// Running time when this process began, and the moment.
    started: (RunningTime, Moment),
    /// The state cannot be read: nothing is written, and nothing requested.
    damaged: Option<String>,
    /// Rules of the configured files that were refused, with the reason.
    refused_files: Option<(Vec<WantedRule>, String)>,
    /// Rules of the configured files that were last applied or refused.
    last_files: Option<Vec<WantedRule>>,
    /// Whether files are configured.
    has_files: bool,
    /// Ids that posts name and that are not known, and when each was first reported.
    unknown_ids: BTreeMap<RuleId, Moment>,
    /// The number of reads that X has answered.
    reads: u64,
}

/// State of rule management, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesStatus {
    /// Whether rules are changed.
    pub mode: Mode,
    /// Why the state cannot be used; empty if it can.
    pub damaged: String,
    /// Why X does not accept the requests; empty if it does.
    pub denied: String,
    /// Why the configured files are not applied; empty if they are.
    pub refused_files: String,
    /// X has what the sets want, as far as X accepts it, and nothing is unknown.
    pub is_converged: bool,
    /// The operation that waits or runs.
    pub operation: Option<Operation>,
    /// Ids that posts name and that are not known.
    pub unknown_ids: Vec<RuleId>,
    /// Time until the next request, if one waits for the budget.
    pub next_request: Option<Duration>,
    /// Rules that wait: to be added, to be deleted.
    pub pending: (usize, usize),
}

impl AccountRules {
    /// Opens the rules of an account. A state that cannot be read is reported, and left as it is.
    pub fn open(parts: AccountRulesParts) -> Self {
        let AccountRulesParts { account, policy, clock, store, checker, events, audit } = parts;
        let (state, damaged) = match store.load() {
            Ok(state) => (state.unwrap_or_default(), None),
            Err(error) => {
                tracing::error!(%account, %error, "state of rules is unusable, rules are only observed");
                (RulesState::default(), Some(error.to_string()))
            }
        };
        let started = (state.budget.persisted_at(), clock.moment());
        let mut reconciler = Reconciler::new(state, policy);
        reconciler.update_risky(&*checker);
        reconciler.delay_first_read(started.0);
        let inner = Inner {
            reconciler,
            started,
            damaged,
            refused_files: None,
            last_files: None,
            has_files: false,
            unknown_ids: BTreeMap::new(),
            reads: 0,
        };
        let (inner, metrics, changes) = (Mutex::new(inner), Metrics::default(), watch::Sender::new(0));
        Self { account, inner, clock, store, checker, events, audit, metrics, changes }
    }

    /// Returns the name of the account.
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Notifies changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn now(&self, inner: &Inner) -> Now {
        let (running, moment) = inner.started;
        Now { running: running.plus(self.clock.moment().since(moment)), time: self.clock.now() }
    }

    /// Persists the state; a failure is logged, and the next write is tried again before the next request.
    fn save(&self, inner: &mut Inner) -> bool {
        if inner.damaged.is_some() {
            return false;
        }
        let now = self.now(inner);
        inner.reconciler.state.budget.advance(now.running);
        match self.store.save(&inner.reconciler.state) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(account = %self.account, %error, "failed to write state of rules");
                false
            }
        }
    }

    fn notify(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Writes an audit line; a failure is logged. Blocks on the disk.
    pub fn audit(&self, line: &AuditLine<'_>) {
        let UnixMillis(time) = self.clock.now();
        if let Err(error) = self.audit.append(time, line) {
            tracing::error!(account = %self.account, %error, "failed to write audit file of rules");
        }
    }

    /// Offers the changes that were persisted and not taken yet. Blocks on the disk.
    fn announce(&self) {
        let pending: Vec<RulesDifference> = self.inner.lock().reconciler.state.unannounced.clone();
        let taken: Vec<u64> =
            pending.iter().take_while(|change| self.events.changed(change)).map(|change| change.revision).collect();
        if taken.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        inner.reconciler.state.unannounced.retain(|change| !taken.contains(&change.revision));
        self.save(&mut inner);
    }

    /// Persists the running time, so that a restart does not begin earlier than necessary. Blocks on the disk.
    pub fn checkpoint(&self) {
        self.announce();
        let mut inner = self.inner.lock();
        if inner.reconciler.state != RulesState::default() {
            self.save(&mut inner);
        }
    }

    /// Returns all findings about a text.
    pub fn check(&self, value: &str) -> Vec<Finding> {
        self.checker.check(value)
    }

    /// Returns the state of rule management.
    pub fn status(&self) -> RulesStatus {
        let mut inner = self.inner.lock();
        let now = self.now(&inner);
        inner.reconciler.state.budget.advance(now.running);
        let plan = inner.reconciler.plan(usize::MAX);
        let is_converged = inner.is_converged(&plan);
        let reconciler = &inner.reconciler;
        RulesStatus {
            mode: reconciler.policy.mode,
            damaged: inner.damaged.clone().unwrap_or_default(),
            denied: reconciler.denied.clone().unwrap_or_default(),
            refused_files: inner.refused_files.as_ref().map(|(_, reason)| reason.clone()).unwrap_or_default(),
            is_converged,
            operation: reconciler.state.operation.clone(),
            unknown_ids: inner.unknown_ids.keys().cloned().collect(),
            next_request: reconciler.next_request(now),
            pending: (plan.adds, plan.deletes),
        }
    }

    /// Returns the rules that are known and wanted, without a request.
    pub fn list(&self) -> RuleList {
        let mut list = list(&self.inner.lock().reconciler);
        for rule in &mut list.rules {
            rule.sightings = rule.id.as_ref().and_then(|id| self.events.sightings(id));
        }
        list
    }

    /// Returns the ids of the known rules with their tags.
    pub fn known(&self) -> Vec<(RuleId, Option<String>)> {
        let inner = self.inner.lock();
        let known = inner.reconciler.state.known.iter().flat_map(|known| &known.rules);
        known.filter_map(|rule| Some((rule.id.clone()?, rule.tag.clone()))).collect()
    }

    /// Returns the budget.
    pub fn budget(&self) -> BudgetStatus {
        let mut inner = self.inner.lock();
        let now = self.now(&inner);
        inner.reconciler.state.budget.advance(now.running);
        let limits = inner.reconciler.policy.budget;
        inner.reconciler.state.budget.status(&limits)
    }

    /// Returns an operation while it is kept, and the time until its next request, if it waits for a known time.
    pub fn operation(&self, id: OperationId) -> Option<(Operation, Option<Duration>)> {
        let mut inner = self.inner.lock();
        let now = self.now(&inner);
        inner.reconciler.state.budget.advance(now.running);
        let found = inner.reconciler.state.find_operation(id).cloned()?;
        let wait = if found.state.is_final() { None } else { inner.reconciler.next_request(now) };
        Some((found, wait))
    }

    /// Cancels an operation before its next request. An ended one is not changed. Blocks on the disk.
    pub fn cancel(&self, id: OperationId) -> Option<Operation> {
        let mut inner = self.inner.lock();
        let now = self.now(&inner);
        if inner.reconciler.cancel(id, now) {
            self.save(&mut inner);
        }
        let found = inner.reconciler.state.find_operation(id).cloned();
        drop(inner);
        self.notify();
        found
    }
}

impl Inner {
    fn is_converged(&self, plan: &Plan) -> bool {
        let state = &self.reconciler.state;
        let is_known = self.damaged.is_none() && state.known.is_some() && !state.is_stale;
        let is_applied = self.refused_files.is_none() && state.sets.values().all(|set| !set.suspended);
        is_known && is_applied && state.operation.is_none() && plan.is_converged() && plan.over_limit == 0
    }
}

impl Reconciler {
    /// Looks up which wanted rules have warnings.
    fn update_risky(&mut self, checker: &dyn RuleChecker) {
        let values = self.state.sets.values().flat_map(|set| &set.rules).map(|rule| &rule.value);
        let warned = values.filter(|value| checker.check(value).iter().any(|one| one.severity == Severity::Warning));
        self.risky = warned.cloned().collect();
    }
}

#[cfg(test)]
mod tests;
