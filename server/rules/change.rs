//! Changes of sets: what is asked for, what it costs, and why it is refused.

use std::time::Duration;

use thiserror::Error;

use super::budget::BudgetAccess;
use super::check::RuleChecker;
use super::operation::Operation;
use super::plan_changes::PlannedChange;
use super::planner::Plan;
use super::policy::Mode;
use super::reconciler::{Now, Reconciler};
use super::rule::WantedRule;
use super::sets::{MANUAL_SET, SetError, check_fields, check_union};
use super::state::RulesState;
use crate::query::{Finding, Severity};

/// A change of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The set has these rules.
    Replace {
        /// Name of the set.
        set: String,
        /// Its rules.
        rules: Vec<WantedRule>,
    },
    /// The set `manual` has these rules in addition; one of the same name is replaced.
    Add(Vec<WantedRule>),
    /// The set `manual` has no rules of these names.
    Delete(Vec<String>),
}

/// How a change is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeOptions {
    /// The revision that the caller knows; `None`: any.
    pub expected_revision: Option<u64>,
    /// It is planned only.
    pub validate_only: bool,
    /// It may remove more rules than the guard allows.
    pub force: bool,
    /// It may use the reserve of the budget.
    pub use_reserve: bool,
    /// It is refused if the budget does not cover it now.
    pub no_wait: bool,
}

/// A change that was accepted or planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeReport {
    /// Warnings: place of the rule, and the finding.
    pub findings: Vec<(usize, Finding)>,
    /// The plan; its steps are the requests that the budget covers now.
    pub plan: Plan,
    /// Changes of single rules, by set and name.
    pub changes: Vec<PlannedChange>,
    /// Requests that are available before it.
    pub available: usize,
    /// Time until the next request is possible, if some of it waits for the budget.
    pub next_possible: Option<Duration>,
    /// Revision after the change.
    pub revision: u64,
    /// The operation that makes it; `None` if nothing is to be done, or it was planned only.
    pub operation: Option<Operation>,
}

/// A change that is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// The state cannot be read.
    #[error(
        "state of rules is unusable: {0}; replace it with RefreshRules and repair = true, which reads the rules from X"
    )]
    Damaged(String),
    /// The state cannot be written.
    #[error("change cannot be persisted; see the log for the error of the disk")]
    NotPersisted,
    /// The account is observed only.
    #[error("rules of this account are only observed; set rules.mode of the account to manage")]
    Observed,
    /// Changes of the set undo each other.
    #[error(
        "changes of set {0:?} undo each other, so that they are only observed; find the two writers, then repeat the change with force"
    )]
    Suspended(String),
    /// Another owner has the set.
    #[error("set {0:?} belongs to the files of the configuration; change the files")]
    SetOwned(String),
    /// The rules changed since the caller read them.
    #[error("revision is {actual}, not {expected}; list the rules again")]
    RevisionMismatch {
        /// What the caller knew.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// Rules are invalid: place of the rule, and the finding.
    #[error("{} invalid rules", .0.len())]
    Findings(Vec<(usize, Finding)>),
    /// Fields, tags or the number of rules are invalid.
    #[error("{}", list(.0))]
    Set(Vec<SetError>),
    /// Too many rules would be removed.
    #[error(
        "change removes {removals} rules, at most {max} without force (rules.removals_max); repeat it with force if that is meant"
    )]
    Guard {
        /// Rules that would be removed.
        removals: usize,
        /// Maximum.
        max: usize,
    },
    /// The set would become empty.
    #[error("change leaves no rule in set {0:?}; repeat it with force if that is meant")]
    Emptied(String),
    /// The budget does not cover it now.
    #[error("change needs {requests} requests, and {available} are available now")]
    Budget {
        /// Requests of the plan.
        requests: usize,
        /// Requests that are available.
        available: usize,
        /// Time until the next one is possible.
        retry_after: Duration,
    },
    /// A rule to be deleted does not exist.
    #[error("set manual has no rule {0:?}")]
    UnknownRule(String),
}

