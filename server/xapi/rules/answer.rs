//! Answers of the rules endpoint, in every form that X and its predecessor are known to send.

use serde_json::Value;

use super::RuleId;
use crate::xapi::redact::shown;
use crate::xapi::{Headers, RateLimit};

/// A rule in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XRule {
    /// Id; `None` if the answer has none, or one that is not a whole number.
    pub id: Option<RuleId>,
    /// Text.
    pub value: String,
    /// Tag; an empty one counts as none.
    pub tag: Option<String>,
}

/// Why X did not add or delete a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// A rule with this text exists.
    Duplicate,
    /// The rule to delete does not exist.
    Missing,
    /// The account has as many rules as it may have.
    LimitReached,
    /// The rule is not valid.
    Invalid,
    /// No reason: the request was refused because of other rules.
    Unexplained,
}

/// A rule that X did not add or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRefusal {
    /// Text of the rule, if named.
    pub value: Option<String>,
    /// Id of the rule, if named.
    pub id: Option<RuleId>,
    /// Reason.
    pub kind: RefusalKind,
    /// X's words, as one printable line; empty if there are none.
    pub message: String,
}

/// An answer that is a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleDocument {
    /// Rules that exist: those listed or added, in their order; `None` if the document has no list.
    pub rules: Option<Vec<XRule>>,
    /// Rules that were not added or not deleted.
    pub refusals: Vec<RuleRefusal>,
    /// Number of deleted rules, if reported.
    pub deleted: Option<u64>,
    /// Number of rules that were not deleted, if reported.
    pub not_deleted: Option<u64>,
    /// X reports that the account has as many rules as it may have.
    pub limit_reached: bool,
}

/// An answer of the rules endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAnswer {
    /// HTTP status.
    pub status: u16,
    /// Response headers in use.
    pub headers: Headers,
    /// Contents; `None` if the body is not a JSON document, or longer than allowed.
    pub document: Option<RuleDocument>,
    /// X's explanation of the whole as one printable line; empty if there is none.
    pub detail: String,
}

impl RuleAnswer {
    /// Reads an answer; `body` is `None` if it was longer than allowed. A secret that it echoes is removed from all
    /// texts that are shown.
    pub fn read(status: u16, headers: Headers, body: Option<&[u8]>, secret: &str) -> Self {
        let parsed = body.and_then(|body| serde_json::from_slice::<Value>(body).ok());
        let root = parsed.filter(|root| root.is_object() || root.is_array());
        let Some(root) = root else {
            return Self { status, headers, document: None, detail: String::new() };
        };
        let reader = AnswerReader { root: &root, secret };
        let (document, detail) = (reader.document(), reader.detail());
        Self { status, headers, document: Some(document), detail }
    }

    /// True for 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns X's count of the requests that remain.
    pub fn rate_limit(&self) -> RateLimit {
        self.headers.rate_limit
    }
}

struct AnswerReader<'a> {
    root: &'a Value,
    secret: &'a str,
}

impl AnswerReader<'_> {
    fn document(&self) -> RuleDocument {
        let root = self.root;
        let mut document = RuleDocument::default();
        let lists = [&root["data"]["rules"], &root["data"], &root["rules"], root];
        if let Some(list) = lists.into_iter().find_map(Value::as_array) {
            document.rules = Some(list.iter().filter_map(rule).collect());
        }
        for list in [&root["detail"], &root["error"]["detail"]] {
            list.as_array().into_iter().flatten().for_each(|entry| self.read_detail(entry, &mut document));
        }
        for entry in root["errors"].as_array().into_iter().flatten() {
            document.refusals.extend(self.refusal(entry, entry));
        }
        let counts = [&root["data"], &root["summary"], &root["meta"]["summary"], root];
        document.deleted = counts.iter().find_map(|part| count(&part["deleted"]));
        document.not_deleted = counts.iter().find_map(|part| count(&part["not_deleted"]));
        for entry in root["data"]["not_deleted"].as_array().into_iter().flatten() {
            document.refusals.extend(self.refusal(entry, entry));
        }
        let is_limit = |refusal: &RuleRefusal| refusal.kind == RefusalKind::LimitReached;
        let detail = self.detail();
        let named = text(&root["type"]);
        document.limit_reached = document.refusals.iter().any(is_limit)
            || [named.as_str(), &detail].iter().any(|text| kind(text) == Some(RefusalKind::LimitReached));
        document
    }

    /// Reads an entry of `detail`: a rule with its result.
    fn read_detail(&self, entry: &Value, document: &mut RuleDocument) {
        let inner = if entry["rule"].is_object() { &entry["rule"] } else { entry };
        let result = entry["created"].as_bool().or_else(|| entry["deleted"].as_bool());
        let is_there = result.unwrap_or_else(|| entry["message"].is_null() && !inner["id"].is_null());
        if is_there {
            if entry["deleted"].is_null() {
                document.rules.get_or_insert_default().extend(rule(inner));
            }
        } else {
            document.refusals.extend(self.refusal(inner, entry));
        }
    }

    /// Reads a refusal: the rule is named by `rule`, or is `rule` itself; the reason is in `entry`. `None` if it names no
    /// rule.
    fn refusal(&self, rule: &Value, entry: &Value) -> Option<RuleRefusal> {
        let value = rule["value"].as_str().or_else(|| rule.as_str().filter(|text| RuleId::new(text).is_err()));
        let id = RuleId::read(if rule.is_object() { &rule["id"] } else { rule });
        if value.is_none() && id.is_none() {
            return None;
        }
        let message = message(entry);
        let reasons = [text(&entry["type"]), text(&entry["title"]), message.clone()];
        let kind = reasons.iter().find_map(|text| kind(text)).unwrap_or(match message.is_empty() {
            true => RefusalKind::Unexplained,
            false => RefusalKind::Invalid,
        });
        Some(RuleRefusal { value: value.map(str::to_owned), id, kind, message: shown(&message, self.secret) })
    }

    /// Returns the explanation of the whole.
    fn detail(&self) -> String {
        let root = self.root;
        let first = &root["errors"][0];
        let texts = [message(root), message(&root["error"]), text(&root["error"]), message(first)];
        let found = texts.into_iter().find(|text| !text.is_empty());
        shown(&found.unwrap_or_default(), self.secret)
    }
}

/// Reads a rule; `None` without a text.
fn rule(value: &Value) -> Option<XRule> {
    let tag = value["tag"].as_str().filter(|tag| !tag.is_empty()).map(str::to_owned);
    Some(XRule { id: RuleId::read(&value["id"]), value: value["value"].as_str()?.to_owned(), tag })
}

/// Reads a count: a number, or the length of a list.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_array().map(|list| list.len() as u64))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

/// Returns the words of a problem.
fn message(entry: &Value) -> String {
    let details = entry["details"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let details: Vec<_> = details.map(str::trim).filter(|text| !text.is_empty()).collect();
    if !details.is_empty() {
        return details.join("; ");
    }
    let texts = ["message", "detail", "title"].map(|key| text(&entry[key]));
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// Returns the reason that a text of X names.
fn kind(text: &str) -> Option<RefusalKind> {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["duplicaterule", "duplicate-rules", "already exists"]) {
        Some(RefusalKind::Duplicate)
    } else if has(&["rule does not exist", "rule not found", "resource-not-found"]) {
        Some(RefusalKind::Missing)
    } else if has(&["rule limit", "rule-cap", "rulecap"]) {
        Some(RefusalKind::LimitReached)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
