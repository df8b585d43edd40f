//! Requested ranges, the order of demands, and the completeness of the account's log.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::requested::{DemandEffect, RequestedRanges};
use crate::model::{GapEvidence, GapState, TimeRange, UnixMillis};

/// Stamp of demands from before the process started.
pub(super) const FIRST_STAMP: u64 = 1;

/// Current state of a side log.
pub(super) struct SideLogState {
    /// Requested ranges.
    pub(super) shares: RequestedRanges,
    /// Completeness of the account's log.
    pub(super) completeness: Option<Completeness>,
    /// Stamp of the newest demand; 0 before the first.
    pub(super) stamp: u64,
    /// True if a request may have been made since: the next demand gets another stamp. Demands without a request in
    /// between are answered by the same requests.
    pub(super) is_stamp_taken: bool,
}

impl SideLogState {
    pub(super) fn new(shares: RequestedRanges, completeness: Option<Completeness>) -> Self {
        let stamp = if shares.len() == 0 { 0 } else { FIRST_STAMP };
        Self { shares, completeness, stamp, is_stamp_taken: true }
    }

    /// Returns the stamp of a demand made now.
    pub(super) fn next_stamp(&self) -> u64 {
        if self.is_stamp_taken { self.stamp + 1 } else { self.stamp }
    }

    /// Merges the nearest ranges if there are too many, with the stamp of a demand made now; `change` is its effect so
    /// far.
    pub(super) fn bound(&mut self, intervals_max: usize, mut change: DemandEffect) -> DemandEffect {
        let stamp = self.next_stamp();
        let bound = self.shares.bound(intervals_max, stamp);
        (change.asks, change.reopens) = (change.asks | bound.asks, change.reopens | bound.reopens);
        if change.asks {
            (self.stamp, self.is_stamp_taken) = (stamp, false);
        }
        change
    }

    /// Returns up to when the account's log may miss parts of `span`. Its start is as uncertain as the clock.
    pub(super) fn missing_until(&self, span: TimeRange, from_beginning: bool, uncertainty: Duration) -> UnixMillis {
        match self.completeness {
            Some(Completeness::From(from)) if from_beginning => span.to.min(from.plus(uncertainty)).max(span.from),
            _ => span.to,
        }
    }
}

/// Merges equal neighbours.
pub(super) fn joined(mut parts: Vec<(TimeRange, GapState, GapEvidence)>) -> Vec<(TimeRange, GapState, GapEvidence)> {
    parts.retain(|(span, ..)| !span.is_empty());
    parts.sort_by_key(|(span, ..)| span.from);
    parts.dedup_by(|next, own| {
        let alike = own.0.to == next.0.from && (own.1, own.2) == (next.1, next.2);
        if alike {
            own.0.to = next.0.to;
        }
        alike
    });
    parts
}

/// From when on the account's log contains everything after its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// The first connection's backfill is expected to deliver it from here on, or is in progress.
    Pending(UnixMillis),
    /// From here on.
    From(UnixMillis),
}

impl Completeness {
    /// Returns the time from which on the log is complete, or is expected to be.
    pub fn time(self) -> UnixMillis {
        let (Self::Pending(time) | Self::From(time)) = self;
        time
    }

    /// Changes the time.
    pub fn map(self, change: impl FnOnce(UnixMillis) -> UnixMillis) -> Self {
        match self {
            Self::Pending(time) => Self::Pending(change(time)),
            Self::From(time) => Self::From(change(time)),
        }
    }
}
