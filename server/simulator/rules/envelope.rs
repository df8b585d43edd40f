use serde_json::{Value, json};

use super::api_config::{DeletedForm, DuplicateAnswer, RuleEnvelope, RuleErrorEnvelope, RuleIdForm, RulesApiConfig};
use super::rule_set::{NewRule, StoredRule};
use crate::model::UnixMillis;

/// PowerTrack's text for a rule whose value exists.
const DUPLICATE: &str = "A rule with this value already exists";
const PROBLEMS: &str = "https://api.x.com/2/problems";

/// What became of a rule of a request to add rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AddOutcome {
    Added(StoredRule),
    Duplicate(StoredRule),
    /// With X's text.
    Invalid(NewRule, String),
    /// A valid rule of a refused request.
    Refused(NewRule),
}

/// What became of an entry of a request to delete rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DeleteOutcome {
    Deleted(StoredRule),
    /// No rule is like this.
    Missing(Value),
}

/// Writes bodies in the variants of the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnvelopeWriter {
    pub(super) config: RulesApiConfig,
    pub(super) now: UnixMillis,
}

impl EnvelopeWriter {
    pub(super) fn list(&self, rules: &[StoredRule]) -> Value {
        let rules: Vec<Value> = rules.iter().map(|rule| self.rule(rule)).collect();
        match self.config.envelope {
            RuleEnvelope::DataRules => json!({"data": {"rules": rules}, "meta": {"sent": self.sent()}}),
            RuleEnvelope::Data => with_data(json!({"meta": {"sent": self.sent(), "result_count": rules.len()}}), rules),
            RuleEnvelope::Detail => json!({"rules": rules, "sent": self.sent()}),
        }
    }

    /// A request that was served, as a whole or in part.
    pub(super) fn added(&self, outcomes: &[AddOutcome]) -> Value {
        let added = outcomes.iter().filter_map(|outcome| match outcome {
            AddOutcome::Added(rule) => Some(self.rule(rule)),
            _ => None,
        });
        let added: Vec<Value> = added.collect();
        let errors: Vec<Value> = outcomes.iter().filter_map(|outcome| self.error(outcome)).collect();
        let mut body = match self.config.envelope {
            RuleEnvelope::DataRules => json!({"data": {"rules": added}}),
            RuleEnvelope::Data => with_data(json!({"meta": self.meta(outcomes)}), added),
            RuleEnvelope::Detail => return self.summary(outcomes),
        };
        if !errors.is_empty() {
            body["errors"] = errors.into();
        }
        body
    }

    /// A request that was refused as a whole; without names, no rule is named.
    pub(super) fn refused(&self, outcomes: &[AddOutcome], is_named: bool) -> Value {
        let first = outcomes.iter().find_map(|outcome| message(outcome)).unwrap_or("Invalid rules");
        let sent = self.sent();
        match (self.config.errors, is_named) {
            (RuleErrorEnvelope::Summary, true) => self.summary(outcomes),
            (RuleErrorEnvelope::ErrorDetail, true) => {
                let detail: Vec<Value> = outcomes
                    .iter()
                    .filter_map(|outcome| Some(json!({"rule": wanted(outcome), "message": message(outcome)?})))
                    .collect();
                json!({"error": {"message": "One or more rules are invalid", "detail": detail}, "sent": sent})
            }
            (RuleErrorEnvelope::Errors, true) => {
                let errors: Vec<Value> = outcomes.iter().filter_map(|outcome| self.error(outcome)).collect();
                json!({"meta": self.meta(outcomes), "errors": errors})
            }
            (RuleErrorEnvelope::Errors, false) => invalid_request(first),
            (_, false) | (RuleErrorEnvelope::ErrorMessage, _) => json!({"error": {"message": first, "sent": sent}}),
        }
    }

    pub(super) fn deleted(&self, outcomes: &[DeleteOutcome]) -> Value {
        let deleted = outcomes.iter().filter_map(|outcome| match outcome {
            DeleteOutcome::Deleted(rule) => Some(self.rule(rule)),
            DeleteOutcome::Missing(_) => None,
        });
        let deleted: Vec<Value> = deleted.collect();
        let missing = outcomes.iter().filter_map(|outcome| match outcome {
            DeleteOutcome::Missing(wanted) => Some(wanted.clone()),
            DeleteOutcome::Deleted(_) => None,
        });
        let missing: Vec<Value> = missing.collect();
        let detail =
            missing.iter().map(|rule| json!({"rule": rule, "deleted": false, "message": "Rule does not exist"}));
        let detail: Vec<Value> = detail.collect();
        let counts = match self.config.deleted {
            DeletedForm::Counts => json!({"deleted": deleted.len(), "not_deleted": missing.len()}),
            DeletedForm::Lists => json!({"deleted": deleted, "not_deleted": missing}),
        };
        match self.config.envelope {
            RuleEnvelope::DataRules => json!({"data": counts}),
            RuleEnvelope::Data => json!({"meta": {"sent": self.sent(), "summary": counts}}),
            RuleEnvelope::Detail => json!({"summary": counts, "detail": detail, "sent": self.sent()}),
        }
    }

