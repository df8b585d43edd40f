//! A backfill under way, and whether it is to be believed.

use std::time::Duration;

use crate::model::{Span, UnixMillis};

/// A backfill that a connection asked for.
#[derive(Clone, Debug)]
pub(super) struct Backfill {
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
    asked: Span,
    /// Posts of `asked`.
    older: u64,
    /// Posts per second of the feed before the connection.
    rate: f64,
}

/// When a backfill is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Nothing of it came for this long.
    pub(super) quiet: Duration,
    /// It goes on for no longer than this.
    pub(super) duration_max: Duration,
    /// Posts due in an interval from which on an empty answer is not plausible.
    pub(super) due_min: f64,
}

impl Backfill {
    /// `margin` is how much older than its arrival a live post can be.
    pub(super) fn new(
        (began, to): (UnixMillis, UnixMillis),
        from: UnixMillis,
        margin: Duration,
        rate: f64,
        patience: Patience,
    ) -> Self {
        let asked = Span::new(from, began.minus(margin));
        let deadline = began.plus(patience.duration_max);
        Self { began, from, to, last_inside: began, deadline, asked, older: 0, rate }
    }

    /// Counts a post.
    pub(super) fn heard(&mut self, created: UnixMillis, received: UnixMillis) {
        self.older += u64::from(self.asked.contains(created));
        if self.from <= created && created < self.to {
            self.last_inside = self.last_inside.max(received);
        }
    }

    /// The reader was stopped for this long: that nothing came in this time proves nothing.
    pub(super) fn pause(&mut self, stopped: Duration) {
        self.last_inside = self.last_inside.plus(stopped);
        self.deadline = self.deadline.plus(stopped);
    }

    /// When [`Backfill::outcome`] has something to decide.
    pub(super) fn due(&self, patience: Patience) -> UnixMillis {
        self.last_inside.plus(patience.quiet).min(self.deadline)
    }

    /// Returns whether it is over and brought what was due of what it was asked for; `None` while it goes on.
    pub(super) fn outcome(&self, now: UnixMillis, patience: Patience) -> Option<bool> {
        if now >= self.deadline {
            return Some(false);
        }
        if now.since(self.last_inside) < patience.quiet {
            return None;
        }
        Some(self.older > 0 || self.posts_due(self.asked) < patience.due_min)
    }

    /// True if a post older than all that can come live came.
    pub(super) fn brought_any(&self) -> bool {
        self.older > 0
    }

    /// Posts due in this interval at the rate before the connection.
    pub(super) fn posts_due(&self, span: Span) -> f64 {
        self.rate * span.to.since(span.from).as_secs_f64()
    }
}
