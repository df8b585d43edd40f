use std::time::Duration;

use super::{Hollow, Refusal, Scope};
use crate::clock::Moment;

/// For how long requests are answered in some way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many requests.
    Next(u32),
    /// All requests of this time, from now on.
    For(Duration),
    /// All requests until it is cleared.
    UntilCleared,
}

/// The answer to a stream request that is no stream of posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Answer {
    Refuse(Refusal),
    Hollow(Hollow),
}

/// Answers to requests to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    scope: Scope,
    left: u32,
    until: Option<Moment>,
    answer: Answer,
}

impl Order {
    pub(super) fn new(scope: Scope, times: Times, answer: Answer, now: Moment) -> Self {
        let (left, until) = match times {
            Times::Next(times) => (times, None),
            Times::For(duration) => (u32::MAX, Some(now.plus(duration))),
            Times::UntilCleared => (u32::MAX, None),
        };
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
        matches!(self.answer, Answer::Hollow(_))
    }

    /// The answer, without being given.
    pub(super) fn answer(&self) -> Answer {
        self.answer.clone()
    }

    /// The answer, once more; `u32::MAX` times is as often as asked.
    pub(super) fn take(&mut self) -> Answer {
        if self.left != u32::MAX {
            self.left -= 1;
        }
        self.answer.clone()
    }
}
