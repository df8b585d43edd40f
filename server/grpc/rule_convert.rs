//! Rules in the messages of RuleService.

use std::time::Duration;

use prost::Message;
use tonic::Status;

use super::convert::{duration, timestamp};
use super::status;
use crate::proto;
use crate::query::{Finding, Severity};
use crate::rules::{
    BudgetStatus, ChangeKind, ChangeOptions, ChangeReport, CheckFinding, Mode, Operation, OperationState,
    PlannedChange, RuleState, RuleView, RulesStatus, SetCode, SetView, WantedRule,
};

/// Bytes of changes in a plan; further ones are counted.
const CHANGES_BYTES_MAX: usize = 250_000;

/// Converts a count; no count is near the limit.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Returns the wanted rules of a request: the tag is the name if there is none.
pub fn wanted(rules: Vec<proto::WantedRule>) -> Vec<WantedRule> {
    let rule = |rule: proto::WantedRule| WantedRule {
        tag: if rule.tag.is_empty() { rule.name.clone() } else { rule.tag },
        name: rule.name,
        value: rule.value,
        note: rule.note,
    };
    rules.into_iter().map(rule).collect()
}

/// Returns the rules of a check: name and tag may be missing.
pub fn wanted_as_given(rules: Vec<proto::WantedRule>) -> Vec<WantedRule> {
    let rule = |rule: proto::WantedRule| {
        let proto::WantedRule { name, value, tag, note } = rule;
        WantedRule { name, value, tag, note }
    };
    rules.into_iter().map(rule).collect()
}

/// Returns the options of a change.
pub fn options(options: Option<proto::RuleChangeOptions>) -> ChangeOptions {
    let given = options.unwrap_or_default();
    ChangeOptions {
        expected_revision: given.expected_revision,
        validate_only: given.validate_only,
        force: given.force,
        use_reserve: given.use_reserve,
        no_wait: given.no_wait,
    }
}

/// Converts a rule.
pub fn rule(view: &RuleView) -> proto::Rule {
    let (set, name) = view.name.clone().map(|own| (own.set, own.name)).unwrap_or_default();
    proto::Rule {
        set,
        name,
        rule_id: view.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        value: view.value.clone(),
        tag: view.tag.clone(),
        note: view.note.clone(),
        state: rule_state(view.state).into(),
        rejection: view.message.clone(),
        added_time: view.added_time.map(timestamp),
        first_known_time: view.first_known_time.map(timestamp),
        first_seen_time: view.sightings.and_then(|seen| seen.first_seen_time).map(timestamp),
        last_seen_time: view.sightings.and_then(|seen| seen.last_seen_time).map(timestamp),
        matches_24h: view.sightings.map(|seen| seen.matches_24h),
        drifted: view.sightings.is_some_and(|seen| seen.drifted),
        value_at_x: view.value_at_x.clone(),
    }
}

/// Converts the state of a rule.
pub fn rule_state(state: RuleState) -> proto::RuleState {
    match state {
        RuleState::Active => proto::RuleState::Active,
        RuleState::PendingAdd => proto::RuleState::PendingAdd,
        RuleState::PendingDelete => proto::RuleState::PendingDelete,
        RuleState::Rejected => proto::RuleState::Rejected,
        RuleState::Unknown => proto::RuleState::Unknown,
        RuleState::Unmanaged => proto::RuleState::Unmanaged,
    }
}

/// Converts a mode.
pub fn mode(mode: Mode) -> proto::RuleMode {
    match mode {
        Mode::Observe => proto::RuleMode::Observe,
        Mode::Manage => proto::RuleMode::Manage,
    }
}

/// Returns what is wrong with rule management, for people.
pub fn problem(status: &RulesStatus) -> String {
    let problems = [&status.damaged, &status.denied, &status.refused_files];
    problems.into_iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("; ")
}

/// Converts a finding about the text of the rule at a place.
pub fn finding(index: usize, finding: &Finding) -> proto::RuleFinding {
    proto::RuleFinding {
        rule_index: count(index),
        severity: severity(finding.severity).into(),
        code: finding.code.as_str().to_owned(),
        message: finding.message.clone(),
        advice: finding.advice.clone(),
        position: count(finding.position),
        end: count(finding.end),
        suggestion: finding.suggestion.clone().unwrap_or_default(),
        byte_start: count(finding.byte_start),
        byte_end: count(finding.byte_end),
        field: "value".to_owned(),
    }
}

/// Converts a finding of a check.
pub fn check_finding(index: usize, found: &CheckFinding) -> proto::RuleFinding {
    match found {
        CheckFinding::Text(own) => finding(index, own),
        CheckFinding::Set(own) => proto::RuleFinding {
            rule_index: count(index),
            severity: severity(own.code.severity()).into(),
            code: own.code.as_str().to_owned(),
            message: own.message.clone(),
            advice: own.advice.clone(),
            field: field(own.code).to_owned(),
            ..proto::RuleFinding::default()
        },
    }
}

fn field(code: SetCode) -> &'static str {
    match code {
        SetCode::DuplicateName => "name",
        SetCode::TagTooLong => "tag",
        SetCode::UnusedAllow => "allow",
        SetCode::DuplicateValue | SetCode::EquivalentRules | SetCode::TooManyRules => "value",
    }
}

