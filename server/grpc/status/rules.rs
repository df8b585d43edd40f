//! Statuses of RuleService.

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use crate::access::Right;
use crate::model::AccountName;
use crate::query::{Finding, Severity};
use crate::rules::{ChangeError, SetError};

/// Retry delay if the state of the rules could not be written.
const DISK_RETRY: std::time::Duration = std::time::Duration::from_secs(10);
/// Maximum characters of the name of a set in a message.
const SET_CHARS_MAX: usize = 100;
/// Maximum violations in a status: its headers are limited.
const VIOLATIONS_MAX: usize = 20;

/// Returns the status for a change of rules that is refused.
pub fn rule_change_refused(error: &ChangeError) -> Status {
    let refuse = |code, reason| StatusBuilder::new(code, reason, error.to_string());
    match error {
        ChangeError::Damaged(_) => refuse(Code::FailedPrecondition, "RULES_UNUSABLE").status(),
        ChangeError::NotPersisted => refuse(Code::Unavailable, "NOT_READY").retry_after(DISK_RETRY).status(),
        ChangeError::Observed => refuse(Code::FailedPrecondition, "MODE_OBSERVE").status(),
        ChangeError::Suspended(set) => refuse(Code::FailedPrecondition, "MODE_OBSERVE").with("set", set).status(),
        ChangeError::SetOwned(set) => refuse(Code::FailedPrecondition, "SET_OWNED").with("set", set).status(),
        ChangeError::RevisionMismatch { actual, .. } => {
            refuse(Code::Aborted, "REVISION_MISMATCH").with("revision", actual).status()
        }
        ChangeError::Findings(findings) => {
            let found: Vec<_> = findings.iter().map(|(index, finding)| (Some(*index), finding.clone())).collect();
            invalid_rules(&found)
        }
        ChangeError::Set(errors) => invalid_set(errors),
        ChangeError::Guard { removals, max } => refuse(Code::FailedPrecondition, "DELETE_GUARD")
            .with("removals", removals)
            .with("removals_max", max)
            .status(),
        ChangeError::Emptied(set) => refuse(Code::FailedPrecondition, "DELETE_GUARD").with("set", set).status(),
        ChangeError::Budget { retry_after, .. } => refuse(Code::ResourceExhausted, "BUDGET_EXHAUSTED")
            .quota("rules.requests_max", &error.to_string())
            .retry_after(*retry_after)
            .status(),
        ChangeError::UnknownRule(name) => {
            let mut built = refuse(Code::NotFound, "RULE_NOT_FOUND");
            built.details.set_resource_info("rule", name, "", "not known");
            built.status()
        }
    }
}

/// Returns the status for a rule with findings.
pub fn rule_invalid(findings: &[Finding]) -> Status {
    let found: Vec<_> = findings.iter().cloned().map(|finding| (None, finding)).collect();
    invalid_rules(&found)
}

/// Returns the status for rules with findings.
fn invalid_rules(findings: &[(Option<usize>, Finding)]) -> Status {
    let errors: Vec<_> = findings.iter().filter(|(_, finding)| finding.severity == Severity::Error).collect();
    let message = format!("{} errors in rules; fix them and repeat the request", errors.len());
    let builder = StatusBuilder::new(Code::InvalidArgument, "RULE_INVALID", message);
    let described = errors.iter().take(VIOLATIONS_MAX).fold(builder, |builder, (index, finding)| {
        let Finding { code, message, advice, position, .. } = finding;
        let field = index.map_or_else(|| "value".to_owned(), |index| format!("rules[{index}].value"));
        builder.field(&field, &format!("{} at {position}: {message}; {advice}", code.as_str()))
    });
    described.status()
}

