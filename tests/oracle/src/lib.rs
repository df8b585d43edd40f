//! The oracle: checks what subscriptions got against what upstream held and wrote, by the delivery contract alone.
//!
//! A [`History`] is plain data: the posts of upstream, each time that one of them was written to a connection, what became
//! of connections and of logs, and the frames of each subscription. [`check`] returns everything in it that the contract
//! (`docs/contract.md`) forbids. The histories on the virtual clock and the scenarios of `tests/it` both use it.
//!
//! Owns: the rules of delivery, of order, of gaps, of low watermarks, of marks, of ends, and of agreement between
//! subscriptions. Does not own: how a history is recorded.
//!
//! Invariants
//! - This crate has no dependency: it shares no type, parser or clock with the gateway.
//! - Time is that of upstream: when a post was created, and when it was written. Times that the gateway reports are
//!   checked, never used.
//! - A write is what upstream did. It counts as received only where that is certain ([`Write::is_read`]).

mod agreement;
mod content;
mod delivery;
mod filter;
mod gaps;
mod history;
mod index;
mod order;
mod process;
mod seen;
mod tight;

pub use filter::Filter;
pub use history::{Connection, History, Loss, Ms, Post, Rule, Tally, Terms, Write, running_until};
pub use seen::{Content, End, Event, Frame, From, Gap, Origin, Outcome, Reason, Session, Skip, State, Subscription};

use index::Index;

/// A second, in milliseconds.
pub(crate) const SECOND: Ms = 1_000;
/// A minute, in milliseconds.
pub(crate) const MINUTE: Ms = 60 * SECOND;
/// Most faults of one kind that are reported of a subscription.
const FAULTS_MAX: usize = 4;

/// A kind of violation of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// I2: a post that is due was not delivered, and nothing excuses it.
    Missing,
    /// I2: the gateway received it, so no gap excuses it.
    MissingReceived,
    /// I5: the token of a frame covers a post that came in no frame before it.
    TokenAhead,
    /// I2c: a gap was closed although a post of it is missing, or came later.
    ClosedTooEarly,
    /// I1: a post came again, unmarked.
    Repeated,
    /// I1: a mark of possible repeats where none can be.
    Marked,
    /// I4: sequences do not increase, or posts of a connection lost their order.
    OutOfOrder,
    /// A post that upstream does not have.
    Foreign,
    /// I6: a post that is not for this filter, or a delta that is not.
    Unwanted,
    /// I0: a payload that no arrival had.
    Damaged,
    /// Rules or tags that no arrival had.
    Mislabelled,
    /// An origin that no arrival had.
    Origin,
    /// A gap without cause, evidence or bounds, or one that changed backwards.
    GapState,
    /// I2b: a gap that is wider than what was missing.
    Wide,
    /// Posts of a new connection came before the gap in front of it was announced.
    Unannounced,
    /// I12: given up although upstream would still send it.
    GivenUp,
    /// I12: still open at the end.
    Open,
    /// The low watermark passed a post that is neither delivered nor announced.
    Watermark,
    /// I3b, I7: one position, two contents.
    Position,
    /// I13: an end that section 8 does not have.
    End,
    /// The accounting law.
    Accounting,
    /// I11: more connections at once than allowed.
    Manners,
    /// A start that is not what it should be: a resume that is silently live.
    Start,
}

impl Kind {
    /// The name of the check: the invariant of the contract, or a word for what it has no number for.
    pub fn check(self) -> &'static str {
        match self {
            Self::Missing | Self::MissingReceived | Self::Unannounced => "I2",
            Self::TokenAhead => "I5",
            Self::ClosedTooEarly | Self::GapState => "I2c",
            Self::Repeated | Self::Marked => "I1",
            Self::OutOfOrder => "I4",
            Self::Unwanted => "I6",
            Self::Damaged => "I0",
            Self::Foreign | Self::Mislabelled | Self::Origin => "labels",
            Self::Wide => "I2b",
            Self::GivenUp | Self::Open => "I12",
            Self::Watermark => "watermark",
            Self::Position => "I7",
            Self::End => "I13",
            Self::Accounting => "accounting",
            Self::Manners => "I11",
            Self::Start => "I3",
        }
    }
}

/// A violation of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is violated.
    pub kind: Kind,
    /// The subscription that it was found at.
    pub subscription: Option<usize>,
    /// The id of the post that it is about.
    pub post: Option<u64>,
    /// What happened, with the values.
    pub text: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(number) = self.subscription {
            write!(f, "subscription {number}: ")?;
        }
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

impl Fault {
    pub(crate) fn new(kind: Kind, text: String) -> Self {
        Self { kind, subscription: None, post: None, text }
    }

    pub(crate) fn of_post(kind: Kind, post: u64, text: String) -> Self {
        Self { post: Some(post), ..Self::new(kind, text) }
    }
}

/// Returns everything in a history that the contract forbids, at most four faults of a kind for each subscription.
pub fn check(history: &History) -> Vec<Fault> {
    let index = Index::new(history);
    let mut faults = Vec::new();
    for seen in &history.subscriptions {
        let mut own = delivery::check(&index, seen);
        own.extend(content::check(&index, seen));
        own.extend(order::check(&index, seen));
        own.extend(gaps::check(&index, seen));
        own.extend(tight::check(&index, seen));
        own.extend(process::ends(history, seen));
        let own = own.into_iter().map(|fault| Fault { subscription: Some(seen.number), ..fault });
        faults.extend(own);
    }
    faults.extend(agreement::check(&index));
    faults.extend(process::check(history));
    bounded(faults)
}

/// The first faults of each kind and subscription. A low watermark that passed a post which is missing anyway is no fault of
/// its own.
fn bounded(faults: Vec<Fault>) -> Vec<Fault> {
    const MISSING: [Kind; 4] = [Kind::Missing, Kind::MissingReceived, Kind::TokenAhead, Kind::ClosedTooEarly];
    let is_missing = |own: &Fault| MISSING.contains(&own.kind) && own.post.is_some();
    let missing: Vec<_> = faults.iter().filter(|own| is_missing(own)).map(|own| (own.subscription, own.post)).collect();
    let mut kept: Vec<Fault> = Vec::new();
    for fault in faults {
        if [Kind::Watermark, Kind::MissingReceived].contains(&fault.kind)
            && missing.contains(&(fault.subscription, fault.post))
            && kept
                .iter()
                .any(|own| is_missing(own) && (own.subscription, own.post) == (fault.subscription, fault.post))
        {
            continue;
        }
        let is_same = |own: &&Fault| own.kind == fault.kind && own.subscription == fault.subscription;
        let is_known = fault.post.is_some() && kept.iter().filter(is_same).any(|own| own.post == fault.post);
        if !is_known && kept.iter().filter(is_same).count() < FAULTS_MAX {
            kept.push(fault);
        }
    }
    kept
}
