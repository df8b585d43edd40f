use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use super::attributes::PostAttributes;
use super::parser::{Expr, parse};
use crate::clock::Moment;
use crate::model::Rule;

/// Rules of a stream (Powerstream introduction).
pub(super) const RULES_MAX: usize = 1_000;
/// Characters of a tag (PowerTrack rules and filtering).
pub(super) const TAG_CHARS_MAX: usize = 255;
/// The window that rule requests are counted in (Powerstream introduction).
pub(super) const REQUEST_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// A rule of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRule {
    /// Its id.
    pub id: u64,
    /// As it was given.
    pub value: String,
    /// Its tag.
    pub tag: Option<Arc<str>>,
}

/// A rule to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct NewRule {
    pub(in crate::simulator) value: String,
    pub(in crate::simulator) tag: Option<String>,
}

impl NewRule {
    /// Checks syntax and lengths.
    pub(in crate::simulator) fn check(&self) -> Result<(), RuleError> {
        self.parse().map(drop)
    }

    fn parse(&self) -> Result<Expr, RuleError> {
        if self.tag.as_ref().is_some_and(|tag| tag.chars().count() > TAG_CHARS_MAX) {
            return Err(RuleError::Invalid(format!("Tags may have {TAG_CHARS_MAX} characters at most\n")));
        }
        parse(&self.value).map_err(|error| RuleError::Invalid(error.to_string()))
    }
}

/// A rule that is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// Its syntax is wrong, or it is too long; in PowerTrack's words.
    #[error("{0}")]
    Invalid(String),
    /// There would be too many.
    #[error("Request exceeds account's Rule Limit. Delete rules or contact your account manager to proceed.")]
    TooMany,
}

/// What became of a rule to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum AddResult {
    New(StoredRule),
    /// One with this value is there already.
    Duplicate(StoredRule),
}

/// The rules in force, and the budget of requests.
#[derive(Debug)]
pub(in crate::simulator) struct RuleSet {
    list: RwLock<Vec<ActiveRule>>,
    requests: Mutex<VecDeque<Moment>>,
    requests_max: usize,
}

#[derive(Debug)]
struct ActiveRule {
    rule: StoredRule,
    expr: Expr,
    from: Moment,
    /// When it no longer matches, once it is removed.
    until: Option<Moment>,
}

impl ActiveRule {
    fn is_listed(&self) -> bool {
        self.until.is_none()
    }

    fn is_effective(&self, now: Moment) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }
}

impl RuleSet {
    pub(in crate::simulator) fn new(requests_max: usize) -> Self {
        Self { list: RwLock::default(), requests: Mutex::default(), requests_max }
    }

    /// Takes all or none; the ids are taken in order, and each rule matches from that moment on.
    pub(in crate::simulator) fn add(
        &self,
        wanted: &[NewRule],
        mut id: impl FnMut() -> u64,
        from: Moment,
    ) -> Result<Vec<AddResult>, RuleError> {
        let read: Vec<Expr> = wanted.iter().map(NewRule::parse).collect::<Result<_, _>>()?;
        let mut list = self.list.write();
        let fresh: HashSet<&str> = wanted.iter().map(|rule| rule.value.as_str()).collect();
        let fresh = fresh.iter().filter(|value| find(&list, |rule| rule.value == **value).is_none()).count();
        if list.iter().filter(|active| active.is_listed()).count() + fresh > RULES_MAX {
            return Err(RuleError::TooMany);
        }
        let mut added = Vec::with_capacity(wanted.len());
        for (NewRule { value, tag }, expr) in wanted.iter().zip(read) {
            if let Some(at) = find(&list, |rule| rule.value == *value) {
                added.push(AddResult::Duplicate(list[at].rule.clone()));
                continue;
            }
            let rule = StoredRule { id: id(), value: value.clone(), tag: tag.as_deref().map(Arc::from) };
            added.push(AddResult::New(rule.clone()));
            list.push(ActiveRule { rule, expr, from, until: None });
        }
        Ok(added)
    }

    /// Removes and returns the first rule that this holds for. It matches until this moment.
    pub(in crate::simulator) fn remove(
        &self,
        is: impl Fn(&StoredRule) -> bool,
        now: Moment,
        until: Moment,
    ) -> Option<StoredRule> {
        let mut list = self.list.write();
        let at = find(&list, is)?;
        let rule = list[at].rule.clone();
        list[at].until = Some(until);
        list.retain(|active| active.until.is_none_or(|until| now < until));
        Some(rule)
    }

    /// The rule with this value.
    pub(super) fn with_value(&self, value: &str) -> Option<StoredRule> {
        let list = self.list.read();
        find(&list, |rule| rule.value == value).map(|at| list[at].rule.clone())
    }

    pub(in crate::simulator) fn list(&self) -> Vec<StoredRule> {
        self.list.read().iter().filter(|active| active.is_listed()).map(|active| active.rule.clone()).collect()
    }

    pub(in crate::simulator) fn is_empty(&self) -> bool {
        !self.list.read().iter().any(ActiveRule::is_listed)
    }

    /// The rules that match, in the order they were added.
    pub(in crate::simulator) fn matching(&self, post: &PostAttributes, now: Moment) -> Vec<Rule> {
        let list = self.list.read();
        let matching = list.iter().filter(|active| active.is_effective(now) && active.expr.matches(post));
        matching.map(|active| Rule { id: Some(active.rule.id), tag: active.rule.tag.clone() }).collect()
    }

    /// Counts a request. Without budget, returns the time until there is some again.
    pub(in crate::simulator) fn spend(&self, now: Moment) -> Result<usize, Duration> {
        let mut requests = self.requests.lock();
        while requests.front().is_some_and(|oldest| now.since(*oldest) >= REQUEST_WINDOW) {
            requests.pop_front();
        }
        if requests.len() >= self.requests_max {
            let oldest = requests.front().copied().unwrap_or(now);
            return Err(REQUEST_WINDOW.saturating_sub(now.since(oldest)));
        }
        requests.push_back(now);
        Ok(self.requests_max - requests.len())
    }

    pub(super) fn requests_max(&self) -> usize {
        self.requests_max
    }
}

/// The first rule that is not removed and that this holds for.
fn find(list: &[ActiveRule], is: impl Fn(&StoredRule) -> bool) -> Option<usize> {
    list.iter().position(|active| active.is_listed() && is(&active.rule))
}
