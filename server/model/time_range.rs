use serde::{Deserialize, Serialize};

use super::UnixMillis;

/// A bounded interval of time, [from, to).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// Start, included.
    pub from: UnixMillis,
    /// End, excluded.
    pub to: UnixMillis,
}

impl TimeRange {
    /// Creates an interval; empty if `to` is not after `from`.
    pub fn new(from: UnixMillis, to: UnixMillis) -> Self {
        Self { from, to }
    }

    /// True if it is empty.
    pub fn is_empty(self) -> bool {
        self.to <= self.from
    }

    /// True if this time is in the interval.
    pub fn contains(self, time: UnixMillis) -> bool {
        self.from <= time && time < self.to
    }

    /// True if all of `other` is in the interval.
    pub fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.from <= other.from && other.to <= self.to)
    }

    /// Returns the common part.
    pub fn intersection(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

/// A set of times: intervals that do not touch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeRangeSet(Vec<TimeRange>);

impl TimeRangeSet {
    /// Adds an interval and merges it with adjacent ones.
    pub fn insert(&mut self, span: TimeRange) {
        if span.is_empty() {
            return;
        }
        let begin = self.0.partition_point(|held| held.to < span.from);
        let end = self.0.partition_point(|held| held.from <= span.to);
        let mut joined = span;
        for held in &self.0[begin..end] {
            joined = TimeRange { from: joined.from.min(held.from), to: joined.to.max(held.to) };
        }
        self.0.splice(begin..end, [joined]);
    }

    /// Removes an interval.
    pub fn remove(&mut self, span: TimeRange) {
        if span.is_empty() {
            return;
        }
        let rest = |held: &TimeRange| {
            [TimeRange::new(held.from, held.to.min(span.from)), TimeRange::new(held.from.max(span.to), held.to)]
        };
        self.0 = self.0.iter().flat_map(rest).filter(|held| !held.is_empty()).collect();
    }

    /// Adds another set.
    pub fn insert_all(&mut self, other: &Self) {
        other.iter().for_each(|span| self.insert(span));
    }

    /// Removes another set.
    pub fn remove_all(&mut self, other: &Self) {
        other.iter().for_each(|span| self.remove(span));
    }

    /// Returns the part within `span`.
    pub fn within(&self, span: TimeRange) -> Self {
        self.iter().map(|held| held.intersection(span)).filter(|held| !held.is_empty()).collect()
    }

    /// True if this time is in the set.
    pub fn contains(&self, time: UnixMillis) -> bool {
        let at = self.0.partition_point(|held| held.to <= time);
        self.0.get(at).is_some_and(|held| held.contains(time))
    }

    /// True if all of `span` is in the set.
    pub fn covers(&self, span: TimeRange) -> bool {
        span.is_empty() || self.0.iter().any(|held| held.covers(span))
    }

    /// True if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of intervals.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the intervals, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TimeRange> + '_ {
        self.0.iter().copied()
    }

    /// Returns the first interval.
    pub fn first(&self) -> Option<TimeRange> {
        self.0.first().copied()
    }

    /// Returns the last interval.
    pub fn last(&self) -> Option<TimeRange> {
        self.0.last().copied()
    }
}

impl FromIterator<TimeRange> for TimeRangeSet {
    fn from_iter<I: IntoIterator<Item = TimeRange>>(spans: I) -> Self {
        let mut set = Self::default();
        spans.into_iter().for_each(|span| set.insert(span));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn span(from: i64, to: i64) -> TimeRange {
        TimeRange::new(UnixMillis(from), UnixMillis(to))
    }

    proptest! {
        #[test]
        fn it_is_set_of_its_times(steps in prop::collection::vec((any::<bool>(), 0_i64..40, 0_i64..12), 0..30)) {
            let (mut spans, mut times) = (TimeRangeSet::default(), BTreeSet::new());
            for (insert, from, length) in steps {
                if insert {
                    spans.insert(span(from, from + length));
                    times.extend(from..from + length);
                } else {
                    spans.remove(span(from, from + length));
                    times.retain(|time| *time < from || *time >= from + length);
                }
                for time in 0..60 {
                    prop_assert_eq!(spans.contains(UnixMillis(time)), times.contains(&time));
                }
                let held: Vec<_> = spans.iter().collect();
                prop_assert!(held.windows(2).all(|pair| pair[0].to < pair[1].from), "they do not touch: {:?}", held);
                prop_assert!(held.iter().all(|held| !held.is_empty() && spans.covers(*held)));
                let part: BTreeSet<_> = spans.within(span(7, 23)).iter().flat_map(|held| held.from.0..held.to.0).collect();
                prop_assert_eq!(part, times.range(7..23).copied().collect::<BTreeSet<_>>());
            }
        }
    }
}
