//! Intervals requested from X for the side log, and their states. Pure.
//!
//! Many subscriptions miss much the same time, each from its own position. The intervals are therefore in an ordered
//! tree ([`tree`]) in which a demand or a query costs as much as it changes or returns, not as much as there are
//! intervals.

mod past;
mod range;
mod tree;

use serde::{Deserialize, Serialize};

use crate::model::{GapEvidence, Sequence, TimeRange, TimeRangeSet, UnixMillis};

use past::FormerRanges;
pub use range::{RangeState, RequestedRange};
use tree::{Link, PostsSide, Visit};

/// Requested intervals in order, without overlap.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "PersistedRanges", into = "PersistedRanges")]
pub struct RequestedRanges {
    root: Link,
    past: FormerRanges,
}

/// Serialized form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PersistedRanges {
    /// Without former ranges.
    Plain(Vec<RequestedRange>),
    /// With former ranges.
    WithPast { shares: Vec<RequestedRange>, past: FormerRanges },
}

impl From<PersistedRanges> for RequestedRanges {
    fn from(kept: PersistedRanges) -> Self {
        let (shares, past) = match kept {
            PersistedRanges::Plain(shares) => (shares, FormerRanges::default()),
            PersistedRanges::WithPast { shares, past } => (shares, past),
        };
        Self { root: gathered(shares), past }
    }
}

impl From<RequestedRanges> for PersistedRanges {
    fn from(own: RequestedRanges) -> Self {
        let (shares, past) = (own.list(), own.past);
        if past.is_empty() { Self::Plain(shares) } else { Self::WithPast { shares, past } }
    }
}

impl PartialEq for RequestedRanges {
    fn eq(&self, other: &Self) -> bool {
        self.list() == other.list() && self.past == other.past
    }
}

impl Eq for RequestedRanges {}

impl std::fmt::Debug for RequestedRanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl RequestedRange {
    /// Returns true if the two touch and differ in nothing else.
    fn is_continued_by(&self, next: &Self) -> bool {
        let alike = |share: &Self| (share.since, share.wanted, share.state, share.was_settled);
        self.span.to == next.span.from && alike(self) == alike(next)
    }

    /// Sets a final state that is reported.
    fn settle(&mut self, state: RangeState) {
        (self.state, self.was_settled) = (state, true);
    }
}

/// Merges equal neighbours of ordered ranges.
fn gathered(shares: impl IntoIterator<Item = RequestedRange>) -> Link {
    let kept = shares.into_iter().filter(|share| !share.span.is_empty());
    kept.fold(None, |all, share| tree::join(all, tree::leaf(share)))
}

impl RequestedRanges {
    /// Requests an interval with the stamp of this demand. A new part starts at `next` of the side log, or at its
    /// former records; a part proven by records of which some are trimmed is requested again. Returns the change.
    pub fn request(&mut self, span: TimeRange, earliest: Sequence, next: Sequence, stamp: u64) -> DemandEffect {
        let mut change = DemandEffect::default();
        if span.is_empty() {
            return change;
        }
        self.past.forget(earliest);
        let (before, inside, after) = self.cut(span);
        let past = &self.past;
        let mut asks = false;
        let mut fresh = |span| {
            asks = true;
            let before = past.since(span);
            let (since, was_settled) = (before.unwrap_or(next).clamp(earliest, next.max(earliest)), before.is_some());
            RequestedRange { span, since, wanted: stamp, state: RangeState::Open, was_settled, posts: 0 }
        };
        let mut renew = |share: &mut RequestedRange| {
            change.asks = true;
            change.reopens |= share.state != RangeState::Open;
            (share.since, share.state, share.wanted) = (earliest, RangeState::Open, stamp);
        };
        let inside = tree::fill(inside, span, earliest, &mut fresh, &mut renew);
        change.asks |= asks;
        self.root = tree::join(tree::join(before, inside), after);
        change
    }

    /// Returns true if a demand for this interval requires a request to X: a part is new, or its records are trimmed.
    pub fn asks(&self, span: TimeRange, earliest: Sequence) -> bool {
        let (mut reached, mut asks) = (span.from, false);
        tree::within(&self.root, span, &mut |visit| {
            let (own, since, is_dense) = match visit {
                Visit::Whole(sum) => (sum.span, sum.since_min, sum.is_dense),
                Visit::Share(share) => (share.span, share.since, true),
            };
            if is_dense {
                asks |= own.from > reached || since < earliest;
                reached = reached.max(own.to);
            }
            is_dense
        });
        !span.is_empty() && (asks || reached < span.to)
    }

