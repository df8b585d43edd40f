use std::time::Duration;

use serde_json::{Value, json};

use super::api_config::{DuplicateAnswer, InvalidRules, RulesApiConfig};
use super::envelope::{AddOutcome, DeleteOutcome, EnvelopeWriter, invalid_request};
use super::rule_set::{AddResult, NewRule, REQUEST_WINDOW, RuleError, RuleSet, StoredRule};
use crate::clock::Moment;
use crate::model::UnixMillis;
use crate::simulator::faults::{RuleFault, RuleMethod};

/// Rules of one request (Powerstream introduction).
const RULES_PER_REQUEST_MAX: usize = 100;

/// An answer of the rules endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::simulator) struct RulesResponse {
    pub(in crate::simulator) status: u16,
    pub(in crate::simulator) body: Value,
    pub(in crate::simulator) budget: RequestBudget,
}

/// The requests of 24 hours, as in the headers of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct RequestBudget {
    pub(in crate::simulator) limit: usize,
    pub(in crate::simulator) remaining: usize,
    /// Unix seconds.
    pub(in crate::simulator) reset: i64,
}

/// A request and its environment.
pub(in crate::simulator) struct RequestContext<'a> {
    pub(in crate::simulator) moment: Moment,
    pub(in crate::simulator) wall: UnixMillis,
    /// When added rules begin to match.
    pub(in crate::simulator) effective: Moment,
    /// When removed rules no longer match.
    pub(in crate::simulator) removed: Moment,
    pub(in crate::simulator) id: &'a mut dyn FnMut() -> u64,
    pub(in crate::simulator) config: RulesApiConfig,
    /// The injected fault, and the value that it is for.
    pub(in crate::simulator) fault: Option<(RuleFault, Option<String>)>,
}

/// Serves a request.
pub(in crate::simulator) fn answer(
    rules: &RuleSet,
    method: RuleMethod,
    body: &[u8],
    context: &mut RequestContext<'_>,
) -> RulesResponse {
    let limited = || (429, json!({"errors": [{"code": 88, "message": "Rate limit exceeded"}]}));
    let ((status, body), remaining, reset_in) = match (rules.spend(context.moment), &context.fault) {
        (Err(wait), _) => (limited(), 0, wait),
        (Ok(_), Some((RuleFault::RateLimited { reset_in }, _))) => (limited(), 0, *reset_in),
        (Ok(remaining), _) => (serve(rules, method, body, context), remaining, REQUEST_WINDOW),
    };
    let reset = context.wall.plus(reset_in + Duration::from_millis(999)).0 / 1_000;
    RulesResponse { status, body, budget: RequestBudget { limit: rules.requests_max(), remaining, reset } }
}

/// Values and ids that a body names.
pub(in crate::simulator) fn named_rules(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |entry: &Value| match entry.get("value").or_else(|| entry.get("id")) {
        Some(inner) => text(inner),
        None => text(entry),
    };
    deletion_entries(&body).into_iter().map(of).collect()
}

fn serve(rules: &RuleSet, method: RuleMethod, body: &[u8], context: &mut RequestContext<'_>) -> (u16, Value) {
    let writer = EnvelopeWriter { config: context.config, now: context.wall };
    match method {
        RuleMethod::Get => (200, writer.list(&rules.list())),
        RuleMethod::Post => add(rules, body, context, &writer),
        RuleMethod::Delete => delete(rules, body, context, &writer),
    }
}

fn add(rules: &RuleSet, body: &[u8], context: &mut RequestContext<'_>, writer: &EnvelopeWriter) -> (u16, Value) {
    let mut wanted = match wanted(body) {
        Ok(wanted) => wanted,
        Err(detail) => return (400, invalid_request(&detail)),
    };
    if context.config.trim_values {
        wanted.iter_mut().for_each(|rule| rule.value = rule.value.trim().to_owned());
    }
    if let Some(refused) = injected_refusal(&wanted, context, writer) {
        return refused;
    }
    let applied = context.applied(wanted.len());
    let config = context.config;
    let mut outcomes: Vec<AddOutcome> = wanted.drain(..applied).map(|rule| checked(rules, rule, config)).collect();
    let has_invalid = outcomes.iter().any(|outcome| !matches!(outcome, AddOutcome::Refused(_)));
    let is_refused = has_invalid
        && (matches!(config.invalid, InvalidRules::RefuseAll | InvalidRules::RefuseAllUnnamed)
            || outcomes.iter().any(|outcome| matches!(outcome, AddOutcome::Duplicate(_))));
    if is_refused {
        return (config.invalid_status, writer.refused(&outcomes, config.invalid != InvalidRules::RefuseAllUnnamed));
    }
    if config.invalid == InvalidRules::DropInvalid {
        outcomes.retain(|outcome| matches!(outcome, AddOutcome::Refused(_)));
    }
    match apply(rules, &mut outcomes, context) {
        Ok(()) => (config.added_status, writer.added(&outcomes)),
        Err(error) => (config.invalid_status, writer.refused(&all_refused(outcomes, &error), true)),
    }
}

