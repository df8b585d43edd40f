//! What shares are, said plainly: a list of which every operation looks at every one.

use super::*;

/// Intervals in order, of which none overlaps another.
#[derive(Default)]
pub(super) struct Plain(pub(super) Vec<Share>);

impl Plain {
    pub(super) fn want(&mut self, span: Span, earliest: Sequence, next: Sequence, stamp: u64) {
        self.change(span, |share| {
            if share.since < earliest {
                (share.since, share.fate, share.wanted) = (earliest, Fate::Open, stamp);
            }
        });
        let mut fresh: Spans = [span].into_iter().collect();
        self.0.iter().for_each(|share| fresh.remove(share.span));
        let new = |span| Share { span, since: next, wanted: stamp, fate: Fate::Open, was_settled: false, posts: 0 };
        self.0.extend(fresh.iter().map(new));
        self.tidy();
    }

    pub(super) fn prove(&mut self, span: Span, evidence: GapEvidence, stamp: u64) {
        self.change(span, |share| {
            if share.wanted <= stamp {
                (share.fate, share.was_settled) = (Fate::Proven(evidence), true);
            }
        });
    }

    pub(super) fn lose(&mut self, span: Span, evidence: GapEvidence) {
        self.change(span, |share| {
            if share.fate == Fate::Open {
                (share.fate, share.was_settled) = (Fate::Lost(evidence), true);
            }
        });
    }

    fn change(&mut self, span: Span, change: impl Fn(&mut Share)) {
        let mut split = Vec::with_capacity(self.0.len() + 2);
        for share in self.0.drain(..) {
            let mut inside = Share { span: share.span.intersection(span), ..share };
            if inside.span.is_empty() {
                split.push(share);
                continue;
            }
            let before = Span::new(share.span.from, inside.span.from);
            let after = Span::new(inside.span.to, share.span.to);
            change(&mut inside);
            split.push(inside);
            split.extend([before, after].map(|span| Share { span, posts: 0, ..share }));
        }
        self.0 = split;
        self.tidy();
    }

    pub(super) fn forget(&mut self, horizon: UnixMillis, earliest: Sequence) {
        self.0.retain(|share| {
            let readable = matches!(share.fate, Fate::Proven(_)) && share.since >= earliest;
            readable || share.span.to > horizon
        });
    }

    pub(super) fn count(&mut self, created: UnixMillis) {
        self.0.iter_mut().filter(|share| share.span.contains(created)).for_each(|share| share.posts += 1);
    }

    fn within(&self, span: Span) -> impl Iterator<Item = &Share> {
        self.0.iter().filter(move |share| !share.span.intersection(span).is_empty())
    }

    pub(super) fn since(&self, span: Span) -> Option<Sequence> {
        self.within(span).map(|share| share.since).min()
    }

    pub(super) fn posts(&self, span: Span) -> u64 {
        self.within(span).map(|share| share.posts).sum()
    }

    pub(super) fn fate(&self, time: UnixMillis) -> Option<Fate> {
        self.0.iter().find(|share| share.span.contains(time)).map(|share| share.fate)
    }

    fn tidy(&mut self) {
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
