//! Changes of sets by callers and by files.

use super::{AccountRules, Inner};
use crate::rules::audit::{AuditLine, PlanSummary};
use crate::rules::change::{Change, ChangeError, ChangeOptions, ChangeReport, check};
use crate::rules::policy::Mode;
use crate::rules::rule::WantedRule;
use crate::rules::sets::CONFIG_SET;

/// Principal and cause of changes by files.
const FILE: &str = "file";
/// Cause of changes by callers.
const RPC: &str = "rpc";

/// Origin of a change: its caller, and its cause.
struct Source<'a> {
    principal: &'a str,
    cause: &'static str,
}

impl AccountRules {
    /// Changes a set, or plans the change only. Blocks on the disk.
    pub fn change(
        &self,
        change: Change,
        options: &ChangeOptions,
        principal: &str,
    ) -> Result<ChangeReport, ChangeError> {
        let mut inner = self.inner.lock();
        if let Some(damaged) = &inner.damaged {
            return Err(ChangeError::Damaged(damaged.clone()));
        }
        if let Change::Replace { set, rules } = &change
            && set == CONFIG_SET
            && inner.has_files
            && !options.validate_only
        {
            let is_pending = inner.refused_files.as_ref().is_some_and(|(pending, _)| pending == rules);
            if !(options.force && is_pending) {
                return Err(ChangeError::SetOwned(set.clone()));
            }
        }
        let rules = change.resolve(&inner.reconciler.state)?;
        let applied = self.apply(&mut inner, rules, options, &Source { principal, cause: RPC });
        drop(inner);
        self.notify();
        applied
    }

    fn apply(
        &self,
        inner: &mut Inner,
        (set, rules): (String, Vec<WantedRule>),
        options: &ChangeOptions,
        source: &Source<'_>,
    ) -> Result<ChangeReport, ChangeError> {
        let count = rules.len();
        let result = self.apply_checked(inner, (&set, rules), options, source);
        let is_unchanged = result.as_ref().is_ok_and(|report| report.operation.is_none());
        if options.validate_only || is_unchanged {
            return result;
        }
        let refused = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.audit(&AuditLine::Change {
            principal: source.principal,
            set: &set,
            rules: count,
            plan: result.as_ref().ok().map(|report| PlanSummary::of(&report.plan)),
            force: options.force,
            use_reserve: options.use_reserve,
            operation: result.as_ref().ok().and_then(|report| Some(report.operation.as_ref()?.id)),
            refused: &refused,
        });
        result
    }

    fn apply_checked(
        &self,
        inner: &mut Inner,
        (set, rules): (&str, Vec<WantedRule>),
        options: &ChangeOptions,
        source: &Source<'_>,
    ) -> Result<ChangeReport, ChangeError> {
        let now = self.now(inner);
        let checked = check(&inner.reconciler, (set, &rules), options, &*self.checker, now);
        self.metrics.count_findings(&checked);
        let mut report = checked?;
        let stored = inner.reconciler.state.sets.get(set);
        let is_same = stored.map_or(rules.is_empty(), |own| own.rules == rules);
        let is_suspended = stored.is_some_and(|own| own.suspended);
        if options.validate_only || (is_same && report.plan.requests == 0 && !(is_suspended && options.force)) {
            return Ok(report);
        }
        let before = inner.reconciler.clone();
        let is_undone = stored.is_some_and(|own| own.history.is_undone_again(&rules, now.time));
        if !options.force && (is_suspended || is_undone) {
            if let Some(stored) = inner.reconciler.state.sets.get_mut(set).filter(|own| !own.suspended) {
                stored.suspended = true;
                tracing::error!(account = %self.account, set, "changes of a set undo each other, set is suspended");
                self.save(inner);
            }
            return Err(ChangeError::Suspended(set.to_owned()));
        }
        inner.reconciler.state.set_rules(set, rules.clone(), now.time);
        if let Some(stored) = inner.reconciler.state.sets.get_mut(set) {
            if options.force {
                stored.history = Default::default();
            }
            stored.suspended = false;
            stored.history.push(&rules, now.time);
        }
        let operation = inner.reconciler.on_change(source.cause, now);
        operation.force |= options.force;
        operation.use_reserve |= options.use_reserve;
        report.operation = Some(operation.clone());
        inner.reconciler.update_risky(&*self.checker);
        if !self.save(inner) {
            inner.reconciler = before;
            return Err(ChangeError::NotPersisted);
        }
        report.revision = inner.reconciler.state.revision;
        if set == CONFIG_SET {
            inner.refused_files = None;
        }
        let (adds, deletes, requests) = (report.plan.adds, report.plan.deletes, report.plan.requests);
        let (principal, cause) = (source.principal, source.cause);
        tracing::info!(account = %self.account, set, principal, cause, adds, deletes, requests, "set of rules changed");
        Ok(report)
    }

    /// Applies the rules of the configured files. They stay refused until they change. Blocks on the disk.
    pub(in crate::rules) fn apply_files(&self, rules: Vec<WantedRule>) {
        let mut inner = self.inner.lock();
        inner.has_files = true;
        if inner.damaged.is_some() || inner.last_files.as_ref() == Some(&rules) {
            return;
        }
        let manages = inner.reconciler.policy.mode == Mode::Manage;
        let options = ChangeOptions { validate_only: !manages, ..ChangeOptions::default() };
        let source = Source { principal: FILE, cause: FILE };
        let applied = self.apply(&mut inner, (CONFIG_SET.to_owned(), rules.clone()), &options, &source);
        inner.refused_files = None;
        match applied {
            // It is tried again.
            Err(ChangeError::NotPersisted) => return,
            Err(error) => {
                tracing::error!(account = %self.account, %error, "rules of files are not applied");
                inner.refused_files = Some((rules.clone(), error.to_string()));
            }
            Ok(_) => {}
        }
        inner.last_files = Some(rules);
        drop(inner);
        self.notify();
    }

    /// Records that the configured files cannot be read: what they last contained stays in force.
    pub(in crate::rules) fn refuse_files(&self, reason: &str) {
        let mut inner = self.inner.lock();
        inner.has_files = true;
        if inner.refused_files.as_ref().is_none_or(|(_, own)| own != reason) {
            tracing::error!(account = %self.account, error = reason, "rules of files are not applied");
            inner.refused_files = Some((Vec::new(), reason.to_owned()));
            inner.last_files = None;
        }
    }
}
