//! Where a session begins: what was asked for against what the log holds.

use std::sync::Arc;
use std::time::Duration;

use super::Hub;
use super::token::{Malformed, Token};
use crate::journal::Extent;
use crate::model::{Position, Sequence, TermStart, UnixMillis, Window};

/// Where a session asks to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Strictly after the position of this token.
    Token(String),
    /// At the first record received at or after this time.
    Time(UnixMillis),
    /// This long before now.
    Lookback(Duration),
    /// At the oldest record held.
    Earliest,
    /// At the tip.
    Latest,
}

/// What to do with a start that is older than anything the log can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Refuse it.
    Fail,
    /// Start at the oldest record, and tell what is missing.
    Earliest,
    /// Start at the tip, and tell what is missing.
    Latest,
}

/// How a start was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At the tip, as asked.
    Live,
    /// Nothing missing, nothing repeated.
    Exact,
    /// By time: the token is of another log, or of a lost tail of this one.
    TimeBounded,
    /// A policy dropped a part.
    Clamped,
}

/// Where a session really starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The first record it reads.
    pub cursor: Sequence,
    /// How the start was met.
    pub outcome: Outcome,
    /// What is missing, as far as it is known.
    pub missing: Option<Window>,
    /// The upstream time from which the lineage asked to read.
    pub lineage_start: UnixMillis,
    /// Everything created before this was delivered to the lineage already.
    pub low_watermark: UnixMillis,
    /// Set where the start is by time: the time of the token. Up to the slack after it posts may be repeated.
    pub resumed_at: Option<UnixMillis>,
    /// Fingerprint of the filter of the token, if there was one.
    pub filter: Option<u64>,
}

/// A start that cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token is no token of ours.
    Malformed,
    /// The token is of this other account.
    Foreign(String),
    /// The position is older than anything the log can give.
    TooOld {
        /// Where the oldest record is: a token just before it.
        oldest_token: String,
        /// When the oldest record was received.
        oldest_time: Option<UnixMillis>,
        /// How much is missing.
        missing: Duration,
    },
    /// The start lies in the future.
    InFuture {
        /// The time here.
        head_time: UnixMillis,
    },
    /// An exact resume was demanded, and is not possible.
    ExactUnavailable(Outcome),
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Finds where a session starts. May read the journal's index: belongs on a blocking thread.
pub fn resolve(hub: &Hub, start: &Start, policy: Policy, require_exact: bool) -> Result<Resolved, Refused> {
    let resolved = Resolver { hub, extent: hub.reader().extent(), now: hub.clock().now(), policy }.resolve(start)?;
    match resolved.outcome {
        outcome @ (Outcome::TimeBounded | Outcome::Clamped) if require_exact => Err(Refused::ExactUnavailable(outcome)),
        _ => Ok(resolved),
    }
}

struct Resolver<'a> {
    hub: &'a Hub,
    extent: Extent,
    now: UnixMillis,
    policy: Policy,
}