fn list(errors: &[SetError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Change {
    /// Returns the name of the set that changes.
    pub fn set(&self) -> &str {
        match self {
            Self::Replace { set, .. } => set,
            Self::Add(_) | Self::Delete(_) => MANUAL_SET,
        }
    }

    /// Returns the set that changes, and its rules afterwards.
    pub(super) fn resolve(self, state: &RulesState) -> Result<(String, Vec<WantedRule>), ChangeError> {
        let manual = || state.sets.get(MANUAL_SET).map(|set| set.rules.clone()).unwrap_or_default();
        match self {
            Self::Replace { set, rules } => Ok((set, rules)),
            Self::Add(added) => {
                let mut rules = manual();
                rules.retain(|own| added.iter().all(|new| new.name != own.name));
                rules.extend(added);
                Ok((MANUAL_SET.to_owned(), rules))
            }
            Self::Delete(names) => {
                let mut rules = manual();
                let unknown = names.iter().find(|name| rules.iter().all(|own| own.name != **name));
                if let Some(name) = unknown {
                    return Err(ChangeError::UnknownRule(name.clone()));
                }
                rules.retain(|own| !names.contains(&own.name));
                Ok((MANUAL_SET.to_owned(), rules))
            }
        }
    }
}

/// Checks a change and plans it.
pub(super) fn check(
    reconciler: &Reconciler,
    (set, rules): (&str, &[WantedRule]),
    options: &ChangeOptions,
    checker: &dyn RuleChecker,
    now: Now,
) -> Result<ChangeReport, ChangeError> {
    let (state, policy) = (&reconciler.state, &reconciler.policy);
    if policy.mode == Mode::Observe && !options.validate_only {
        return Err(ChangeError::Observed);
    }
    if let Some(expected) = options.expected_revision.filter(|expected| *expected != state.revision) {
        return Err(ChangeError::RevisionMismatch { expected, actual: state.revision });
    }
    let invalid = check_fields(set, rules, &policy.limits);
    if !invalid.is_empty() {
        return Err(ChangeError::Set(invalid));
    }
    let findings = findings(rules, checker)?;
    let mut budget = state.budget.clone();
    budget.advance(now.running);
    let access = if options.use_reserve { BudgetAccess::Reserve } else { BudgetAccess::Ordinary };
    let available = budget.available(access, &policy.budget);
    let plan = reconciler.plan_with(set, rules, available);
    let invalid = check_union(&state.sets, set, rules, plan.unmanaged, &policy.limits);
    if !invalid.is_empty() {
        return Err(ChangeError::Set(invalid));
    }
    let (removals, max) = (plan.removals, reconciler.removals_max());
    if !options.force && removals > max {
        return Err(ChangeError::Guard { removals, max });
    }
    if !options.force && rules.is_empty() && state.sets.contains_key(set) && set != MANUAL_SET {
        return Err(ChangeError::Emptied(set.to_owned()));
    }
    if options.no_wait && plan.requests > available {
        let retry_after = budget.wait(access, &policy.budget);
        return Err(ChangeError::Budget { requests: plan.requests, available, retry_after });
    }
    let next_possible = (plan.requests > available).then(|| budget.wait(access, &policy.budget));
    let changes = reconciler.changes_with(set, rules);
    Ok(ChangeReport { findings, plan, changes, available, next_possible, revision: state.revision, operation: None })
}

/// Returns the warnings about rules, or all findings if one is an error.
fn findings(rules: &[WantedRule], checker: &dyn RuleChecker) -> Result<Vec<(usize, Finding)>, ChangeError> {
    let of = |(n, rule): (usize, &WantedRule)| checker.check(&rule.value).into_iter().map(move |one| (n, one));
    let found: Vec<_> = rules.iter().enumerate().flat_map(of).collect();
    match found.iter().any(|(_, one)| one.severity == Severity::Error) {
        true => Err(ChangeError::Findings(found)),
        false => Ok(found),
    }
}
