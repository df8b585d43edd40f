//! What subscribers got.

use crate::SECOND;
use crate::filter::Filter;
use crate::history::Ms;

/// All sessions of one subscriber that are linked by resume tokens.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its number.
    pub number: usize,
    /// What it asks for.
    pub filter: Filter,
    /// Its sessions, in order.
    pub sessions: Vec<Session>,
}

/// One session: the frames up to the one whose token the next session began with.
#[derive(Clone, Debug)]
pub struct Session {
    /// When its first frame was read, by upstream's clock.
    pub at: Ms,
    /// Where it asked to begin.
    pub from: From,
    /// How it began.
    pub outcome: Outcome,
    /// Identity of the log.
    pub log: String,
    /// Sequence of the last record before it, if that is known.
    pub position: Option<u64>,
    /// The interval that its first frame calls missing.
    pub missing: Option<(Ms, Option<Ms>)>,
    /// The gaps that its first frame calls open.
    pub open_gaps: Vec<Gap>,
    /// The token of its first frame; empty without one, or if tokens are not recorded.
    pub token: String,
    /// The frames after the first.
    pub frames: Vec<Frame>,
    /// How it ended, if the gateway ended it.
    pub end: Option<End>,
}

/// How the gateway ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The name of its code, as in `docs/contract.md`.
    pub code: String,
    /// Its reason, if it has one.
    pub reason: Option<String>,
    /// It came with the last token.
    pub has_token: bool,
}

/// Where a session asked to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// At the tip.
    Latest,
    /// At the oldest record.
    Earliest,
    /// At this time.
    Time(Ms),
    /// After the session before.
    Token,
}

/// How a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At the tip.
    Live,
    /// Exactly where it asked.
    Exact,
    /// By time.
    TimeBounded,
    /// Later than it asked, as it allowed.
    Clamped,
    /// It was not opened.
    Refused,
}

/// A frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it was read, by upstream's clock.
    pub at: Ms,
    /// Its token, if it has one and tokens are recorded.
    pub token: Option<String>,
    /// What it contains.
    pub content: Content,
}

/// What a frame contains.
#[derive(Clone, Debug)]
pub enum Content {
    /// A batch.
    Posts {
        /// Its posts.
        events: Vec<Event>,
        /// It is marked: some may have come before.
        may_repeat: bool,
        /// They are out of the side log.
        is_private: bool,
    },
    /// A change of a gap.
    Gap(Gap),
    /// Messages that could not be taken.
    Skip(Skip),
    /// A sign of life.
    Heartbeat {
        /// Everything created before this was delivered or announced.
        low_watermark: Ms,
    },
    /// All that was in the log is delivered.
    CaughtUp,
    /// The session is about to end.
    Draining,
    /// The end of the session, with its last token.
    End,
    /// Anything else.
    Other,
}

/// Messages that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The record that announces it; 0 in a side log.
    pub sequence: u64,
    /// When the first of them came.
    pub from: Ms,
    /// When the last of them came.
    pub to: Option<Ms>,
    /// How many they are.
    pub count: u64,
    /// Why they could not be taken.
    pub reason: Reason,
}

/// Why a message could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is no message.
    Malformed,
    /// It is too long.
    Oversized,
    /// It is in another format.
    Foreign,
    /// Records of the log are damaged.
    Damaged,
}

/// A delivered post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its record; 0 out of the side log.
    pub sequence: u64,
    /// The term of its record.
    pub term: u64,
    /// The id of the post.
    pub id: u64,
    /// The payload.
    pub json: String,
    /// Ids of its rules, 0 where there is none, and their tags.
    pub rules: Vec<(u64, Option<String>)>,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it came, as reported.
    pub origin: Origin,
    /// The gap of which it closes a part, as reported.
    pub gap: Option<String>,
    /// It is reported as a delta, where that is known.
    pub is_delta: Option<bool>,
}

/// How a post came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On a live connection.
    Live,
    /// On a live connection, as backfill.
    Backfill,
    /// In answer to a recovery request.
    Recovery,
}