/// A refusal by an injected fault.
fn injected_refusal(wanted: &[NewRule], context: &RequestContext<'_>, writer: &EnvelopeWriter) -> Option<(u16, Value)> {
    let refuse = |is_blamed: &dyn Fn(usize, &NewRule) -> bool, text: &str| -> Vec<AddOutcome> {
        let outcome = |(at, rule): (usize, &NewRule)| match is_blamed(at, rule) {
            true => AddOutcome::Invalid(rule.clone(), text.to_owned()),
            false => AddOutcome::Refused(rule.clone()),
        };
        wanted.iter().enumerate().map(outcome).collect()
    };
    match &context.fault {
        Some((RuleFault::Invalid { status, named }, value)) => {
            let is_blamed = |at: usize, rule: &NewRule| value.as_ref().map_or(at == 0, |value| rule.value == *value);
            let outcomes = refuse(&is_blamed, "Rules must contain a non-negation term (at position 1)\n");
            Some((*status, writer.refused(&outcomes, *named)))
        }
        Some((RuleFault::OverCap, _)) => {
            let outcomes = refuse(&|_, _| true, &RuleError::TooMany.to_string());
            Some((context.config.invalid_status, writer.refused(&outcomes, true)))
        }
        _ => None,
    }
}

/// A rule before it is added: `Refused` is one that can be.
fn checked(rules: &RuleSet, rule: NewRule, config: RulesApiConfig) -> AddOutcome {
    match (rule.check(), config.duplicates) {
        (Err(error), _) => AddOutcome::Invalid(rule, error.to_string()),
        (Ok(()), DuplicateAnswer::Refused) => match rules.with_value(&rule.value) {
            Some(there) => AddOutcome::Duplicate(there),
            None => AddOutcome::Refused(rule),
        },
        (Ok(()), _) => AddOutcome::Refused(rule),
    }
}

/// Adds the rules that can be added.
fn apply(rules: &RuleSet, outcomes: &mut [AddOutcome], context: &mut RequestContext<'_>) -> Result<(), RuleError> {
    let valid = outcomes.iter().filter_map(|outcome| match outcome {
        AddOutcome::Refused(rule) => Some(rule.clone()),
        _ => None,
    });
    let valid: Vec<NewRule> = valid.collect();
    let added = rules.add(&valid, &mut *context.id, context.effective)?;
    let places = outcomes.iter_mut().filter(|outcome| matches!(outcome, AddOutcome::Refused(_)));
    for (place, result) in places.zip(added) {
        *place = match result {
            AddResult::New(rule) => AddOutcome::Added(rule),
            AddResult::Duplicate(rule) => AddOutcome::Duplicate(rule),
        };
    }
    Ok(())
}

fn all_refused(outcomes: Vec<AddOutcome>, error: &RuleError) -> Vec<AddOutcome> {
    let refused = |outcome| match outcome {
        AddOutcome::Refused(rule) => AddOutcome::Invalid(rule, error.to_string()),
        other => other,
    };
    outcomes.into_iter().map(refused).collect()
}

fn delete(rules: &RuleSet, body: &[u8], context: &RequestContext<'_>, writer: &EnvelopeWriter) -> (u16, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (400, invalid_request(FORMAT));
    };
    let wanted = deletion_entries(&body);
    if wanted.is_empty() {
        return (400, invalid_request(FORMAT));
    }
    if wanted.len() > RULES_PER_REQUEST_MAX {
        return (400, invalid_request("A request may have 100 rules at most."));
    }
    if let Some((RuleFault::Invalid { status, .. }, _)) = context.fault {
        return (status, invalid_request(FORMAT));
    }
    let applied = context.applied(wanted.len());
    let outcome = |entry: &&Value| match rules.remove(|rule| is_meant(entry, rule), context.moment, context.removed) {
        Some(rule) => DeleteOutcome::Deleted(rule),
        None => DeleteOutcome::Missing((*entry).clone()),
    };
    let outcomes: Vec<DeleteOutcome> = wanted[..applied].iter().map(outcome).collect();
    (200, writer.deleted(&outcomes))
}

impl RequestContext<'_> {
    /// How many of these rules a request applies.
    fn applied(&self, rules: usize) -> usize {
        match self.fault {
            Some((RuleFault::Partial { applied }, _)) => applied.min(rules),
            _ => rules,
        }
    }
}

/// Entries of a body that deletes rules.
fn deletion_entries(body: &Value) -> Vec<&Value> {
    let lists = ["rules", "rule_ids", "ids"].map(|key| body.get(key).and_then(Value::as_array));
    lists.into_iter().flatten().flatten().collect()
}

/// By id as a number or text, alone or in an object; else by value.
fn is_meant(one: &Value, rule: &StoredRule) -> bool {
    let id = if one.is_object() { &one["id"] } else { one };
    match id {
        Value::Number(number) => number.as_u64() == Some(rule.id),
        Value::String(text) => *text == rule.id.to_string(),
        _ => one["value"].as_str() == Some(&rule.value),
    }
}

const FORMAT: &str = "Invalid JSON. The body must be in the format {\"rules\":[{\"value\":\"rule1\", \"tag\":\"tag1\"}, \
                      {\"value\":\"rule2\"}]} or {\"rule_ids\": [rule_id1, rule_id2]}";

fn wanted(body: &[u8]) -> Result<Vec<NewRule>, String> {
    let body: Value = serde_json::from_slice(body).map_err(|_| FORMAT.to_owned())?;
    let list = body["rules"].as_array().filter(|list| !list.is_empty()).ok_or(FORMAT)?;
    if list.len() > RULES_PER_REQUEST_MAX {
        return Err("A request may have 100 rules at most.".into());
    }
    list.iter()
        .map(|rule| {
            let value = rule["value"].as_str().ok_or(FORMAT)?.to_owned();
            match &rule["tag"] {
                Value::Null => Ok(NewRule { value, tag: None }),
                Value::String(tag) => Ok(NewRule { value, tag: Some(tag.clone()) }),
                _ => Err(FORMAT.to_owned()),
            }
        })
        .collect()
}
