//! Plain definition of requested ranges: a list that every operation scans.

use super::*;

/// Intervals in order, without overlap.
#[derive(Default)]
pub(super) struct Plain(pub(super) Vec<RequestedRange>);

impl Plain {
    pub(super) fn want(&mut self, span: TimeRange, earliest: Sequence, next: Sequence, stamp: u64) {
        self.change(span, |share| {
            if share.since < earliest {
                (share.since, share.state, share.wanted) = (earliest, RangeState::Open, stamp);
            }
        });
        let mut fresh: TimeRangeSet = [span].into_iter().collect();
        self.0.iter().for_each(|share| fresh.remove(share.span));
        let new = |span| RequestedRange {
            span,
            since: next,
            wanted: stamp,
            state: RangeState::Open,
            was_settled: false,
            posts: 0,
        };
        self.0.extend(fresh.iter().map(new));
        self.normalize();
    }

    pub(super) fn prove(&mut self, span: TimeRange, evidence: GapEvidence, stamp: u64) {
        self.change(span, |share| {
            if share.wanted <= stamp {
                (share.state, share.was_settled) = (RangeState::Proven(evidence), true);
            }
        });
    }

    pub(super) fn lose(&mut self, span: TimeRange, evidence: GapEvidence) {
        self.change(span, |share| {
            if share.state == RangeState::Open {
                (share.state, share.was_settled) = (RangeState::Lost(evidence), true);
            }
        });
    }

    fn change(&mut self, span: TimeRange, change: impl Fn(&mut RequestedRange)) {
        let mut split = Vec::with_capacity(self.0.len() + 2);
        for share in self.0.drain(..) {
            let mut inside = RequestedRange { span: share.span.intersection(span), ..share };
            if inside.span.is_empty() {
                split.push(share);
                continue;
            }
            let before = TimeRange::new(share.span.from, inside.span.from);
            let after = TimeRange::new(inside.span.to, share.span.to);
            change(&mut inside);
            split.push(inside);
            split.extend([before, after].map(|span| RequestedRange { span, posts: 0, ..share }));
        }
        self.0 = split;
        self.normalize();
    }

    pub(super) fn forget(&mut self, cutoff: UnixMillis, earliest: Sequence) {
        self.0.retain(|share| {
            let readable = matches!(share.state, RangeState::Proven(_)) && share.since >= earliest;
            readable || share.span.to > cutoff
        });
    }

    pub(super) fn count(&mut self, created: UnixMillis) {
        self.0.iter_mut().filter(|share| share.span.contains(created)).for_each(|share| share.posts += 1);
    }

    fn within(&self, span: TimeRange) -> impl Iterator<Item = &RequestedRange> {
        self.0.iter().filter(move |share| !share.span.intersection(span).is_empty())
    }

    pub(super) fn since(&self, span: TimeRange) -> Option<Sequence> {
        self.within(span).map(|share| share.since).min()
    }

    pub(super) fn posts(&self, span: TimeRange) -> u64 {
        self.within(span).map(|share| share.posts).sum()
    }

    pub(super) fn state(&self, time: UnixMillis) -> Option<RangeState> {
        self.0.iter().find(|share| share.span.contains(time)).map(|share| share.state)
    }

    fn normalize(&mut self) {
        self.0.retain(|share| !share.span.is_empty());
        self.0.sort_by_key(|share| share.span.from);
        self.0.dedup_by(|next, own| {
            let alike = own.is_continued_by(next);
            if alike {
                own.span.to = next.span.to;
                own.posts += next.posts;
            }
            alike
        });
    }
}
