//! What subscribers got: the words in which the oracle is told. No type of the product is in it.

use super::truth::{Ms, Want};

/// All sessions of one subscriber that are linked by resume tokens.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub number: usize,
    pub want: Want,
    pub sessions: Vec<Session>,
}

/// One session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// When it was opened, by X's clock.
    pub at: Ms,
    pub from: From,
    pub outcome: Outcome,
    /// Identity of the log.
    pub log: u128,
    /// Sequence of the record before it.
    pub position: Option<u64>,
    pub missing: Option<(Ms, Option<Ms>)>,
    pub open_gaps: Vec<Gap>,
    pub token: String,
    pub frames: Vec<Frame>,
}

impl Session {
    /// True if it ended before its first frame was read.
    pub(super) fn is_unheard(&self) -> bool {
        self.token.is_empty() && !matches!(self.outcome, Outcome::Refused(_))
    }

    /// True if the session knows of a gap's end by what it begins with: a gap of another log, or one whose end was trimmed,
    /// is part of a gap of the subscription itself.
    pub(super) fn supersedes(&self, gap: &Gap) -> bool {
        let is_other = gap.log != self.log;
        let is_over = self.outcome == Outcome::TimeBounded && !gap.state.is_final();
        !gap.is_private && (is_other || (is_over && self.open_gaps.iter().all(|open| open.id != gap.id)))
    }
}

/// Where a session asked to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Latest,
    Earliest,
    Time(Ms),
    Token,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Live,
    Exact,
    TimeBounded,
    Clamped,
    /// It was not opened, for this reason.
    Refused(&'static str),
}

/// A frame, and when it came by X's clock.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub at: Ms,
    pub token: Option<String>,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Posts {
        events: Vec<Event>,
        may_repeat: bool,
        is_private: bool,
    },
    Gap(Gap),
    Skip(Skip),
    Heartbeat {
        low_watermark: Ms,
    },
    CaughtUp,
    /// The session is about to end.
    Draining,
    Other,
    End,
}

/// Messages that could not be taken.
#[derive(Clone, Debug)]
pub(super) struct Skip {
    /// The record that says so; 0 in a side log.
    pub sequence: u64,
    pub from: Ms,
    pub to: Option<Ms>,
    pub count: u64,
    pub reason: Reason,
}

/// Why a message could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Malformed,
    Oversized,
    Foreign,
    /// Records of the log that are damaged.
    Damaged,
}

/// A delivered post.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub sequence: u64,
    pub term: u64,
    pub id: u64,
    pub json: String,
    /// Ids of its rules, 0 where there is none, and their tags.
    pub rules: Vec<(u64, Option<String>)>,
    pub tags: Vec<String>,
    pub origin: Origin,
    /// The gap of the log that it closes a part of.
    pub gap: Option<String>,
    pub is_delta: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Live,
    Backfill,
    Recovery,
}

/// A gap as it was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub id: String,
    /// The log that it is announced in.
    pub log: u128,
    pub from: Ms,
    /// Open if there is none.
    pub to: Option<Ms>,
    pub state: State,
    pub evidence: String,
    pub cause: String,
    pub is_private: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Detected,
    Recovering,
    Backfilled,
    Recovered,
    Unrecoverable,
}

impl State {
    pub(super) fn is_final(self) -> bool {
        !matches!(self, Self::Detected | Self::Recovering)
    }

    /// It claims that nothing is missing.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Backfilled | Self::Recovered)
    }
}

impl Gap {
    pub(super) fn contains(&self, time: Ms) -> bool {
        self.from <= time && self.to.is_none_or(|to| time < to)
    }
}
