//! Which intervals are wanted of X for the side log, and what has become of each. Pure.
//!
//! Many subscriptions lack much the same time, each from a position of its own. So the intervals are kept in an ordered tree
//! ([`tree`]) in which a demand, or a look at what has become of it, costs what it changes or returns, not how many intervals
//! there are.

mod past;
mod range;
mod tree;

use serde::{Deserialize, Serialize};

use crate::model::{GapEvidence, Sequence, TimeRange, TimeRangeSet, UnixMillis};

use past::FormerRanges;
pub use range::{RangeState, RequestedRange};
use tree::{Link, PostsSide, Visit};

/// Intervals that somebody lacks, in order; none overlaps another.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "PersistedRanges", into = "PersistedRanges")]
pub struct RequestedRanges {
    root: Link,
    past: FormerRanges,
}

/// How they are written down.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PersistedRanges {
    /// Of which nobody asked for less since.
    Plain(Vec<RequestedRange>),
    /// With what was asked for before.
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
    /// True if the two touch and differ in nothing else.
    fn is_continued_by(&self, next: &Self) -> bool {
        let alike = |share: &Self| (share.since, share.wanted, share.fate, share.was_settled);
        self.span.to == next.span.from && alike(self) == alike(next)
    }

    /// Its fate, as one that is told.
    fn settle(&mut self, fate: RangeState) {
        (self.fate, self.was_settled) = (fate, true);
    }
}

/// In order, with what is alike and touches in one piece.
fn gathered(shares: impl IntoIterator<Item = RequestedRange>) -> Link {
    let kept = shares.into_iter().filter(|share| !share.span.is_empty());
    kept.fold(None, |all, share| tree::join(all, tree::leaf(share)))
}

