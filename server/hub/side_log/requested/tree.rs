//! An ordered set of disjoint intervals with a summary of every subtree.
//!
//! A treap whose priorities are derived from the start of an interval, so that the same intervals form the same tree.
//! The summaries answer queries of many subscriptions about the same time (is all of it requested, its state, its first
//! record in the side log) without visiting each interval: every operation visits as many nodes as there are results or
//! changes, each at the depth of the tree.

use super::range::{RangeState, RequestedRange};
use crate::model::{Sequence, TimeRange, UnixMillis};

/// A subtree, or none.
pub(super) type Link = Option<Box<IntervalNode>>;

/// An interval, and its subtrees before and after it.
#[derive(Clone)]
pub(super) struct IntervalNode {
    share: RequestedRange,
    before: Link,
    after: Link,
    priority: u64,
    sum: Summary,
}

/// Summary of the intervals of a subtree.
#[derive(Clone, Copy)]
pub(super) struct Summary {
    /// From the first to the last interval.
    pub span: TimeRange,
    /// True if there is no time between the intervals.
    pub is_dense: bool,
    /// Common state, if all are equal.
    pub state: Option<RangeState>,
    /// True if all are proven, by any evidence.
    pub is_proven: bool,
    /// Smallest `since`.
    pub since_min: Sequence,
    /// Total posts.
    pub posts: u64,
    /// Number of intervals.
    pub len: usize,
    /// Cost of merging the two nearest.
    pub nearest: MergeCost,
    /// States of the first and of the last interval.
    ends: (RangeState, RangeState),
}

/// Cost of merging two neighbours: time that is requested without need, and whether a part is requested again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MergeCost(u64, bool);

impl MergeCost {
    const NONE: Self = Self(u64::MAX, true);

    /// Returns the cost for two neighbours.
    pub(super) fn of(own: &RequestedRange, next: &RequestedRange) -> Self {
        Self::between(&Summary::of(own), &Summary::of(next))
    }

    fn between(own: &Summary, next: &Summary) -> Self {
        let distance = next.span.from.0.abs_diff(own.span.to.0);
        Self(distance, distance > 0 || own.ends.1 != next.ends.0)
    }

    /// Returns true if a part is requested again.
    pub(super) fn asks(self) -> bool {
        self.1
    }
}

/// Side that keeps the posts of a split interval: their distribution is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PostsSide {
    Before,
    After,
}

impl Summary {
    fn of(share: &RequestedRange) -> Self {
        Self {
            span: share.span,
            is_dense: true,
            state: Some(share.state),
            is_proven: matches!(share.state, RangeState::Proven(_)),
            since_min: share.since,
            posts: share.posts,
            len: 1,
            nearest: MergeCost::NONE,
            ends: (share.state, share.state),
        }
    }

    /// Merges the summaries of two neighbours.
    fn with(self, next: Self) -> Self {
        Self {
            span: TimeRange::new(self.span.from, next.span.to),
            is_dense: self.is_dense && next.is_dense && self.span.to == next.span.from,
            state: self.state.filter(|state| next.state == Some(*state)),
            is_proven: self.is_proven && next.is_proven,
            since_min: self.since_min.min(next.since_min),
            posts: self.posts + next.posts,
            len: self.len + next.len,
            nearest: self.nearest.min(next.nearest).min(MergeCost::between(&self, &next)),
            ends: (self.ends.0, next.ends.1),
        }
    }
}

