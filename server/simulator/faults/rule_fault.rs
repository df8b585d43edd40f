use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pending_response::Repeat;
use crate::clock::Moment;

/// Method of a request for rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleMethod {
    /// Lists the rules.
    Get,
    /// Adds rules.
    Post,
    /// Deletes rules.
    Delete,
}

/// A failure of a request for rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleFault {
    /// The request is applied, then the connection is reset instead of an answer.
    AnswerReset,
    /// The request is applied and never answered.
    AnswerTimeout,
    /// The connection is reset before the request is applied.
    RequestReset,
    /// A known error by its name (`ErrorResponse::NAMES`).
    Refuse {
        /// Its name.
        with: String,
        /// Whether the request is applied all the same.
        #[serde(default)]
        applied: bool,
    },
    /// A web page. The request is applied if the status is 2xx.
    Html {
        /// HTTP status.
        #[serde(default = "ok")]
        status: u16,
    },
    /// An empty body. The request is applied if the status is 2xx.
    Empty {
        /// HTTP status.
        #[serde(default = "ok")]
        status: u16,
    },
    /// 429, although requests are left.
    RateLimited {
        /// Time until `x-rate-limit-reset`.
        #[serde(with = "humantime_serde")]
        reset_in: Duration,
    },
    /// The whole request is refused as if a rule were invalid: the rule that the fault is for, else the first.
    Invalid {
        /// HTTP status.
        #[serde(default = "unprocessable")]
        status: u16,
        /// Whether the answer names that rule.
        #[serde(default = "named")]
        named: bool,
    },
    /// The whole request is refused as if there were too many rules.
    OverCap,
    /// Only the first so many rules of the request are applied, and the answer has only these.
    Partial {
        /// So many.
        applied: usize,
    },
}

fn ok() -> u16 {
    200
}

fn unprocessable() -> u16 {
    422
}

fn named() -> bool {
    true
}

impl RuleFault {
    /// Its name in scripts and in the log of requests.
    pub(in crate::simulator) fn name(&self) -> &'static str {
        match self {
            Self::AnswerReset => "answer_reset",
            Self::AnswerTimeout => "answer_timeout",
            Self::RequestReset => "request_reset",
            Self::Refuse { .. } => "refuse",
            Self::Html { .. } => "html",
            Self::Empty { .. } => "empty",
            Self::RateLimited { .. } => "rate_limited",
            Self::Invalid { .. } => "invalid",
            Self::OverCap => "over_cap",
            Self::Partial { .. } => "partial",
        }
    }
}

/// The requests that a fault is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleRequestFilter {
    /// Requests with this method; all if absent.
    pub method: Option<RuleMethod>,
    /// Requests whose body has this value or id; all if absent.
    pub value: Option<String>,
}

/// Faults of requests to come, in the order in which they were ordered.
#[derive(Debug, Default)]
pub(super) struct PendingRuleFaults(VecDeque<PendingRuleFault>);

#[derive(Debug)]
struct PendingRuleFault {
    filter: RuleRequestFilter,
    fault: RuleFault,
    left: u32,
    until: Option<Moment>,
}

impl PendingRuleFaults {
    pub(super) fn order(&mut self, filter: RuleRequestFilter, fault: RuleFault, times: Repeat, now: Moment) {
        let (left, until) = times.terms(now);
        self.0.push_back(PendingRuleFault { filter, fault, left, until });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of a request that has come, and the value that it is for.
    pub(super) fn take(
        &mut self,
        method: RuleMethod,
        values: &[String],
        now: Moment,
    ) -> Option<(RuleFault, Option<String>)> {
        self.0.retain(|pending| pending.left > 0 && pending.until.is_none_or(|until| now < until));
        let pending = self.0.iter_mut().find(|PendingRuleFault { filter, .. }| {
            filter.method.is_none_or(|wanted| wanted == method)
                && filter.value.as_ref().is_none_or(|value| values.contains(value))
        })?;
        // As often as ordered: without a number there is no end.
        if pending.left != u32::MAX {
            pending.left -= 1;
        }
        Some((pending.fault.clone(), pending.filter.value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_hit_requests_they_are_for() {
        let mut faults = PendingRuleFaults::default();
        let now = Moment::default();
        let filter = |method, value: Option<&str>| RuleRequestFilter { method, value: value.map(str::to_owned) };
        let partial = |applied| RuleFault::Partial { applied };
        faults.order(filter(Some(RuleMethod::Post), None), partial(1), Repeat::Next(2), now);
        faults.order(filter(None, Some("cat")), partial(2), Repeat::UntilCleared, now);
        faults.order(filter(None, None), partial(3), Repeat::For(Duration::from_secs(5)), now);
        let cat = ["dog".to_owned(), "cat".to_owned()];
        let mut take = |method, values: &[String], seconds| {
            faults.take(method, values, now.plus(Duration::from_secs(seconds))).map(|(fault, _)| fault)
        };
        assert_eq!(take(RuleMethod::Post, &cat, 0), Some(partial(1)));
        assert_eq!(take(RuleMethod::Delete, &cat, 0), Some(partial(2)));
        assert_eq!(take(RuleMethod::Get, &[], 4), Some(partial(3)));
        assert_eq!(take(RuleMethod::Post, &[], 4), Some(partial(1)));
        assert_eq!(take(RuleMethod::Post, &cat, 4), Some(partial(2)));
        assert_eq!(take(RuleMethod::Post, &[], 5), None);
        faults.clear();
        assert_eq!(faults.take(RuleMethod::Post, &cat, now), None);
    }
}