    /// Withdraws the open parts of an interval. `next` is that of the side log: records before it may belong to them.
    pub fn withdraw(&mut self, span: TimeRange, next: Sequence) {
        let (before, inside, after) = self.cut(span);
        let kept = list(&inside).into_iter().filter(|share| {
            let is_kept = share.state != RangeState::Open;
            if !is_kept {
                self.past.add(share.span, share.since, next);
            }
            is_kept
        });
        let inside = gathered(kept.collect::<Vec<_>>());
        self.root = tree::join(tree::join(before, inside), after);
    }

    /// Marks the parts of an interval requested at this stamp or before as proven. Returns whether anything changed.
    pub fn prove(&mut self, span: TimeRange, evidence: GapEvidence, stamp: u64) -> bool {
        let state = RangeState::Proven(evidence);
        self.change(span, |share| share.wanted <= stamp && share.state != state, |share| share.settle(state))
    }

    /// Marks the open parts of an interval as lost. Returns whether anything changed.
    pub fn lose(&mut self, span: TimeRange, evidence: GapEvidence) -> bool {
        let state = RangeState::Lost(evidence);
        self.change(span, |share| share.state == RangeState::Open, |share| share.settle(state))
    }

    /// Changes the ranges within `span`, splitting at its ends. Returns whether there are any.
    fn change(
        &mut self,
        span: TimeRange,
        is_changed: impl Fn(&RequestedRange) -> bool,
        change: impl Fn(&mut RequestedRange),
    ) -> bool {
        let mut any = false;
        let (before, inside, after) = self.cut(span);
        let changed = list(&inside).into_iter().map(|mut share| {
            if is_changed(&share) {
                any = true;
                change(&mut share);
            }
            share
        });
        let inside = gathered(changed.collect::<Vec<_>>());
        self.root = tree::join(tree::join(before, inside), after);
        any
    }

    /// Restores the ranges in a new process: no request of an earlier one proves anything. `lost` is the first record
    /// if the side log has lost records. Records from `unknown` up to `next` may be of any time up to `until`.
    pub fn restart(&mut self, stamp: u64, lost: Option<Sequence>, unknown: (Sequence, Sequence), until: UnixMillis) {
        let again = |mut share: RequestedRange| {
            share.was_settled |= share.state != RangeState::Open;
            share.wanted = stamp;
            if let Some(earliest) = lost {
                (share.since, share.state) = (earliest, RangeState::Open);
            }
            share
        };
        self.root = gathered(self.list().into_iter().map(again).collect::<Vec<_>>());
        if unknown.0 < unknown.1 {
            self.past.add(TimeRange::new(UnixMillis(i64::MIN), until), unknown.0, unknown.1);
        }
    }

    /// Removes final ranges that ended before `cutoff`, unless their posts are still in the side log, which ends at
    /// `next`.
    pub fn forget(&mut self, cutoff: UnixMillis, earliest: Sequence, next: Sequence) {
        // A range that has not ended by then is not split.
        let at = tree::at(&self.root, cutoff).map_or(cutoff, |share| share.span.from);
        let (ended, rest) = tree::split(self.root.take(), at, PostsSide::Before);
        let is_readable = |sum: &tree::Summary| sum.is_proven && sum.since_min >= earliest;
        let ended = match ended {
            Some(node) if !is_readable(node.sum()) => {
                let kept = list(&Some(node)).into_iter().filter(|share| {
                    let is_kept = matches!(share.state, RangeState::Proven(_)) && share.since >= earliest;
                    if !is_kept {
                        self.past.add(share.span, share.since, next);
                    }
                    is_kept
                });
                gathered(kept.collect::<Vec<_>>())
            }
            readable => readable,
        };
        self.root = tree::join(ended, rest);
    }

