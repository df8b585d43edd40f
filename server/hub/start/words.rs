//! What is asked of a start, and how it was met.

use std::time::Duration;

use crate::model::UnixMillis;

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

/// The lineage start of `earliest`: before any post was created, so that nothing that the log holds is left out for its age.
pub const BEGINNING: UnixMillis = UnixMillis(0);

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
    /// By time: the token is of another log, of a lost tail of this one, or older than what the log holds. What is missing
    /// is brought for this lineage.
    TimeBounded,
    /// A policy dropped a part.
    Clamped,
}
