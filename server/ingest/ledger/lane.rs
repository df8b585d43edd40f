//! One flow of posts: what was last heard of it, and the hole that is not closed yet.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Gap, Span, UnixMillis};

/// One flow of posts: a connection, or several that are full copies of one another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lane {
    /// The connections that have brought a byte and have not ended.
    #[serde(skip)]
    pub(super) up: BTreeSet<usize>,
    /// When the last byte came; `None` if none ever did.
    pub(super) last_byte: Option<UnixMillis>,
    /// True if that was in this process: it is by the clock of now, and follows its corrections.
    #[serde(skip)]
    pub(super) heard_here: bool,
    /// The newest post.
    pub(super) newest: Option<Newest>,
    /// How many posts come.
    pub(super) rate: Rate,
    /// What was missed since the last byte, or is being backfilled.
    pub(super) hole: Option<Hole>,
}

/// The newest post of a lane.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Newest {
    pub(super) created: UnixMillis,
    /// How long after its creation it came.
    pub(super) lag: Duration,
}

/// An interval that the lane has not brought yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hole {
    /// What is told of it. Without an end, the lane is down.
    pub(super) gap: Gap,
    /// False for what lies before a new log: nobody is told of it.
    pub(super) told: bool,
    /// From where on the log is to have all: of a new one, when its gateway was started.
    pub(super) promised: UnixMillis,
    /// False after a slow-reader cut: X has no backfill then.
    pub(super) trusted: bool,
    /// The connection that brings it.
    #[serde(skip)]
    pub(super) backfill: Option<Backfill>,
}

/// A backfill under way.
#[derive(Clone, Debug)]
pub(super) struct Backfill {
    pub(super) connection: usize,
    /// When the first byte came.
    pub(super) began: UnixMillis,
    /// When a post from inside the hole last came.
    pub(super) last_inside: UnixMillis,
    /// Posts of `asked`: they cannot have come live.
    pub(super) older: u64,
    /// What was asked for, less what may come live.
    pub(super) asked: Span,
    /// Posts of `core`.
    pub(super) inside: u64,
    /// The part of the hole that nothing can have brought before, and that cannot come live.
    pub(super) core: Span,
}

/// Posts per second, with less weight the longer ago.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rate {
    posts: f64,
    seconds: f64,
    #[serde(skip)]
    since: Option<UnixMillis>,
}

/// The rate is that of about this long.
const RATE_MEMORY: Duration = Duration::from_secs(600);
/// A rate of a shorter time says nothing.
const RATE_SECONDS_MIN: f64 = 30.0;
/// A post that claims to be from later than this after now is not believed to be the newest.
const AHEAD_MAX: Duration = Duration::from_secs(60);

impl Rate {
    /// The flow begins, or begins again: the time before is not counted.
    pub(super) fn resume(&mut self, now: UnixMillis) {
        self.since = Some(now);
    }

    /// Live posts came.
    pub(super) fn count(&mut self, posts: u64, now: UnixMillis) {
        let passed = self.since.map_or(0.0, |since| now.since(since).as_secs_f64());
        self.since = Some(now);
        let weight = (-passed / RATE_MEMORY.as_secs_f64()).exp();
        self.posts = self.posts * weight + posts as f64;
        self.seconds = self.seconds * weight + passed;
    }

    /// How many posts are due in this span, if it was as before; 0 if too little is known.
    pub(super) fn due(&self, span: Span) -> f64 {
        if self.seconds < RATE_SECONDS_MIN {
            return 0.0;
        }
        self.posts / self.seconds * span.to.since(span.from).as_secs_f64()
    }
}

impl Lane {
    /// How far before the last byte something may be missing: the slack, or the lag of the newest post if that is more.
    pub(super) fn margin(&self, slack: Duration, lag_max: Duration) -> Duration {
        self.newest.map_or(slack, |newest| newest.lag.min(lag_max).max(slack))
    }

    /// Moves the last byte and the start of what is missing since then to another time scale.
    pub(super) fn shift(&mut self, shifted: impl Fn(UnixMillis) -> UnixMillis) {
        self.last_byte = self.last_byte.map(&shifted);
        if let Some(hole) = self.hole.as_mut().filter(|hole| hole.gap.window.to.is_none()) {
            hole.gap.window.from = shifted(hole.gap.window.from);
        }
    }

    /// Something came on this connection; `created` are the times of the posts in it.
    pub(super) fn heard(&mut self, connection: usize, received: UnixMillis, created: &[UnixMillis]) {
        // Never the later of two: after the clock was set back, a time ahead would hide the next outage.
        self.last_byte = Some(received);
        self.heard_here = true;
        let backfill = self.hole.as_mut().and_then(|hole| Some((hole.gap.window, hole.backfill.as_mut()?)));
        let backfill = backfill.filter(|(_, backfill)| backfill.connection == connection);
        let mut live = created.len() as u64;
        if let Some((window, backfill)) = backfill {
            for created in created.iter().copied() {
                live -= u64::from(created < backfill.began);
                backfill.older += u64::from(backfill.asked.contains(created));
                backfill.inside += u64::from(backfill.core.contains(created));
                if window.contains(created) {
                    backfill.last_inside = received;
                }
            }
        }
        // Of full copies one is counted.
        if self.up.first() == Some(&connection) {
            self.rate.count(live, received);
        }
        let newest = created.iter().copied().filter(|created| *created <= received.plus(AHEAD_MAX)).max();
        if let Some(created) = newest
            && self.newest.is_none_or(|newest| newest.created <= created)
        {
            self.newest = Some(Newest { created, lag: received.since(created) });
        }
    }
}