    /// Merges the nearest ranges until at most `max` are left. The time between merged ranges is requested too, with
    /// the stamp of this demand, and so are ranges of different states. Returns the change.
    pub fn bound(&mut self, max: usize, stamp: u64) -> DemandEffect {
        let mut change = DemandEffect::default();
        while self.len() > max.max(1)
            && let Some((a, b)) = tree::nearest(&self.root)
        {
            let (before, _, after) = self.cut(TimeRange::new(a.span.from, b.span.to));
            let asks = tree::MergeCost::of(&a, &b).asks();
            let joined = RequestedRange {
                span: TimeRange::new(a.span.from, b.span.to),
                since: a.since.min(b.since),
                wanted: if asks { stamp } else { a.wanted.max(b.wanted) },
                state: if asks { RangeState::Open } else { a.state },
                was_settled: a.was_settled || b.was_settled,
                posts: a.posts + b.posts,
            };
            change.asks |= asks;
            change.reopens |= asks && (a.state, b.state) != (RangeState::Open, RangeState::Open);
            self.root = tree::join(tree::join(before, tree::leaf(joined)), after);
        }
        change
    }

    /// Counts a post.
    pub fn count(&mut self, created: UnixMillis) {
        tree::count(&mut self.root, created);
    }

    /// Returns the range that contains this time.
    pub fn at(&self, time: UnixMillis) -> Option<&RequestedRange> {
        tree::at(&self.root, time)
    }

    /// Returns the open ranges.
    pub fn open(&self) -> TimeRangeSet {
        let always = TimeRange::new(UnixMillis(i64::MIN), UnixMillis(i64::MAX));
        self.states(always).into_iter().filter(|(_, state)| *state == RangeState::Open).map(|(span, _)| span).collect()
    }

    /// Returns the states of the parts of `span`, in order; equal neighbours are merged.
    pub fn states(&self, span: TimeRange) -> Vec<(TimeRange, RangeState)> {
        let mut states: Vec<(TimeRange, RangeState)> = Vec::new();
        let mut add = |part: TimeRange, state: RangeState| match states.last_mut() {
            Some((own, known)) if own.to == part.from && *known == state => own.to = part.to,
            _ => states.push((part.intersection(span), state)),
        };
        tree::within(&self.root, span, &mut |visit| match visit {
            Visit::Whole(sum) => match sum.state {
                Some(state) if sum.is_dense => {
                    add(sum.span, state);
                    true
                }
                _ => false,
            },
            Visit::Share(share) => {
                add(share.span, share.state);
                true
            }
        });
        if let Some((last, _)) = states.last_mut() {
            last.to = last.to.min(span.to);
        }
        states
    }

    /// Returns the sequence in the side log from which posts of `span` are found; `None` if no part is requested.
    pub fn since(&self, span: TimeRange) -> Option<Sequence> {
        let mut since: Option<Sequence> = None;
        tree::within(&self.root, span, &mut |visit| {
            let own = match visit {
                Visit::Whole(sum) => sum.since_min,
                Visit::Share(share) => share.since,
            };
            since = Some(since.map_or(own, |since| since.min(own)));
            true
        });
        since
    }

    /// Returns the approximate number of appended posts of `span`: ranges that extend beyond it are counted completely.
    pub fn posts(&self, span: TimeRange) -> u64 {
        let mut posts = 0;
        tree::within(&self.root, span, &mut |visit| {
            posts += match visit {
                Visit::Whole(sum) => sum.posts,
                Visit::Share(share) => share.posts,
            };
            true
        });
        posts
    }

    /// Returns the number of ranges.
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.sum().len)
    }

    /// Returns all ranges in order.
    fn list(&self) -> Vec<RequestedRange> {
        list(&self.root)
    }

    /// Splits into the ranges before, within and after `span`. Posts of a split range are counted within.
    fn cut(&mut self, span: TimeRange) -> (Link, Link, Link) {
        let (before, rest) = tree::split(self.root.take(), span.from, PostsSide::After);
        let (inside, after) = tree::split(rest, span.to.max(span.from), PostsSide::Before);
        (before, inside, after)
    }
}

fn list(link: &Link) -> Vec<RequestedRange> {
    let mut shares = Vec::new();
    tree::each(link, &mut |share| shares.push(*share));
    shares
}

/// Effect of a demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DemandEffect {
    /// X has to be asked for more.
    pub asks: bool,
    /// An ended range is open again.
    pub reopens: bool,
}

#[cfg(test)]
mod tests;
