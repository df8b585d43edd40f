//! How far one connection of a feed has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backfill::BackfillState;
use super::limits::TrackerLimits;
use crate::model::{TimeRange, UnixMillis};

/// What one connection of a feed has delivered since its first byte, or had when it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Connection {
    /// Its first byte came and it has not ended.
    pub(super) up: bool,
    /// When its first byte came.
    pub(super) first_byte: UnixMillis,
    /// Posts created from here on come by it: the slack after its first byte, or the start of its backfill once that is
    /// believed.
    pub(super) complete_from: UnixMillis,
    /// When the last whole message or heartbeat came.
    pub(super) last_byte: UnixMillis,
    /// The newest post; before the first one of this connection, that of the one before.
    pub(super) newest: Option<HighWatermark>,
    /// A post came by this connection.
    #[serde(default)]
    delivers: bool,
    /// Posts per second of its feed when its newest post came.
    #[serde(default)]
    pub(super) rate: f64,
    /// The backfill that it asked for, until that is decided.
    #[serde(skip)]
    pub(super) backfill: Option<BackfillState>,
    /// `complete_from` before the backfill was believed, and when it was.
    before_backfill: Option<(UnixMillis, UnixMillis)>,
    /// The last byte and the newest post came after a stop of the reader: both were sent at an unknown time within it.
    #[serde(default)]
    behind: bool,
    /// X ended it as a slow reader, and there has been no first byte since: X has no backfill for it.
    pub(super) slow: bool,
}

/// The newest post of a connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct HighWatermark {
    pub(super) created: UnixMillis,
    /// How long after its creation it came.
    pub(super) lag: Duration,
}

/// When something came.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// It was not sent before this: after a stop of the reader, the turn before it.
    pub stamp: UnixMillis,
    /// When it was read.
    pub read: UnixMillis,
}

impl From<UnixMillis> for Heard {
    fn from(time: UnixMillis) -> Self {
        Self { stamp: time, read: time }
    }
}

/// A post that claims to be from later than this after now is not believed to be the newest.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(60);

impl Connection {
    /// A connection whose first byte came now; `newest` is what is known of its lag.
    /// `rate` is that of its feed.
    pub(super) fn new(now: UnixMillis, allowed_lateness: Duration, newest: Option<HighWatermark>, rate: f64) -> Self {
        Self {
            up: true,
            first_byte: now,
            complete_from: now.plus(allowed_lateness),
            last_byte: now,
            newest,
            delivers: false,
            rate,
            backfill: None,
            before_backfill: None,
            behind: false,
            slow: false,
        }
    }

    /// How much older than its arrival a post of this connection can be: the slack, or the lag if that is more.
    pub(super) fn margin(&self, limits: &TrackerLimits) -> Duration {
        self.margin_of(self.newest.map_or(Duration::ZERO, |newest| newest.lag), limits)
    }

    fn margin_of(&self, lag: Duration, limits: &TrackerLimits) -> Duration {
        lag.max(self.silence(limits)).min(limits.lag_max()).max(limits.allowed_lateness)
    }

    /// For how long no post came although posts were due: heartbeats alone do not tell a quiet stream from a late one.
    fn silence(&self, limits: &TrackerLimits) -> Duration {
        // Before its first post, the newest one says only that posts were due since the first byte.
        let earliest = if self.delivers { UnixMillis(i64::MIN) } else { self.first_byte };
        let since = self.newest.map_or(self.first_byte, |newest| newest.created.max(earliest));
        let silence = self.last_byte.since(since);
        let is_plausible = self.rate * silence.as_secs_f64() < f64::from(limits.config.due_min);
        if is_plausible { Duration::ZERO } else { silence }
    }

    /// Everything created before this, and after `complete_from`, has come.
    pub(super) fn reach(&self, limits: &TrackerLimits) -> UnixMillis {
        let behind = self.newest.filter(|_| self.behind);
        // The stop is in the time of the last byte already: it must not count again in the lag of what came with it.
        let margin = behind
            .map_or_else(|| self.margin(limits), |newest| self.margin_of(self.last_byte.since(newest.created), limits));
        self.last_byte.minus(margin)
    }

    /// What it has delivered of the time that is taken for settled: the connection that began last, and so settled what is
    /// before it, may not have delivered even that.
    pub(super) fn settled_reach(&self, settled_to: UnixMillis, limits: &TrackerLimits) -> UnixMillis {
        let began_last = self.first_byte.plus(limits.allowed_lateness) >= settled_to;
        if began_last { settled_to.min(self.reach(limits)) } else { settled_to }
    }

    /// What it has delivered. That it is up proves nothing of the time since.
    pub(super) fn delivered(&self, limits: &TrackerLimits) -> TimeRange {
        TimeRange::new(self.complete_from, self.reach(limits))
    }

    /// Something came; `created` are the times of the posts in it.
    pub(super) fn heard(&mut self, heard: Heard, created: &[UnixMillis]) {
        let Heard { stamp: received, read } = heard;
        self.last_byte = received;
        if let Some(backfill) = &mut self.backfill {
            created.iter().for_each(|created| backfill.heard(*created, received));
        }
        let newest = created.iter().copied().filter(|created| *created <= received.plus(AHEAD_MAX)).max();
        let newest = newest.filter(|created| self.newest.is_none_or(|own| own.created <= *created || !self.delivers));
        if let Some(created) = newest {
            // After a stop, it was sent up to when it was read.
            (self.delivers, self.newest) = (true, Some(HighWatermark { created, lag: read.since(created) }));
        }
        self.behind = received < read && (newest.is_some() || self.behind);
    }

    /// Its reader was stopped for this long.
    pub(super) fn stop(&mut self, stopped: Duration) {
        if let Some(backfill) = &mut self.backfill {
            backfill.pause(stopped);
        }
    }

    /// Its backfill came.
    pub(super) fn believe(&mut self, from: UnixMillis, now: UnixMillis) {
        self.before_backfill = Some((self.complete_from, now));
        self.complete_from = self.complete_from.min(from);
    }

    /// What is known of it if the process ends now: nothing that came later than `appended` is in the log.
    pub(super) fn as_appended(&self, appended: UnixMillis) -> Self {
        // Before the first byte nothing came: what is missing until then is a gap already.
        let last_byte = self.last_byte.min(appended.max(self.first_byte));
        let behind = self.behind && last_byte == self.last_byte;
        let mut own = Self { last_byte, behind, ..self.clone() };
        if let Some((complete_from, at)) = own.before_backfill
            && at > appended
        {
            own.complete_from = complete_from;
        }
        own
    }
}
