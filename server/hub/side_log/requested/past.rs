//! What nobody asks for any more, but of which records may be in the side log.

use serde::{Deserialize, Serialize};

use crate::model::{Sequence, TimeRange};

/// Intervals that were asked for, and where in the side log records of them may be. If one is asked for again its posts are
/// read from there: X sends them once more, but what the side log has is not appended again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FormerRanges(Vec<FormerRange>);

/// An interval, and the records [`since`, `until`) that may be of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FormerRange {
    span: TimeRange,
    since: Sequence,
    until: Sequence,
}

impl FormerRanges {
    /// Most intervals that are remembered; beyond it the first two become one.
    const INTERVALS_MAX: usize = 64;

    /// Remembers an interval. Those that it touches become one with it.
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

    /// Forgets those of which no record is left in the side log.
    pub(super) fn forget(&mut self, earliest: Sequence) {
        self.0.retain(|asked| asked.until > earliest);
    }

    /// From where on records of `span` may be in the side log that were appended when somebody asked for it before.
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
