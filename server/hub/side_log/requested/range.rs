//! A requested range and its state.

use serde::{Deserialize, Serialize};

use crate::model::{GapEvidence, Sequence, TimeRange};

/// What has become of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeState {
    /// Not all of it is there yet.
    Open,
    /// All that X has of it is in the side log.
    Proven(GapEvidence),
    /// It cannot be brought any more.
    Lost(GapEvidence),
}

/// An interval that somebody lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedRange {
    /// The interval.
    pub span: TimeRange,
    /// Its posts have this sequence in the side log, or a later one.
    pub since: Sequence,
    /// Stamp of the demand for it: only requests made afterwards prove it.
    #[serde(default)]
    pub wanted: u64,
    /// What has become of it.
    pub fate: RangeState,
    /// It was settled before, and may have been told as ended.
    #[serde(default)]
    pub was_settled: bool,
    /// Posts of it that were appended.
    pub posts: u64,
}
