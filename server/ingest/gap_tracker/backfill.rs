//! A backfill in progress, and the decision whether it is complete.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{TimeRange, UnixMillis};

/// A backfill requested by a connection.
#[derive(Clone, Debug)]
pub(super) struct BackfillState {
    /// Upstream time of the first byte.
    pub(super) began: UnixMillis,
    /// The backfill contains posts from this time on, at the latest.
    pub(super) from: UnixMillis,
    /// Posts of this connection created before this time can belong to the backfill.
    to: UnixMillis,
    /// When such a post last arrived. A stall of the reader does not count as silence: it moves this time forward.
    last_inside: UnixMillis,
    /// Time at which the backfill is given up.
    deadline: UnixMillis,
    /// The requested interval without the part that can arrive live.
    asked: TimeRange,
    /// Posts of the requested minutes created before the connection, by second of creation.
    seconds: BTreeMap<i64, u64>,
    /// Posts per second of the feed before the connection.
    rate: f64,
}

const SECOND_MS: i64 = 1_000;

/// The fraction of the expected posts that a backfill delivers at least, unless it delivers `POSTS_ENOUGH`. A few old
/// posts prove no backfill: X sends posts again when a rule is added, and late ones. A stream may have become slow; where
/// it has, one recovery request is a low price.
const SHARE_MIN: f64 = 0.1;
/// Number of posts that is taken for a backfill, however many were expected.
const POSTS_ENOUGH: f64 = 8.0;

/// Limits that decide when a backfill is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackfillTimeouts {
    /// Silence after which the backfill is complete.
    pub(super) quiet: Duration,
    /// Maximum duration of a backfill.
    pub(super) duration_max: Duration,
    /// Number of expected posts from which on an answer with hardly any is not plausible.
    pub(super) due_min: f64,
}

impl BackfillState {
    /// Creates the state. `margin` is the maximum age of a live post on arrival.
    pub(super) fn new(
        (began, to): (UnixMillis, UnixMillis),
        from: UnixMillis,
        margin: Duration,
        rate: f64,
        patience: BackfillTimeouts,
    ) -> Self {
        let asked = TimeRange::new(from, began.minus(margin));
        let deadline = began.plus(patience.duration_max);
        Self { began, from, to, last_inside: began, deadline, asked, seconds: BTreeMap::new(), rate }
    }

    /// Counts a post.
    pub(super) fn record_data(&mut self, created: UnixMillis, received: UnixMillis) {
        if self.from <= created && created < self.to {
            if created < self.began {
                *self.seconds.entry(created.0.div_euclid(SECOND_MS)).or_default() += 1;
            }
            self.last_inside = self.last_inside.max(received);
        }
    }

    /// Records a stall of the reader: silence in this time proves nothing.
    pub(super) fn pause(&mut self, stopped: Duration) {
        self.last_inside = self.last_inside.plus(stopped);
        self.deadline = self.deadline.plus(stopped);
    }

    /// Returns when [`BackfillState::outcome`] can decide, if nothing arrives until then.
    pub(super) fn expected_posts(&self, last_byte: UnixMillis, patience: BackfillTimeouts) -> UnixMillis {
        if self.is_quiet(last_byte, patience) { last_byte } else { self.deadline }
    }

    /// Returns whether the backfill is over and plausible; `None` while it is in progress.
    pub(super) fn outcome(&self, now: UnixMillis, last_byte: UnixMillis, patience: BackfillTimeouts) -> Option<bool> {
        if now >= self.deadline {
            return Some(false);
        }
        self.is_quiet(last_byte, patience).then(|| self.is_plausible(self.decisive_interval(), patience))
    }

    /// Returns the interval in which posts are required as proof. If live posts can be so late that they cover the
    /// whole request, this is the whole time before the connection: without a post of it, nothing is proven.
    fn decisive_interval(&self) -> TimeRange {
        if self.asked.is_empty() { TimeRange::new(self.from, self.began) } else { self.asked }
    }

    /// True if something arrived after a long enough silence of the backfill. A silent connection proves nothing.
    fn is_quiet(&self, last_byte: UnixMillis, patience: BackfillTimeouts) -> bool {
        last_byte.since(self.last_inside) >= patience.quiet
    }

    /// True if a post arrived that is older than every possible live post.
    pub(super) fn has_old_post(&self) -> bool {
        self.has_any(self.asked)
    }

    /// True if a post of this interval arrived that was created before the connection, at a resolution of one second.
    pub(super) fn has_any(&self, span: TimeRange) -> bool {
        self.count(span) > 0
    }

    fn count(&self, span: TimeRange) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let seconds = span.from.0.div_euclid(SECOND_MS)..=(span.to.0 - 1).div_euclid(SECOND_MS);
        self.seconds.range(seconds).map(|(_, posts)| posts).sum()
    }

    /// True if enough posts of this interval arrived, or if fewer were expected in it than may be missing by chance, at
    /// the rate before the connection.
    pub(super) fn is_plausible(&self, span: TimeRange, patience: BackfillTimeouts) -> bool {
        let expected = self.rate * span.to.since(span.from).as_secs_f64();
        expected < patience.due_min || self.count(span) as f64 >= (expected * SHARE_MIN).clamp(1.0, POSTS_ENOUGH)
    }
}