    fn sent(&self) -> String {
        self.now.to_string()
    }

    fn id(&self, id: u64) -> Value {
        match self.config.ids {
            RuleIdForm::Text => id.to_string().into(),
            RuleIdForm::Number => id.into(),
        }
    }

    fn rule(&self, rule: &StoredRule) -> Value {
        let mut json = json!({"id": self.id(rule.id), "value": rule.value});
        if let Some(tag) = &rule.tag {
            json["tag"] = json!(**tag);
        }
        json
    }

    fn meta(&self, outcomes: &[AddOutcome]) -> Value {
        let added = outcomes.iter().filter(|outcome| matches!(outcome, AddOutcome::Added(_))).count();
        let invalid = outcomes.iter().filter(|outcome| message(outcome).is_some()).count();
        let summary = json!({
            "created": added,
            "not_created": outcomes.len() - added,
            "valid": outcomes.len() - invalid,
            "invalid": invalid,
        });
        json!({"sent": self.sent(), "summary": summary})
    }

    /// PowerTrack's form. A valid rule of a refused request is not created, without a message.
    fn summary(&self, outcomes: &[AddOutcome]) -> Value {
        let added = outcomes.iter().filter(|outcome| matches!(outcome, AddOutcome::Added(_))).count();
        let detail = outcomes.iter().map(|outcome| {
            let mut line = match outcome {
                AddOutcome::Added(rule) => json!({"rule": self.rule(rule), "created": true}),
                outcome => json!({"rule": wanted(outcome), "created": false}),
            };
            if let Some(message) = message(outcome) {
                line["message"] = message.into();
            }
            line
        });
        let detail: Vec<Value> = detail.collect();
        json!({
            "summary": {"created": added, "not_created": outcomes.len() - added},
            "detail": detail,
            "sent": self.sent(),
        })
    }

    /// Filtered stream's form of a rule that was not added.
    fn error(&self, outcome: &AddOutcome) -> Option<Value> {
        match outcome {
            AddOutcome::Added(_) | AddOutcome::Refused(_) => None,
            AddOutcome::Duplicate(rule) => {
                let mut error = json!({
                    "value": rule.value,
                    "title": "DuplicateRule",
                    "detail": DUPLICATE,
                    "type": format!("{PROBLEMS}/duplicate-rules"),
                });
                if self.config.duplicates == DuplicateAnswer::WithId {
                    error["id"] = self.id(rule.id);
                }
                Some(error)
            }
            AddOutcome::Invalid(rule, text) => Some(json!({
                "value": rule.value,
                "details": text.trim_end().split('\n').collect::<Vec<_>>(),
                "title": "UnprocessableEntity",
                "type": format!("{PROBLEMS}/invalid-rules"),
            })),
        }
    }
}

/// Filtered stream leaves out `data` where there is none.
fn with_data(mut body: Value, data: Vec<Value>) -> Value {
    if !data.is_empty() {
        body["data"] = data.into();
    }
    body
}

/// 400 with what is wrong.
pub(super) fn invalid_request(detail: &str) -> Value {
    json!({
        "errors": [{"message": detail}],
        "title": "Invalid Request",
        "detail": detail,
        "type": format!("{PROBLEMS}/invalid-request"),
    })
}

fn message(outcome: &AddOutcome) -> Option<&str> {
    match outcome {
        AddOutcome::Added(_) | AddOutcome::Refused(_) => None,
        AddOutcome::Duplicate(_) => Some(DUPLICATE),
        AddOutcome::Invalid(_, text) => Some(text),
    }
}

/// The rule as the request has it.
fn wanted(outcome: &AddOutcome) -> Value {
    match outcome {
        AddOutcome::Added(rule) | AddOutcome::Duplicate(rule) => {
            json!({"value": rule.value, "tag": rule.tag.as_deref()})
        }
        AddOutcome::Invalid(rule, _) | AddOutcome::Refused(rule) => json!({"value": rule.value, "tag": rule.tag}),
    }
}