fn severity(severity: Severity) -> proto::RuleFindingSeverity {
    match severity {
        Severity::Error => proto::RuleFindingSeverity::Error,
        Severity::Warning => proto::RuleFindingSeverity::Warning,
    }
}

/// Converts a set.
pub fn set(set: &SetView) -> proto::RuleSet {
    proto::RuleSet {
        set: set.name.clone(),
        rule_count: count(set.rules),
        update_time: Some(timestamp(set.changed_time)),
        suspended_reason: set.suspended_reason.clone(),
    }
}

/// Returns the parts of an accepted or planned change: findings, plan and operation.
pub fn report(
    report: &ChangeReport,
) -> (Vec<proto::RuleFinding>, Option<proto::RulePlan>, Option<proto::RuleOperation>) {
    let findings = report.findings.iter().map(|(index, one)| finding(*index, one)).collect();
    let operation = report.operation.as_ref().map(|own| operation(own, None));
    (findings, Some(plan(report)), operation)
}

fn plan(report: &ChangeReport) -> proto::RulePlan {
    let plan = &report.plan;
    let (mut changes, mut bytes) = (Vec::new(), 0);
    for own in &report.changes {
        let own = change(own);
        bytes += own.encoded_len();
        if bytes > CHANGES_BYTES_MAX {
            break;
        }
        changes.push(own);
    }
    proto::RulePlan {
        adds: count(plan.adds),
        deletes: count(plan.deletes),
        retags: count(plan.retags),
        kept: count(plan.kept),
        unmanaged: count(plan.unmanaged),
        rejected: count(plan.rejected),
        coverage_breaks: count(plan.coverage_breaks()),
        requests: count(plan.requests),
        available_requests: count(report.available),
        available_requests_after: count(report.available.saturating_sub(plan.steps.len())),
        pending_adds: count(plan.pending.0),
        pending_deletes: count(plan.pending.1),
        next_possible_after: report.next_possible.map(duration),
        omitted_changes: count(report.changes.len() - changes.len()),
        changes,
    }
}

fn change(change: &PlannedChange) -> proto::RuleChange {
    let kind = match change.kind {
        ChangeKind::Add => proto::RuleChangeKind::Add,
        ChangeKind::Delete => proto::RuleChangeKind::Delete,
        ChangeKind::Replace => proto::RuleChangeKind::Replace,
        ChangeKind::Retag => proto::RuleChangeKind::Retag,
    };
    let (set, name) = change.name.clone().map(|own| (own.set, own.name)).unwrap_or_default();
    let removed = change.removed.as_ref().map(|own| (own.value.clone(), own.tag.clone().unwrap_or_default()));
    let added = change.added.as_ref().map(|own| (own.value.clone(), own.tag.clone()));
    let ((value, tag), (previous_value, previous_tag)) = match added {
        Some(added) => (added, removed.unwrap_or_default()),
        None => (removed.unwrap_or_default(), (String::new(), String::new())),
    };
    proto::RuleChange { kind: kind.into(), set, name, value, tag, previous_value, previous_tag }
}

/// Converts an operation, with the time until its next request.
pub fn operation(operation: &Operation, next: Option<Duration>) -> proto::RuleOperation {
    let state = match operation.state {
        OperationState::Waiting => proto::RuleOperationState::Waiting,
        OperationState::Running => proto::RuleOperationState::Running,
        OperationState::Succeeded => proto::RuleOperationState::Succeeded,
        OperationState::Failed => proto::RuleOperationState::Failed,
        OperationState::Cancelled => proto::RuleOperationState::Cancelled,
    };
    proto::RuleOperation {
        operation_id: operation.id.to_string(),
        state: state.into(),
        cause: operation.cause.clone(),
        create_time: Some(timestamp(operation.created_time)),
        update_time: Some(timestamp(operation.changed_time)),
        requests: i32::try_from(operation.requests).unwrap_or(i32::MAX),
        remaining_requests: count(operation.steps.len()),
        pending_adds: count(operation.pending.0),
        pending_deletes: count(operation.pending.1),
        error: operation.error.clone(),
        next_request_after: next.map(duration),
        rejected: count(operation.rejected),
    }
}

/// Converts a budget with its limits.
pub fn budget(budget: &BudgetStatus) -> proto::RuleBudget {
    proto::RuleBudget {
        limit: count(budget.limit),
        used: count(budget.used),
        reserve: count(budget.reserve),
        available: count(budget.available),
        x_remaining: budget.x_remaining,
        resets: budget.resets.iter().copied().map(duration).collect(),
        next_possible_after: (!budget.next_possible.is_zero()).then(|| duration(budget.next_possible)),
    }
}

/// Parses states of a request. Returns START_INVALID for an unknown state.
pub fn states(given: &[i32]) -> Result<Vec<proto::RuleState>, Status> {
    let known =
        |state: &i32| proto::RuleState::try_from(*state).ok().filter(|state| *state != proto::RuleState::Unspecified);
    let all: Option<Vec<_>> = given.iter().map(known).collect();
    all.ok_or_else(|| status::start_invalid("states", "contains an unknown state or UNSPECIFIED"))
}
