//! A backfill under way, and whether it is to be believed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{TimeRange, UnixMillis};

/// A backfill that a connection asked for.
#[derive(Clone, Debug)]
pub(super) struct BackfillState {
    /// When the first byte came.
    pub(super) began: UnixMillis,
    /// What it delivers begins here at the latest.
    pub(super) from: UnixMillis,
    /// Posts of the connection that were created before this can be from the backfill.
    to: UnixMillis,
    /// When such a post last came. Time in which the reader was stopped does not count: it moves this on.
    last_inside: UnixMillis,
    /// It is given up then.
    deadline: UnixMillis,
    /// What was asked for, less what can come live.
    asked: TimeRange,
    /// Posts that were created before the connection, by the second of their creation: of the minutes asked for.
    seconds: BTreeMap<i64, u64>,
    /// Posts per second of the feed before the connection.
    rate: f64,
}

const SECOND_MS: i64 = 1_000;

/// When a backfill is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackfillTimeouts {
    /// Nothing of it came for this long.
    pub(super) quiet: Duration,
    /// It goes on for no longer than this.
    pub(super) duration_max: Duration,
    /// Posts due in an interval from which on an empty answer is not plausible.
    pub(super) due_min: f64,
}

impl BackfillState {
    /// `margin` is how much older than its arrival a live post can be.
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
    pub(super) fn heard(&mut self, created: UnixMillis, received: UnixMillis) {
        if self.from <= created && created < self.to {
            if created < self.began {
                *self.seconds.entry(created.0.div_euclid(SECOND_MS)).or_default() += 1;
            }
            self.last_inside = self.last_inside.max(received);
        }
    }

    /// The reader was stopped for this long: that nothing came in this time proves nothing.
    pub(super) fn pause(&mut self, stopped: Duration) {
        self.last_inside = self.last_inside.plus(stopped);
        self.deadline = self.deadline.plus(stopped);
    }

    /// When [`BackfillState::outcome`] has something to decide, if nothing comes until then.
    pub(super) fn expected_posts(&self, last_byte: UnixMillis, patience: BackfillTimeouts) -> UnixMillis {
        if self.is_quiet(last_byte, patience) { last_byte } else { self.deadline }
    }

    /// Returns whether it is over and brought what was due of what it was asked for; `None` while it goes on.
    pub(super) fn outcome(&self, now: UnixMillis, last_byte: UnixMillis, patience: BackfillTimeouts) -> Option<bool> {
        if now >= self.deadline {
            return Some(false);
        }
        self.is_quiet(last_byte, patience).then(|| self.is_plausible(self.judged(), patience))
    }

    /// What has to bring something. Where all of it may come live, for posts are that late, it is the whole: if nothing came
    /// of it by now, nothing of it was proven.
    fn judged(&self) -> TimeRange {
        if self.asked.is_empty() { TimeRange::new(self.from, self.began) } else { self.asked }
    }

    /// Something came after nothing of the backfill did for long enough. A connection that is silent proves nothing.
    fn is_quiet(&self, last_byte: UnixMillis, patience: BackfillTimeouts) -> bool {
        last_byte.since(self.last_inside) >= patience.quiet
    }

    /// True if a post older than all that can come live came.
    pub(super) fn brought_any(&self) -> bool {
        self.has_any(self.asked)
    }

    /// True if a post of this interval came that was created before the connection, at the grain of a second.
    pub(super) fn has_any(&self, span: TimeRange) -> bool {
        !span.is_empty()
            && self
                .seconds
                .range(span.from.0.div_euclid(SECOND_MS)..=(span.to.0 - 1).div_euclid(SECOND_MS))
                .next()
                .is_some()
    }

    /// True if something of this interval came, or fewer posts were due in it than may be missing by chance, at the rate
    /// before the connection.
    pub(super) fn is_plausible(&self, span: TimeRange, patience: BackfillTimeouts) -> bool {
        self.has_any(span) || self.rate * span.to.since(span.from).as_secs_f64() < patience.due_min
    }
}