/// Distributes the starts of intervals evenly over all priorities (the finalizer of splitmix64).
fn priority(from: UnixMillis) -> u64 {
    let mut bits = (from.0 as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Creates a subtree of one interval.
pub(super) fn leaf(share: RequestedRange) -> Link {
    let (priority, sum) = (priority(share.span.from), Summary::of(&share));
    Some(Box::new(IntervalNode { share, before: None, after: None, priority, sum }))
}

impl IntervalNode {
    /// Returns the summary of its subtree.
    pub(super) fn sum(&self) -> &Summary {
        &self.sum
    }

    /// Recomputes the summary after a change of the node or below it.
    fn update(&mut self) {
        work::step();
        let mut sum = Summary::of(&self.share);
        if let Some(before) = &self.before {
            sum = before.sum.with(sum);
        }
        if let Some(after) = &self.after {
            sum = sum.with(after.sum);
        }
        self.sum = sum;
    }

    /// Returns the first interval of the subtree.
    pub(super) fn first(&self) -> &RequestedRange {
        work::step();
        self.before.as_ref().map_or(&self.share, |before| before.first())
    }

    /// Returns the last interval of the subtree.
    pub(super) fn last(&self) -> &RequestedRange {
        work::step();
        self.after.as_ref().map_or(&self.share, |after| after.last())
    }
}

/// Splits into the intervals that begin before `at`, and the others. An interval that contains `at` is split there.
pub(super) fn split(link: Link, at: UnixMillis, posts: PostsSide) -> (Link, Link) {
    let Some(mut node) = link else { return (None, None) };
    if node.share.span.from >= at {
        let (before, inner) = split(node.before.take(), at, posts);
        node.before = inner;
        node.update();
        return (before, Some(node));
    }
    if node.share.span.to <= at {
        let (inner, after) = split(node.after.take(), at, posts);
        node.after = inner;
        node.update();
        return (Some(node), after);
    }
    let mut rest = RequestedRange { span: TimeRange::new(at, node.share.span.to), ..node.share };
    node.share.span.to = at;
    *if posts == PostsSide::Before { &mut rest.posts } else { &mut node.share.posts } = 0;
    let after = merge(leaf(rest), node.after.take());
    node.update();
    (Some(node), after)
}

/// Merges two subtrees; all intervals of the first are before those of the second.
fn merge(before: Link, after: Link) -> Link {
    let (mut own, mut next) = match (before, after) {
        (Some(own), Some(next)) => (own, next),
        (own, next) => return own.or(next),
    };
    if own.priority >= next.priority {
        own.after = merge(own.after.take(), Some(next));
        own.update();
        Some(own)
    } else {
        next.before = merge(Some(own), next.before.take());
        next.update();
        Some(next)
    }
}

/// As [`merge`]; the two intervals that meet become one if they are equal and touch.
pub(super) fn join(before: Link, after: Link) -> Link {
    let (Some(own), Some(next)) = (&before, &after) else { return before.or(after) };
    let (own, next) = (*own.last(), *next.first());
    if !own.is_continued_by(&next) {
        return merge(before, after);
    }
    let whole =
        RequestedRange { span: TimeRange::new(own.span.from, next.span.to), posts: own.posts + next.posts, ..own };
    let (rest, _) = split(before, own.span.from, PostsSide::Before);
    let (_, beyond) = split(after, next.span.to, PostsSide::Before);
    merge(merge(rest, leaf(whole)), beyond)
}

/// Visits the intervals in order.
pub(super) fn each(link: &Link, visit: &mut impl FnMut(&RequestedRange)) {
    if let Some(node) = link {
        work::step();
        each(&node.before, visit);
        visit(&node.share);
        each(&node.after, visit);
    }
}

/// A visited part of the tree.
pub(super) enum Visit<'a> {
    /// A subtree whose summary may suffice.
    Whole(&'a Summary),
    /// An interval.
    Share(&'a RequestedRange),
}

/// Visits the parts of `span` in order. A subtree within it whose summary `visit` accepts is not entered.
pub(super) fn within(link: &Link, span: TimeRange, visit: &mut impl FnMut(Visit<'_>) -> bool) {
    let Some(node) = link else { return };
    work::step();
    if node.sum.span.intersection(span).is_empty() || span.covers(node.sum.span) && visit(Visit::Whole(&node.sum)) {
        return;
    }
    within(&node.before, span, visit);
    if !node.share.span.intersection(span).is_empty() {
        visit(Visit::Share(&node.share));
    }
    within(&node.after, span, visit);
}

/// Returns the interval that contains this time.
pub(super) fn at(mut link: &Link, time: UnixMillis) -> Option<&RequestedRange> {
    while let Some(node) = link {
        work::step();
        if node.share.span.contains(time) {
            return Some(&node.share);
        }
        link = if time < node.share.span.from { &node.before } else { &node.after };
    }
    None
}

/// Counts a post of this time.
pub(super) fn count(link: &mut Link, time: UnixMillis) {
    let Some(node) = link else { return };
    if node.share.span.contains(time) {
        node.share.posts += 1;
    } else {
        count(if time < node.share.span.from { &mut node.before } else { &mut node.after }, time);
    }
    node.update();
}

/// Fills `span`, which contains the whole subtree: missing parts are `fresh`, and ranges with records before `earliest`
/// are renewed. Subtrees without changes are not entered.
pub(super) fn fill(
    link: Link,
    span: TimeRange,
    earliest: Sequence,
    fresh: &mut impl FnMut(TimeRange) -> RequestedRange,
    renew: &mut impl FnMut(&mut RequestedRange),
) -> Link {
    let Some(mut node) = link else { return if span.is_empty() { None } else { leaf(fresh(span)) } };
    work::step();
    if node.sum.is_dense && node.sum.span == span && node.sum.since_min >= earliest {
        return Some(node);
    }
    let mut own = node.share;
    let (to, from) = (own.span.from, own.span.to);
    let before = fill(node.before.take(), TimeRange::new(span.from, to), earliest, fresh, renew);
    let after = fill(node.after.take(), TimeRange::new(from, span.to), earliest, fresh, renew);
    if own.since < earliest {
        renew(&mut own);
    }
    join(join(before, leaf(own)), after)
}

/// Returns the first of the two neighbours with the lowest merge cost.
pub(super) fn nearest(link: &Link) -> Option<(RequestedRange, RequestedRange)> {
    let mut node = link.as_ref()?;
    let least = node.sum.nearest;
    loop {
        work::step();
        match (&node.before, &node.after) {
            (Some(before), _) if before.sum.nearest == least => node = before,
            (Some(before), _) if MergeCost::of(before.last(), &node.share) == least => {
                return Some((*before.last(), node.share));
            }
            (_, Some(after)) if MergeCost::of(&node.share, after.first()) == least => {
                return Some((node.share, *after.first()));
            }
            (_, Some(after)) if after.sum.nearest == least => node = after,
            _ => return None,
        }
    }
}

#[cfg(test)]
pub(super) mod work {
    //! Counts visits of nodes for tests.

    use std::cell::Cell;

    thread_local!(static STEPS: Cell<u64> = const { Cell::new(0) });

    pub(in crate::hub::side_log::requested) fn step() {
        STEPS.with(|steps| steps.set(steps.get() + 1));
    }

    /// Returns the visits so far on this thread.
    pub(in crate::hub::side_log::requested) fn steps() -> u64 {
        STEPS.with(Cell::get)
    }
}

#[cfg(not(test))]
mod work {
    pub(super) fn step() {}
}