/// A gap as it was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its identity: the same in all announcements of it, and of no other gap.
    pub id: String,
    /// The log that it is announced in.
    pub log: String,
    /// Its begin.
    pub from: Ms,
    /// Its end; open without one.
    pub to: Option<Ms>,
    /// Its state.
    pub state: State,
    /// Why it is considered closed, in words of the API.
    pub evidence: String,
    /// Why it is there, in words of the API.
    pub cause: String,
    /// It is of this subscription only.
    pub is_private: bool,
}

/// The state of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It was found.
    Detected,
    /// It is being recovered.
    Recovering,
    /// Backfill closed it.
    Backfilled,
    /// Recovery closed it.
    Recovered,
    /// It was given up.
    Unrecoverable,
}

impl State {
    /// True if nothing comes after it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Detected | Self::Recovering)
    }

    /// True if it claims that nothing is missing.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Backfilled | Self::Recovered)
    }
}

impl Gap {
    /// True if a post created then may be missing.
    pub fn contains(&self, time: Ms) -> bool {
        self.from <= time && self.to.is_none_or(|to| time < to)
    }

    /// True if it stands for an open private gap from now on: past the bound of a token, the nearest merge.
    pub fn replaces(&self, other: &Self) -> bool {
        let contains = self.from <= other.from && self.to.zip(other.to).is_some_and(|(own, other)| other <= own);
        self.is_private && other.is_private && self.id != other.id && !other.state.is_final() && contains
    }
}

impl Session {
    /// True if the session knows of a gap's end by what it begins with: an open gap of another log, or one whose end was
    /// trimmed, is part of a gap of the subscription itself. A final state is final.
    pub fn supersedes(&self, gap: &Gap) -> bool {
        let is_other = gap.log != self.log;
        let is_over = self.outcome == Outcome::TimeBounded;
        let is_known = self.open_gaps.iter().any(|open| open.id == gap.id);
        !gap.is_private && !gap.state.is_final() && (is_other || (is_over && !is_known))
    }

    /// True if a gap of the subscription itself is announced in it.
    pub fn has_private_gap(&self) -> bool {
        let is_private = |frame: &Frame| matches!(&frame.content, Content::Gap(gap) if gap.is_private);
        self.open_gaps.iter().any(|gap| gap.is_private) || self.frames.iter().any(is_private)
    }

    /// True if it began exactly where it was asked to.
    pub fn is_exact(&self) -> bool {
        matches!(self.outcome, Outcome::Live | Outcome::Exact)
    }
}

impl Subscription {
    /// Until when it read the log that it had begun with: a resume by time leaves out what came before its start.
    pub fn read_until(&self) -> Ms {
        let last = self.sessions.windows(2).find(|pair| pair[1].outcome == Outcome::TimeBounded).map(|pair| &pair[0]);
        last.map_or(Ms::MAX, |own| own.frames.last().map_or(own.at, |frame| frame.at) + SECOND)
    }

    /// Every gap as it was announced last.
    pub fn last_gaps(&self) -> Vec<Gap> {
        let mut last: Vec<Gap> = Vec::new();
        let take = |last: &mut Vec<Gap>, gap: &Gap| {
            last.retain(|own| !gap.replaces(own));
            match last.iter_mut().find(|own| own.id == gap.id) {
                Some(own) => *own = gap.clone(),
                None => last.push(gap.clone()),
            }
        };
        for session in &self.sessions {
            last.retain(|gap| !session.supersedes(gap));
            session.open_gaps.iter().for_each(|gap| take(&mut last, gap));
            for frame in &session.frames {
                if let Content::Gap(gap) = &frame.content {
                    take(&mut last, gap);
                }
            }
        }
        last
    }

    /// Every batch with the place of its session: events, whether it is marked, whether it is private.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (usize, &[Event], bool, bool)> {
        let frames = self.sessions.iter().enumerate().flat_map(|(at, own)| own.frames.iter().map(move |it| (at, it)));
        frames.filter_map(|(at, frame)| match &frame.content {
            Content::Posts { events, may_repeat, is_private } => Some((at, &events[..], *may_repeat, *is_private)),
            _ => None,
        })
    }

    /// True if every session began exactly where it was asked to, and nothing of its own is missing.
    pub(crate) fn is_exact(&self) -> bool {
        // A private gap is superseded by private gaps only.
        self.sessions.iter().all(|session| session.is_exact() && !session.has_private_gap())
    }
}
