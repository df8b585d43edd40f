//! What an answer of X, or its absence, means for the rules of a request. Pure.

use std::time::Duration;

use super::planner::{OldRule, RuleAddition};
use super::rule::meaning;
use crate::xapi::{RefusalKind, RuleAnswer, RuleDocument, RuleFailure, RuleId, RuleRefusal, XRule};

/// Result of one rule of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleResult {
    /// X added it. The text is X's, which may have trimmed ours.
    Added(XRule),
    /// X deleted it, or it did not exist.
    Deleted,
    /// X rejected it, in these words.
    Rejected(String),
    /// It was refused because of other rules of the request: it is sent once more.
    Again,
    /// Whether X has it is not known.
    Unknown,
}

/// Outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The result of each rule, by its place in the request.
    Results(Vec<RuleResult>),
    /// The request left and has no usable answer.
    Unknown(String),
    /// No byte of the request left.
    NotSent(String),
    /// Refused without naming a rule.
    RefusedWhole(String),
    /// X has more rules than the gateway knew.
    OverLimit(String),
    /// Too many requests. The time until X's window ends, if X named it.
    Limited(Option<Duration>),
    /// The credential, or the URL, is not accepted: all rule work stops.
    Denied {
        /// HTTP status.
        status: u16,
        /// X's words.
        message: String,
    },
}

impl Outcome {
    /// Names of all outcomes; a read that succeeds is `ok` too.
    pub const NAMES: [&'static str; 9] =
        ["ok", "partly_unknown", "rejected", "unknown", "not_sent", "refused", "over_limit", "rate_limited", "denied"];

    /// Returns a short name for metrics and logs, one of [`Self::NAMES`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Results(results) if results.contains(&RuleResult::Unknown) => "partly_unknown",
            Self::Results(results) if results.iter().any(|one| matches!(one, RuleResult::Rejected(_))) => "rejected",
            Self::Results(_) => "ok",
            Self::Unknown(_) => "unknown",
            Self::NotSent(_) => "not_sent",
            Self::RefusedWhole(_) => "refused",
            Self::OverLimit(_) => "over_limit",
            Self::Limited(_) => "rate_limited",
            Self::Denied { .. } => "denied",
        }
    }

    /// True if the rules at X are known only after they are read again.
    pub fn needs_refresh(&self) -> bool {
        match self {
            Self::Results(results) => results.contains(&RuleResult::Unknown),
            Self::Unknown(_) | Self::OverLimit(_) => true,
            Self::NotSent(_) | Self::RefusedWhole(_) | Self::Limited(_) | Self::Denied { .. } => false,
        }
    }
}

/// Returns the outcome of adding rules.
pub fn of_add(sent: &[RuleAddition], answer: &Result<RuleAnswer, RuleFailure>) -> Outcome {
    let (answer, document) = match common(answer) {
        Ok(answered) => answered,
        Err(outcome) => return outcome,
    };
    if document.limit_reached {
        return Outcome::OverLimit(answer.detail.clone());
    }
    let results = match_answer(sent, document, answer.is_success());
    let named = results.iter().any(|result| *result != RuleResult::Again);
    if answer.is_success() || named {
        return Outcome::Results(results);
    }
    Outcome::RefusedWhole(words(answer))
}

/// Returns the outcome of deleting rules.
pub fn of_delete(sent: &[OldRule], answer: &Result<RuleAnswer, RuleFailure>) -> Outcome {
    let (answer, document) = match common(answer) {
        Ok(answered) => answered,
        Err(outcome) => return outcome,
    };
    let refusals: Vec<_> = sent.iter().map(|rule| refusal_of(document, &rule.value, rule.id.as_ref())).collect();
    let unnamed = refusals.iter().all(Option::is_none);
    if !answer.is_success() && unnamed {
        return Outcome::RefusedWhole(words(answer));
    }
    let count = |kind: RefusalKind| refusals.iter().flatten().filter(|refusal| refusal.kind == kind).count() as u64;
    let named = refusals.iter().flatten().count() as u64;
    let explained = document.not_deleted.unwrap_or(0) <= named;
    let missing = count(RefusalKind::Missing);
    let complete = document.deleted.is_some_and(|deleted| deleted + named >= sent.len() as u64) && explained;
    let result = |refusal: &Option<&RuleRefusal>| match refusal {
        Some(refusal) if refusal.kind == RefusalKind::Missing => RuleResult::Deleted,
        Some(_) => RuleResult::Unknown,
        None if !answer.is_success() => RuleResult::Again,
        None if complete || missing == sent.len() as u64 => RuleResult::Deleted,
        None => RuleResult::Unknown,
    };
    Outcome::Results(refusals.iter().map(result).collect())
}

/// Returns the rules that a GET has read, or the outcome without them.
pub fn of_get(answer: Result<RuleAnswer, RuleFailure>) -> Result<Vec<XRule>, Outcome> {
    let (answered, document) = common(&answer)?;
    if !answered.is_success() {
        return Err(Outcome::RefusedWhole(words(answered)));
    }
    match &document.rules {
        Some(rules) => Ok(rules.clone()),
        // X leaves out an empty list: its other endpoints do.
        None if document.refusals.is_empty() && answered.detail.is_empty() => Ok(Vec::new()),
        None => Err(Outcome::Unknown(words(answered))),
    }
}