/// Returns the status for a set with invalid fields, conflicts, or too many rules.
fn invalid_set(errors: &[SetError]) -> Status {
    let is_conflict = |error: &SetError| matches!(error, SetError::Conflict { .. });
    let is_number = |error: &SetError| matches!(error, SetError::TooMany { .. } | SetError::TooManySets);
    let (code, reason) = if errors.iter().any(is_number) {
        (Code::FailedPrecondition, "TOO_MANY_RULES")
    } else if errors.iter().any(is_conflict) {
        (Code::InvalidArgument, "RULE_CONFLICT")
    } else {
        (Code::InvalidArgument, "RULE_INVALID")
    };
    let mut message = errors.first().map(ToString::to_string).unwrap_or_default();
    if errors.len() > 1 {
        message = format!("{message} (and {} more)", errors.len() - 1);
    }
    let builder = StatusBuilder::new(code, reason, message);
    let described = errors.iter().take(VIOLATIONS_MAX).fold(builder, |builder, error| {
        let field = match error {
            SetError::Field { index, field, .. } => format!("rules[{index}].{field}"),
            SetError::Conflict { index, .. } => format!("rules[{index}].tag"),
            SetError::Name | SetError::TooManySets => "set".to_owned(),
            SetError::TooMany { .. } => "rules".to_owned(),
        };
        builder.field(&field, &error.to_string())
    });
    described.status()
}

/// Returns the status for a set of rules that the caller may not change; `None`: what concerns all sets.
pub fn rule_set_denied(set: Option<&str>, account: &AccountName) -> Status {
    let right = Right::RulesWrite;
    let Some(set) = set else {
        let message = format!("right {right} on all sets of account {account} is required (roles[].rule_sets)");
        return StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).with("right", right).status();
    };
    let shown: String = set.chars().take(SET_CHARS_MAX).collect();
    let message = format!("right {right} on set {shown:?} of account {account} is required (roles[].rule_sets)");
    let built = StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message);
    built.with("right", right).with("set", shown).status()
}

/// Returns the status for an unknown operation.
pub fn operation_unknown(id: &str) -> Status {
    /// Maximum characters of an id in the message: no valid id is longer.
    const SHOWN_CHARS_MAX: usize = 32;
    let shown: String = id.chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("operation {shown:?} not found; it may have been removed after its end");
    let mut ended = StatusBuilder::new(Code::NotFound, "OPERATION_NOT_FOUND", message);
    ended.details.set_resource_info("rule_operation", shown, "", "not known");
    ended.status()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    fn check(error: &ChangeError, code: Code, reason: &str, fields: &[&str]) {
        let status = rule_change_refused(error);
        let details = status.get_error_details();
        assert_eq!((status.code(), details.error_info().expect("a reason").reason.as_str()), (code, reason));
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        let found: Vec<_> = violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(found, fields, "{error}");
    }

    #[test]
    fn refused_changes_have_reasons() {
        let settings = crate::query::QuerySettings::default();
        let finding = crate::query::check("fish AND bird", &settings).findings.remove(0);
        check(&ChangeError::Findings(vec![(3, finding)]), Code::InvalidArgument, "RULE_INVALID", &["rules[3].value"]);
        let field = SetError::Field { index: 1, field: "name", problem: "is used twice".to_owned() };
        check(&ChangeError::Set(vec![field]), Code::InvalidArgument, "RULE_INVALID", &["rules[1].name"]);
        let many = SetError::TooMany { count: 1_001, unmanaged: 0, max: 1_000 };
        check(&ChangeError::Set(vec![many]), Code::FailedPrecondition, "TOO_MANY_RULES", &["rules"]);
        let guard = ChangeError::Guard { removals: 100, max: 30 };
        check(&guard, Code::FailedPrecondition, "DELETE_GUARD", &[]);
        check(&ChangeError::Observed, Code::FailedPrecondition, "MODE_OBSERVE", &[]);
        check(&ChangeError::SetOwned("config".to_owned()), Code::FailedPrecondition, "SET_OWNED", &[]);
        let mismatch = ChangeError::RevisionMismatch { expected: 1, actual: 2 };
        check(&mismatch, Code::Aborted, "REVISION_MISMATCH", &[]);
        let retry_after = std::time::Duration::from_secs(60);
        let budget = ChangeError::Budget { requests: 2, available: 1, retry_after };
        check(&budget, Code::ResourceExhausted, "BUDGET_EXHAUSTED", &[]);
        let details = rule_change_refused(&budget).get_error_details();
        assert_eq!(details.retry_info().expect("a delay").retry_delay, Some(retry_after));
    }
}
