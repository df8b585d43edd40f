//! Ranges that are no longer requested, but whose records may be in the side log.

use serde::{Deserialize, Serialize};

use crate::model::{Sequence, TimeRange};

/// Formerly requested ranges, and their records in the side log. If one is requested again, its posts are read from
/// there: X sends them once more, but posts in the side log are not appended again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FormerRanges(Vec<FormerRange>);

/// An interval, and the records [`since`, `until`) that may belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FormerRange {
    span: TimeRange,
    since: Sequence,
    until: Sequence,
}

impl FormerRanges {
    /// Maximum intervals; beyond it the first two are merged.
    const INTERVALS_MAX: usize = 64;

    /// Adds an interval, merged with adjacent intervals.
    pub(super) fn add(&mut self, span: TimeRange, since: Sequence, until: Sequence) {
        if span.is_empty() || since >= until {
            return;
        }
        let mut own = FormerRange { span, since, until };
        self.0.retain(|other| {
            let touches = other.span.from <= own.span.to && own.span.from <= other.span.to;
            if touches {
                own = own.with(other);
            }
            !touches
        });
        let place = self.0.partition_point(|other| other.span.from < own.span.from);
        self.0.insert(place, own);
        if self.0.len() > Self::INTERVALS_MAX {
            let first = self.0.remove(0);
            self.0[0] = first.with(&self.0[0]);
        }
    }

    /// Removes intervals whose records are all trimmed.
    pub(super) fn forget(&mut self, earliest: Sequence) {
        self.0.retain(|asked| asked.until > earliest);
    }

    /// Returns the first record that may belong to `span` from an earlier request.
    pub(super) fn since(&self, span: TimeRange) -> Option<Sequence> {
        self.0.iter().filter(|asked| !asked.span.intersection(span).is_empty()).map(|asked| asked.since).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FormerRange {
    fn with(self, other: &Self) -> Self {
        Self {
            span: TimeRange::new(self.span.from.min(other.span.from), self.span.to.max(other.span.to)),
            since: self.since.min(other.since),
            until: self.until.max(other.until),
        }
    }
}
