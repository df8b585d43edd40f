//! What is wanted for private gaps, in which order it was asked for, and from where on the account's log is complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::requested::{Change, RequestedRanges};
use crate::model::{GapEvidence, GapState, TimeRange, UnixMillis};

/// Stamp of demands that were made before the process began.
pub(super) const FIRST_STAMP: u64 = 1;

/// What a side log is for, at this moment.
pub(super) struct SideLogState {
    /// What is wanted.
    pub(super) shares: RequestedRanges,
    /// From where on the account's log has everything.
    pub(super) completeness: Option<Completeness>,
    /// Of the newest demand; 0 before the first.
    pub(super) stamp: u64,
    /// A request may have been made since: the next demand has another stamp. Demands between which none was made are
    /// answered by the same requests.
    pub(super) is_stamp_taken: bool,
}

impl SideLogState {
    pub(super) fn new(shares: RequestedRanges, completeness: Option<Completeness>) -> Self {
        let stamp = if shares.len() == 0 { 0 } else { FIRST_STAMP };
        Self { shares, completeness, stamp, is_stamp_taken: true }
    }

    /// The stamp of a demand that is made now.
    pub(super) fn next_stamp(&self) -> u64 {
        if self.is_stamp_taken { self.stamp + 1 } else { self.stamp }
    }

    /// Makes one of the nearest if there are too many, with the stamp of a demand that is made now, which has changed this.
    pub(super) fn bound(&mut self, intervals_max: usize, mut change: Change) -> Change {
        let stamp = self.next_stamp();
        let bound = self.shares.bound(intervals_max, stamp);
        (change.asks, change.tells) = (change.asks | bound.asks, change.tells | bound.tells);
        if change.asks {
            (self.stamp, self.is_stamp_taken) = (stamp, false);
        }
        change
    }

    /// Up to where the account's log may not have what lies in `span`. Where it begins is as uncertain as the clock.
    pub(super) fn missing_until(&self, span: TimeRange, from_beginning: bool, uncertainty: Duration) -> UnixMillis {
        match self.completeness {
            Some(Completeness::From(from)) if from_beginning => span.to.min(from.plus(uncertainty)).max(span.from),
            _ => span.to,
        }
    }
}

/// In order, with what is alike and touches in one piece.
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

/// From where on the account's log has everything that its beginning is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// The first connection's backfill is expected to bring it from here on, or is under way.
    Pending(UnixMillis),
    /// From here on.
    From(UnixMillis),
}
