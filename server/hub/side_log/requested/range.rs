//! A requested range and its state.

use serde::{Deserialize, Serialize};

use crate::model::{GapEvidence, Sequence, TimeRange};

/// State of a requested range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeState {
    /// Not all of it is in the side log yet.
    Open,
    /// All posts of it that X has are in the side log.
    Proven(GapEvidence),
    /// It cannot be recovered any more.
    Lost(GapEvidence),
}

/// A requested interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedRange {
    /// The interval.
    pub span: TimeRange,
    /// Its posts are at this sequence of the side log or later.
    pub since: Sequence,
    /// Stamp of the demand: only later requests prove it.
    #[serde(default)]
    pub wanted: u64,
    /// State.
    #[serde(rename = "fate")]
    pub state: RangeState,
    /// True if it was in a final state before, and may have been reported as ended.
    #[serde(default)]
    pub was_settled: bool,
    /// Number of its appended posts.
    pub posts: u64,
}
