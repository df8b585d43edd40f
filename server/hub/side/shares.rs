//! Which intervals are wanted of X for the side log, and what has become of each. Pure.

use serde::{Deserialize, Serialize};

use crate::model::{GapEvidence, Sequence, Span, Spans, UnixMillis};

/// What has become of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Not all of it is there yet.
    Open,
    /// All that X has of it is in the side log.
    Proven(GapEvidence),
    /// It cannot be brought any more.
    Lost(GapEvidence),
}

/// An interval that somebody lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The interval.
    pub span: Span,
    /// Its posts have this sequence in the side log, or a later one.
    pub since: Sequence,
    /// Stamp of the demand for it: only requests made afterwards prove it.
    #[serde(default)]
    pub wanted: u64,
    /// What has become of it.
    pub fate: Fate,
    /// Posts of it that were appended.
    pub posts: u64,
}

/// Intervals that somebody lacks, in order; none overlaps another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shares(Vec<Share>);

impl Shares {
    /// Asks for an interval, with the stamp of this demand. What is asked for the first time begins at `next` of the side log; what was asked for before,
    /// and is proven by records of which some are gone, is asked for again.
    pub fn want(&mut self, span: Span, earliest: Sequence, next: Sequence, stamp: u64) {
        self.change(span, |share| {
            if share.since < earliest {
                (share.since, share.fate, share.wanted) = (earliest, Fate::Open, stamp);
            }
        });
        let mut fresh: Spans = [span].into_iter().collect();
        self.0.iter().for_each(|share| fresh.remove(share.span));
        self.0.extend(fresh.iter().map(|span| Share { span, since: next, wanted: stamp, fate: Fate::Open, posts: 0 }));
        self.tidy();
    }

    /// Asks no longer for what is open of an interval.
    pub fn withdraw(&mut self, span: Span) {
        self.change(span, |share| {
            if share.fate == Fate::Open {
                share.span.to = share.span.from;
            }
        });
    }

    /// Changes what lies in `span`, and only that.
    pub fn change(&mut self, span: Span, change: impl Fn(&mut Share)) {
        let mut split = Vec::with_capacity(self.0.len() + 2);
        for share in self.0.drain(..) {
            let mut inside = Share { span: share.span.intersection(span), ..share };
            if inside.span.is_empty() {
                split.push(share);
                continue;
            }
            let (before, after) =
                (Span::new(share.span.from, inside.span.from), Span::new(inside.span.to, share.span.to));
            change(&mut inside);
            split.push(inside);
            // Which of the posts lie where is not known: they stay together.
            split.extend([before, after].map(|span| Share { span, posts: 0, ..share }));
        }
        self.0 = split;
        self.tidy();
    }

    /// Forgets what is settled and ended before `horizon`, unless its posts are still in the side log.
    pub fn forget(&mut self, horizon: UnixMillis, earliest: Sequence) {
        self.0.retain(|share| {
            let readable = matches!(share.fate, Fate::Proven(_)) && share.since >= earliest;
            readable || share.span.to > horizon
        });
    }

    /// Joins the nearest until at most `max` are left. What lies between two that are joined is asked for as well, with the
    /// stamp of this demand. True if any were joined.
    pub fn bound(&mut self, max: usize, stamp: u64) -> bool {
        let joins = self.0.len() > max.max(1);
        while self.0.len() > max.max(1) {
            let apart = |at: &usize| self.0[at + 1].span.from.since(self.0[*at].span.to);
            let Some(at) = (0..self.0.len() - 1).min_by_key(apart) else { break };
            let (a, b) = (self.0[at], self.0.remove(at + 1));
            self.0[at] = Share {
                span: Span::new(a.span.from, b.span.to),
                since: a.since.min(b.since),
                wanted: stamp,
                fate: Fate::Open,
                posts: a.posts + b.posts,
            };
        }
        joins
    }

    /// Counts a post.
    pub fn count(&mut self, created: UnixMillis) {
        let at = self.0.partition_point(|share| share.span.to <= created);
        if let Some(share) = self.0.get_mut(at).filter(|share| share.span.contains(created)) {
            share.posts += 1;
        }
    }

    /// True if somebody lacks, or lacked, this time.
    pub fn contain(&self, time: UnixMillis) -> bool {
        let at = self.0.partition_point(|share| share.span.to <= time);
        self.0.get(at).is_some_and(|share| share.span.contains(time))
    }