/// Handles what is the same for all requests: no answer, the status, no document.
fn common(answer: &Result<RuleAnswer, RuleFailure>) -> Result<(&RuleAnswer, &RuleDocument), Outcome> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(RuleFailure::NotSent(reason)) => return Err(Outcome::NotSent(reason.clone())),
        Err(RuleFailure::Unanswered(reason)) => return Err(Outcome::Unknown(reason.clone())),
    };
    let status = answer.status;
    match (status, &answer.document) {
        (420 | 429, _) => Err(Outcome::Limited(reset_in(answer))),
        // Nothing exists there, or it is somewhere else: like a refused credential, it concerns every request.
        (300..=399 | 401 | 402 | 403 | 405, _) => Err(Outcome::Denied { status, message: words(answer) }),
        (404 | 410, Some(document)) if document.refusals.is_empty() => {
            Err(Outcome::Denied { status, message: words(answer) })
        }
        (404 | 410, None) => Err(Outcome::Denied { status, message: words(answer) }),
        (408 | 500.., _) | (..=199, _) => Err(Outcome::Unknown(words(answer))),
        (200..=299, None) => Err(Outcome::Unknown(format!("HTTP {status} without a JSON document"))),
        (_, None) => Err(Outcome::RefusedWhole(words(answer))),
        (_, Some(document)) => Ok((answer, document)),
    }
}

/// Returns X's words, or its status.
fn words(answer: &RuleAnswer) -> String {
    match answer.detail.as_str() {
        "" => format!("HTTP {}", answer.status),
        detail => format!("HTTP {}: {detail}", answer.status),
    }
}

/// Returns the time until X's window ends, by X's clock.
pub fn reset_in(answer: &RuleAnswer) -> Option<Duration> {
    let headers = &answer.headers;
    let window = headers.rate_limit.reset.zip(headers.date).map(|(reset, date)| reset.since(date));
    headers.retry_after.or(window)
}

/// Matches an answer with the rules that were sent: by text, then by place.
fn match_answer(sent: &[RuleAddition], document: &RuleDocument, success: bool) -> Vec<RuleResult> {
    let default = if success { RuleResult::Unknown } else { RuleResult::Again };
    let mut results = vec![None; sent.len()];
    let mut added: Vec<Option<&XRule>> = document.rules.iter().flatten().map(Some).collect();
    for (result, rule) in results.iter_mut().zip(sent) {
        let mut own = added.iter_mut().find(|one| one.is_some_and(|one| one.value == rule.value));
        if let Some(one) = own.as_mut().and_then(|one| one.take()) {
            *result = Some(accepted(one, rule));
        } else if let Some(refusal) = refusal_of(document, &rule.value, None) {
            *result = Some(of_refusal(refusal));
        }
    }
    // X trims texts. An answer in the order of the request shows which rule is meant.
    let left: Vec<&XRule> = added.into_iter().flatten().collect();
    let open: Vec<usize> = (0..sent.len()).filter(|n| results[*n].is_none()).collect();
    if left.len() == open.len() {
        for (n, one) in open.into_iter().zip(left) {
            results[n] = Some(accepted(one, &sent[n]));
        }
    } else {
        for one in left {
            let own = open.iter().find(|n| results[**n].is_none() && meaning(&sent[**n].value) == meaning(&one.value));
            if let Some(n) = own {
                results[*n] = Some(accepted(one, &sent[*n]));
            }
        }
    }
    results.into_iter().map(|result| result.unwrap_or_else(|| default.clone())).collect()
}

/// Returns the result of a rule in the answer. Without its tag, X's is the one that was sent.
fn accepted(one: &XRule, sent: &RuleAddition) -> RuleResult {
    if one.id.is_none() {
        return RuleResult::Unknown;
    }
    let tag = one.tag.clone().or_else(|| Some(sent.tag.clone()).filter(|tag| !tag.is_empty()));
    RuleResult::Added(XRule { tag, ..one.clone() })
}

fn of_refusal(refusal: &RuleRefusal) -> RuleResult {
    match refusal.kind {
        RefusalKind::Invalid => RuleResult::Rejected(refusal.message.clone()),
        RefusalKind::Unexplained => RuleResult::Again,
        // It is there, with a tag that the answer does not name.
        RefusalKind::Duplicate | RefusalKind::LimitReached | RefusalKind::Missing => RuleResult::Unknown,
    }
}

fn refusal_of<'a>(document: &'a RuleDocument, value: &str, id: Option<&RuleId>) -> Option<&'a RuleRefusal> {
    let named = |refusal: &&RuleRefusal| match &refusal.value {
        Some(own) => own == value || own.trim() == value.trim(),
        None => refusal.id.is_some() && refusal.id.as_ref() == id,
    };
    document.refusals.iter().find(named)
}

#[cfg(test)]
mod tests;
