use std::time::Duration;

use super::{BogusResponse, ErrorResponse, Scope};
use crate::clock::Moment;

/// For how long requests are answered in some way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// So many requests.
    Next(u32),
    /// All requests of this time, from now on.
    For(Duration),
    /// All requests until it is cleared.
    UntilCleared,
}

impl Repeat {
    /// From the arguments `times` and `for` of an action.
    pub(in crate::simulator) fn from_terms(times: Option<u32>, lasting: Option<Duration>) -> Result<Self, String> {
        match (times, lasting) {
            (Some(_), Some(_)) => Err("set `times` or `for`, not both".into()),
            (Some(times), None) => Ok(Self::Next(times)),
            (None, Some(lasting)) => Ok(Self::For(lasting)),
            (None, None) => Ok(Self::UntilCleared),
        }
    }

    /// The number of requests (`u32::MAX`: as many as come), and the end.
    pub(super) fn terms(self, now: Moment) -> (u32, Option<Moment>) {
        match self {
            Self::Next(times) => (times, None),
            Self::For(duration) => (u32::MAX, Some(now.plus(duration))),
            Self::UntilCleared => (u32::MAX, None),
        }
    }
}

/// The answer to a stream request that is no stream of posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum InjectedResponse {
    Refuse(ErrorResponse),
    Hollow(BogusResponse),
}

/// Answers to requests to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingResponse {
    scope: Scope,
    left: u32,
    until: Option<Moment>,
    answer: InjectedResponse,
}

impl PendingResponse {
    pub(super) fn new(scope: Scope, times: Repeat, answer: InjectedResponse, now: Moment) -> Self {
        let (left, until) = times.terms(now);
        Self { scope, left, until, answer }
    }

    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.left == 0 || self.until.is_some_and(|until| until <= now)
    }

    pub(super) fn is_for(&self, recovery: bool, datacenter: Option<&str>) -> bool {
        self.scope.has_request(recovery, datacenter)
    }

    /// True if it was asked for with this scope.
    pub(super) fn has_scope(&self, scope: &Scope) -> bool {
        self.scope == *scope
    }

    pub(super) fn is_hollow(&self) -> bool {
        matches!(self.answer, InjectedResponse::Hollow(_))
    }

    /// The answer, without being given.
    pub(super) fn answer(&self) -> InjectedResponse {
        self.answer.clone()
    }

    /// The answer, once more; `u32::MAX` times is as often as asked.
    pub(super) fn take(&mut self) -> InjectedResponse {
        if self.left != u32::MAX {
            self.left -= 1;
        }
        self.answer.clone()
    }
}