    /// What is asked for and open.
    pub fn open(&self) -> Spans {
        self.0.iter().filter(|share| share.fate == Fate::Open).map(|share| share.span).collect()
    }

    /// Those that reach into `span`, in order.
    pub fn within(&self, span: Span) -> impl Iterator<Item = &Share> {
        self.0.iter().filter(move |share| !share.span.intersection(span).is_empty())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In order, with what is alike and touches in one piece.
    fn tidy(&mut self) {
        self.0.retain(|share| !share.span.is_empty());
        self.0.sort_by_key(|share| share.span.from);
        self.0.dedup_by(|next, own| {
            let alike = own.span.to == next.span.from
                && (own.since, own.wanted, own.fate) == (next.since, next.wanted, next.fate);
            if alike {
                own.span.to = next.span.to;
                own.posts += next.posts;
            }
            alike
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUIET: Fate = Fate::Proven(GapEvidence::CompletionMessage);

    fn span(from: i64, to: i64) -> Span {
        Span::new(UnixMillis(from), UnixMillis(to))
    }

    fn fates(shares: &Shares) -> Vec<(i64, i64, Sequence, Fate)> {
        shares.0.iter().map(|share| (share.span.from.0, share.span.to.0, share.since, share.fate)).collect()
    }

    #[test]
    fn holders_of_overlapping_holes_share_what_they_ask_for() {
        let mut shares = Shares::default();
        shares.want(span(10, 20), 1, 1, 1);
        shares.change(span(0, 15), |share| share.fate = QUIET);
        shares.want(span(12, 30), 1, 5, 1);
        assert_eq!(fates(&shares), [(10, 15, 1, QUIET), (15, 20, 1, Fate::Open), (20, 30, 5, Fate::Open)]);
        assert_eq!(shares.open(), [span(15, 30)].into_iter().collect());
    }

    #[test]
    fn what_is_proven_by_records_that_are_gone_is_asked_for_again() {
        let mut shares = Shares::default();
        shares.want(span(10, 20), 1, 3, 1);
        shares.change(span(10, 20), |share| share.fate = QUIET);
        shares.want(span(10, 20), 3, 9, 1);
        assert_eq!(fates(&shares), [(10, 20, 3, QUIET)]);
        shares.want(span(15, 20), 4, 9, 1);
        assert_eq!(fates(&shares), [(10, 15, 3, QUIET), (15, 20, 4, Fate::Open)]);
        shares.forget(UnixMillis(100), 3);
        assert_eq!(fates(&shares), [(10, 15, 3, QUIET)], "its posts can be read yet");
        shares.forget(UnixMillis(100), 4);
        assert_eq!(shares.len(), 0);
    }

    #[test]
    fn too_many_are_joined_where_they_are_nearest() {
        let mut shares = Shares::default();
        [(0, 10), (15, 20), (100, 110)].into_iter().for_each(|(from, to)| shares.want(span(from, to), 1, 1, 1));
        shares.change(span(0, 200), |share| share.fate = QUIET);
        assert!(shares.bound(2, 7) && shares.0[0].wanted == 7, "what lies between is asked for now");
        assert_eq!(fates(&shares), [(0, 20, 1, Fate::Open), (100, 110, 1, QUIET)]);
    }

    proptest! {
        #[test]
        fn each_time_has_the_fate_that_it_was_given_last(
            steps in prop::collection::vec((0_u8..3, 0_i64..40, 0_i64..12), 0..30),
        ) {
            let (mut shares, mut times) = (Shares::default(), [None; 60]);
            for (kind, from, length) in steps {
                let within = &mut times[from as usize..(from + length) as usize];
                let fate = [Fate::Open, QUIET, Fate::Lost(GapEvidence::Refused)][usize::from(kind)];
                if kind == 0 {
                    shares.want(span(from, from + length), 1, 1, 1);
                    within.iter_mut().for_each(|time| *time = time.or(Some(fate)));
                } else {
                    shares.change(span(from, from + length), |share| share.fate = fate);
                    within.iter_mut().flatten().for_each(|time| *time = fate);
                }
                for (at, time) in (0..).zip(times) {
                    prop_assert_eq!(shares.contain(UnixMillis(at)), time.is_some());
                    let own = shares.within(span(at, at + 1)).next().map(|share| share.fate);
                    prop_assert_eq!(own, time);
                }
            }
        }
    }
}