impl Resolver<'_> {
    fn resolve(&self, start: &Start) -> Result<Resolved, Refused> {
        match start {
            Start::Latest => Ok(self.at_tip(Outcome::Live, self.now)),
            Start::Earliest => Ok(self.at_earliest(Outcome::Exact)),
            Start::Time(time) => self.at_time(*time),
            Start::Lookback(back) => self.at_time(self.now.minus(*back)),
            Start::Token(text) => self.after_token(self.hub.keyring().open(text)?),
        }
    }

    fn at_tip(&self, outcome: Outcome, lineage_start: UnixMillis) -> Resolved {
        Resolved {
            cursor: self.extent.next,
            outcome,
            missing: None,
            lineage_start,
            low_watermark: self.hub.low_watermark(self.now),
            resumed_at: None,
            filter: None,
        }
    }

    fn at_earliest(&self, outcome: Outcome) -> Resolved {
        let lineage_start = self.extent.earliest_received.unwrap_or(self.now);
        let low_watermark = self.hub.low_watermark(lineage_start);
        Resolved { cursor: self.extent.earliest, lineage_start, low_watermark, ..self.at_tip(outcome, self.now) }
    }

    fn at_time(&self, time: UnixMillis) -> Result<Resolved, Refused> {
        if time > self.now {
            return Err(Refused::InFuture { head_time: self.now });
        }
        let begins = self.extent.earliest_received.unwrap_or(self.now);
        if time < begins {
            return self.too_old(time);
        }
        let low_watermark = self.hub.low_watermark(time);
        let at_tip = self.at_tip(Outcome::Exact, time);
        Ok(Resolved { cursor: self.seek(time), low_watermark, ..at_tip })
    }

    fn after_token(&self, token: Token) -> Result<Resolved, Refused> {
        if token.account != *self.hub.account() {
            return Err(Refused::Foreign(token.account.to_string()));
        }
        let resumed = match self.place(&token.position) {
            Place::Elsewhere => self.by_time(&token)?,
            Place::Here if token.position.sequence + 1 < self.extent.earliest => {
                let mut clamped = self.too_old(token.low_watermark)?;
                clamped.lineage_start = token.lineage_start;
                clamped
            }
            Place::Here => Resolved {
                cursor: token.position.sequence + 1,
                low_watermark: token.low_watermark,
                ..self.at_tip(Outcome::Exact, token.lineage_start)
            },
        };
        Ok(Resolved { filter: Some(token.filter), ..resumed })
    }

    fn place(&self, position: &Position) -> Place {
        let terms: Arc<[TermStart]> = self.hub.reader().terms();
        let known = terms.iter().position(|start| start.term == position.term);
        let Some(at) = known.filter(|_| position.epoch == self.hub.reader().epoch()) else {
            // Before the first record there is nothing that could have been lost.
            let at_beginning = position.epoch == self.hub.reader().epoch() && position.sequence == 0;
            return if at_beginning { Place::Here } else { Place::Elsewhere };
        };
        let end = terms.get(at + 1).map_or(self.extent.next, |next| next.first);
        let inside = position.sequence == 0 || (terms[at].first <= position.sequence && position.sequence < end);
        if inside { Place::Here } else { Place::Elsewhere }
    }

    /// The log of the token is not this one, or lost the records it had shown: its time is what is left.
    fn by_time(&self, token: &Token) -> Result<Resolved, Refused> {
        let from = token.low_watermark;
        if self.now.since(from) > self.hub.config().recovery_window {
            return self.too_old(from);
        }
        let begins = self.extent.earliest_received.unwrap_or(self.now);
        let resumed_at = from.plus(self.hub.config().slack);
        Ok(Resolved {
            cursor: self.seek(from),
            missing: (from < begins).then_some(Window { from, to: Some(begins) }),
            low_watermark: from,
            resumed_at: Some(resumed_at),
            ..self.at_tip(Outcome::TimeBounded, token.lineage_start.max(resumed_at))
        })
    }

    fn too_old(&self, from: UnixMillis) -> Result<Resolved, Refused> {
        let begins = self.extent.earliest_received.unwrap_or(self.now);
        let missing = |to| Some(Window { from, to: Some(to) });
        match self.policy {
            Policy::Earliest => Ok(Resolved { missing: missing(begins), ..self.at_earliest(Outcome::Clamped) }),
            Policy::Latest => Ok(Resolved { missing: missing(self.now), ..self.at_tip(Outcome::Clamped, self.now) }),
            Policy::Fail => Err(Refused::TooOld {
                oldest_token: self.hub.token_before(self.extent.earliest, begins),
                oldest_time: self.extent.earliest_received,
                missing: begins.since(from),
            }),
        }
    }

    fn seek(&self, time: UnixMillis) -> Sequence {
        self.hub.reader().seek(time).unwrap_or_else(|error| {
            tracing::warn!(%error, "the journal cannot be searched by time; starting at its oldest record");
            self.extent.earliest
        })
    }
}

enum Place {
    Here,
    Elsewhere,
}