impl RequestedRanges {
    /// Asks for an interval, with the stamp of this demand. What is asked for the first time begins at `next` of the side log,
    /// or where records of it were before; what was asked for before, and is proven by records of which some are gone, is asked
    /// for again. Returns what that changed.
    pub fn request(&mut self, span: TimeRange, earliest: Sequence, next: Sequence, stamp: u64) -> Change {
        let mut change = Change::default();
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
            RequestedRange { span, since, wanted: stamp, fate: RangeState::Open, was_settled, posts: 0 }
        };
        let mut renew = |share: &mut RequestedRange| {
            change.asks = true;
            change.tells |= share.fate != RangeState::Open;
            (share.since, share.fate, share.wanted) = (earliest, RangeState::Open, stamp);
        };
        let inside = tree::fill(inside, span, earliest, &mut fresh, &mut renew);
        change.asks |= asks;
        self.root = tree::join(tree::join(before, inside), after);
        change
    }

    /// True if a demand for this interval asks X for anything: a part was not asked for before, or records of it are gone.
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

    /// Asks no longer for what is open of an interval. `next` is that of the side log: records before it may be of that.
    pub fn withdraw(&mut self, span: TimeRange, next: Sequence) {
        let (before, inside, after) = self.cut(span);
        let kept = list(&inside).into_iter().filter(|share| {
            let is_kept = share.fate != RangeState::Open;
            if !is_kept {
                self.past.add(share.span, share.since, next);
            }
            is_kept
        });
        let inside = gathered(kept.collect::<Vec<_>>());
        self.root = tree::join(tree::join(before, inside), after);
    }

    /// All of an interval that was asked for at this stamp or before is proven. Returns whether that changed anything.
    pub fn prove(&mut self, span: TimeRange, evidence: GapEvidence, stamp: u64) -> bool {
        let fate = RangeState::Proven(evidence);
        self.change(span, |share| share.wanted <= stamp && share.fate != fate, |share| share.settle(fate))
    }

    /// What is open of an interval is lost. Returns whether that changed anything.
    pub fn lose(&mut self, span: TimeRange, evidence: GapEvidence) -> bool {
        let fate = RangeState::Lost(evidence);
        self.change(span, |share| share.fate == RangeState::Open, |share| share.settle(fate))
    }

    /// Changes those that lie in `span`, and only what of them does. Returns whether there are any.
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

    /// Takes them up in a new process: no request of an earlier one proves anything of them any more. `earliest` if the side
    /// log has lost records of theirs. Records from `unknown` up to `next` may be of any time up to `until`.
    pub fn restart(&mut self, stamp: u64, lost: Option<Sequence>, unknown: (Sequence, Sequence), until: UnixMillis) {
        let again = |mut share: RequestedRange| {
            share.was_settled |= share.fate != RangeState::Open;
            share.wanted = stamp;
            if let Some(earliest) = lost {
                (share.since, share.fate) = (earliest, RangeState::Open);
            }
            share
        };
        self.root = gathered(self.list().into_iter().map(again).collect::<Vec<_>>());
        if unknown.0 < unknown.1 {
            self.past.add(TimeRange::new(UnixMillis(i64::MIN), until), unknown.0, unknown.1);
        }
    }

    /// Forgets what is settled and ended before `horizon`, unless its posts are still in the side log, which ends at `next`.
    pub fn forget(&mut self, horizon: UnixMillis, earliest: Sequence, next: Sequence) {
        // One that has not ended by then is not cut.
        let at = tree::at(&self.root, horizon).map_or(horizon, |share| share.span.from);
        let (ended, rest) = tree::split(self.root.take(), at, PostsSide::Before);
        let is_readable = |sum: &tree::Summary| sum.is_proven && sum.since_min >= earliest;
        let ended = match ended {
            Some(node) if !is_readable(node.sum()) => {
                let kept = list(&Some(node)).into_iter().filter(|share| {
                    let is_kept = matches!(share.fate, RangeState::Proven(_)) && share.since >= earliest;
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

    /// Joins the nearest until at most `max` are left. What lies between two that are joined is asked for as well, with the
    /// stamp of this demand, and so are two of which not the same has become. Returns what that changed.
    pub fn bound(&mut self, max: usize, stamp: u64) -> Change {
        let mut change = Change::default();
        while self.len() > max.max(1)
            && let Some((a, b)) = tree::nearest(&self.root)
        {
            let (before, _, after) = self.cut(TimeRange::new(a.span.from, b.span.to));
            let asks = tree::MergeCost::of(&a, &b).asks();
            let joined = RequestedRange {
                span: TimeRange::new(a.span.from, b.span.to),
                since: a.since.min(b.since),
                wanted: if asks { stamp } else { a.wanted.max(b.wanted) },
                fate: if asks { RangeState::Open } else { a.fate },
                was_settled: a.was_settled || b.was_settled,
                posts: a.posts + b.posts,
            };
            change.asks |= asks;
            change.tells |= asks && (a.fate, b.fate) != (RangeState::Open, RangeState::Open);
            self.root = tree::join(tree::join(before, tree::leaf(joined)), after);
        }
        change
    }

    /// Counts a post.
    pub fn count(&mut self, created: UnixMillis) {
        tree::count(&mut self.root, created);
    }

    /// The one that holds this time, if somebody lacks, or lacked, it.
    pub fn at(&self, time: UnixMillis) -> Option<&RequestedRange> {
        tree::at(&self.root, time)
    }

    /// What is asked for and open.
    pub fn open(&self) -> TimeRangeSet {
        let always = TimeRange::new(UnixMillis(i64::MIN), UnixMillis(i64::MAX));
        self.fates(always).into_iter().filter(|(_, fate)| *fate == RangeState::Open).map(|(span, _)| span).collect()
    }

    /// What has become of the parts of `span`, in order; what touches and is alike in one piece.
    pub fn fates(&self, span: TimeRange) -> Vec<(TimeRange, RangeState)> {
        let mut fates: Vec<(TimeRange, RangeState)> = Vec::new();
        let mut add = |part: TimeRange, fate: RangeState| match fates.last_mut() {
            Some((own, known)) if own.to == part.from && *known == fate => own.to = part.to,
            _ => fates.push((part.intersection(span), fate)),
        };
        tree::within(&self.root, span, &mut |visit| match visit {
            Visit::Whole(sum) => match sum.fate {
                Some(fate) if sum.is_dense => {
                    add(sum.span, fate);
                    true
                }
                _ => false,
            },
            Visit::Share(share) => {
                add(share.span, share.fate);
                true
            }
        });
        if let Some((last, _)) = fates.last_mut() {
            last.to = last.to.min(span.to);
        }
        fates
    }

    /// From where in the side log the posts of `span` are; `None` if nobody lacks anything of it.
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

    /// Posts of `span` that were appended, about: of those that reach beyond it, all are counted.
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

    /// How many there are.
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.sum().len)
    }

    /// All of them, in order.
    fn list(&self) -> Vec<RequestedRange> {
        list(&self.root)
    }

    /// What lies before `span`, in it, and after it. Posts of what is cut stay in it.
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

/// What a demand has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// X is to be asked for more.
    pub asks: bool,
    /// What had ended is open again.
    pub tells: bool,
}

#[cfg(test)]
mod tests;
