//! What happens in a history: plain data, so that it can be printed, repeated and made shorter.

use super::truth::{Ms, Traffic, Want};

/// A history.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub seed: u64,
    pub setup: Setup,
    pub steps: Vec<Step>,
    /// What X does on live connections, in the order in which it is asked; afterwards it behaves.
    pub lives: Vec<Live>,
    /// The same for recovery requests.
    pub jobs: Vec<Job>,
}

impl Plan {
    /// True if every host of the gateway has X's time.
    pub(super) fn hosts_are_exact(&self) -> bool {
        self.hosts_ahead().all(|ahead| ahead == 0)
    }

    /// True if no host is off by more than X may correct, and a correction that was made on one is right on the next but
    /// for the grain of a `Date`.
    pub(super) fn hosts_agree(&self) -> bool {
        const OFF_MAX: Ms = 1_500;
        const SPREAD_MAX: Ms = 1_000;
        let (least, most) = self.hosts_bounds();
        -OFF_MAX <= least && most <= OFF_MAX && most - least <= SPREAD_MAX
    }

    /// How far the hosts are from each other.
    pub(super) fn hosts_spread(&self) -> Ms {
        let (least, most) = self.hosts_bounds();
        most - least
    }

    fn hosts_bounds(&self) -> (Ms, Ms) {
        self.hosts_ahead().fold((Ms::MAX, Ms::MIN), |(least, most), it| (least.min(it), most.max(it)))
    }

    /// How far each host is ahead of X.
    fn hosts_ahead(&self) -> impl Iterator<Item = Ms> {
        let moved = self.steps.iter().filter_map(|step| match step {
            Step::Kill { host_ahead, .. } => *host_ahead,
            _ => None,
        });
        std::iter::once(self.setup.host_ahead).chain(moved)
    }
}

/// What holds for the whole history.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The log is in files; in memory otherwise.
    pub files: bool,
    pub traffic: Traffic,
    /// How far the clock of the host is ahead of X's at the start.
    pub host_ahead: Ms,
    /// How long records are kept.
    pub retention: Ms,
    /// Bytes of the hot tail.
    pub ring_bytes: usize,
    /// How often the gateway does its maintenance.
    pub maintenance_interval: Ms,
    /// How far back X recovers.
    pub recovery_window: Ms,
    /// Redundant connections.
    pub connections: u8,
    /// Each of two connections carries the posts of one datacenter.
    pub datacenters: bool,
    /// Age at which a session is ended; never if it is 0.
    pub session_age: Ms,
    /// Duration of the longest recovery request.
    pub request_max: Ms,
}

/// Something that happens to the gateway, to its subscribers, or to the connection from outside.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// So much time passes.
    Pass(Ms),
    /// X ends the live connection now.
    Cut(End),
    /// The process is stopped for so long. X may end the live connection half-way.
    Freeze(Ms, Option<End>),
    /// The process is killed, and starts again after so long.
    Kill { down: Ms, log: LogOutcome, host_ahead: Option<Ms> },
    /// The leadership of the account ends, and another one begins in the same process.
    Renew,
    /// A new subscription.
    Subscribe(Want, Start),
    /// A subscription goes away.
    Leave(usize),
    /// It reconnects with the token of so many frames ago.
    Resume(usize, usize),
    /// The log as it is now is kept; a later loss goes back to it.
    Snapshot,
    /// The disk cannot read the log for so long.
    Unreadable(Ms),
    /// Other programs fill the disk for so long.
    Full(Ms),
}

/// What becomes of the log when the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogOutcome {
    Kept,
    /// It is as it was at the last snapshot; all else is kept.
    LoseTail,
    /// It is gone.
    Lost,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Latest,
    Earliest,
    /// So long ago.
    Back(Ms),
}

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As HTTP wants.
    Clean,
    /// It breaks off; what was sent can be read.
    Cut,
    /// It breaks off, and what was not read is lost.
    Reset,
    /// Nothing comes any more.
    Stall,
    /// It breaks off within a post.
    Half,
    /// X reports a slow reader, and breaks it off: the next connection has no backfill.
    SlowReader,
    /// X reports something else.
    Operational,
}

/// How X answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stream,
    /// This status, with X's document or a web page.
    Refuse(u16, bool),
    /// No answer: refused, cut or silent.
    Unreachable,
    Silent,
    /// 200 and a web page.
    Page,
}

/// The `Date` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Date {
    Right,
    Absent,
    /// Ahead of X's clock by so much.
    Ahead(Ms),
}

/// The order of posts that are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    ByTime,
    /// Any order within a minute.
    WithinMinutes,
    /// Any order at all.
    Any,
}

/// What X does on a live connection.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub answer: Answer,
    pub date: Date,
    /// The first message is `connection_metadata`.
    pub metadata: bool,
    /// Posts come no earlier than this after their creation.
    pub lag: Ms,
    /// Backfill is given; if not, the request for it is passed over.
    pub backfill: bool,
    /// Time for which there is backfill beyond the minutes that were asked for.
    pub backfill_more: Ms,
    /// How far the host of X that answers is off, within the grain of a `Date`: bounds of requests are so much later.
    pub edge: Ms,
    pub order: Order,
    /// Time between two posts of the backfill.
    pub pace: Ms,
    /// Every so many backfilled posts one comes twice.
    pub twice: usize,
    /// Other messages, and when after the answer.
    pub extras: Vec<(Ms, Extra)>,
    /// When it ends, after the answer.
    pub end: Option<(Ms, End)>,
}

/// A message that is no post in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// One of the known messages that state nothing about the end.
    Control(usize),
    /// The next post is cut off in its middle, and the stream continues.
    CutPost,
    /// The next post is longer than the gateway takes.
    LongPost,
    /// The next post comes in another format.
    ForeignPost,
    Garbage,
    Page,
}

/// How X ends a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The completion message, without a count or with a true one.
    Completed,
    Counted,
    /// With a true count, and one of so many posts withheld.
    CountedLess(u32),
    /// No message.
    None,
    /// One of so many minutes is withheld, and named.
    WithErrors(u32),
    /// The end is withheld, and named.
    Failed,
    /// An error object.
    Error,
    /// A web page, or malformed bytes.
    Page,
    Garbage,
}

/// What X does with a recovery request.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub answer: Answer,
    pub order: Order,
    pub pace: Ms,
    /// Time to the first post, with heartbeats.
    pub delay: Ms,
    /// As of a live connection.
    pub edge: Ms,
    /// Per cent of the posts that are sent before the end.
    pub sent: u8,
    pub word: Word,
    pub end: End,
}

impl Live {
    /// What X does when it behaves.
    pub(super) fn good() -> Self {
        Self {
            answer: Answer::Stream,
            date: Date::Right,
            metadata: false,
            lag: 0,
            backfill: true,
            backfill_more: 0,
            edge: 0,
            order: Order::ByTime,
            pace: 0,
            twice: 0,
            extras: Vec::new(),
            end: None,
        }
    }
}

impl Job {
    /// What X does when it behaves.
    pub(super) fn good() -> Self {
        let (answer, order, word, end) = (Answer::Stream, Order::ByTime, Word::Completed, End::Clean);
        Self { answer, order, pace: 0, delay: 0, edge: 0, sent: 100, word, end }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "history of seed {}: {:?}", self.seed, self.setup)?;
        for (number, live) in self.lives.iter().enumerate() {
            writeln!(f, "  live connection {number}: {live:?}")?;
        }
        for (number, job) in self.jobs.iter().enumerate() {
            writeln!(f, "  recovery request {number}: {job:?}")?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  step {number}: {step:?}")?;
        }
        Ok(())
    }
}
