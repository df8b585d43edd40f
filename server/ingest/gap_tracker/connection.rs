//! Progress of one connection of a feed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backfill::BackfillState;
use super::limits::TrackerLimits;
use crate::model::{TimeRange, UnixMillis};

/// Progress of a connection since its first byte, or up to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConnectionProgress {
    /// The first byte has arrived and the connection has not ended.
    pub(super) up: bool,
    /// When the first byte arrived.
    pub(super) first_byte: UnixMillis,
    /// The connection delivers posts created from this time on: the first byte plus the allowed lateness, or the start
    /// of its backfill once that is accepted.
    pub(super) complete_from: UnixMillis,
    /// When the last complete message or heartbeat arrived.
    pub(super) last_byte: UnixMillis,
    /// The newest post; before the first post of this connection, that of its predecessor.
    pub(super) newest: Option<HighWatermark>,
    /// A post arrived on this connection.
    #[serde(default)]
    delivers: bool,
    /// Posts per second of the feed when the newest post arrived.
    #[serde(default)]
    pub(super) rate: f64,
    /// The requested backfill, until it is accepted or given up.
    #[serde(skip)]
    pub(super) backfill: Option<BackfillState>,
    /// `complete_from` before the backfill was accepted, and when it was accepted.
    before_backfill: Option<(UnixMillis, UnixMillis)>,
    /// The last byte and the newest post arrived after a stall of the reader: both were sent at an unknown time within
    /// it.
    #[serde(default)]
    behind: bool,
    /// X disconnected it as a slow reader, and no first byte followed: X has no backfill for it.
    pub(super) slow: bool,
}

/// The newest post of a connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct HighWatermark {
    pub(super) created: UnixMillis,
    /// How long after its creation it arrived.
    pub(super) lag: Duration,
}

/// When data arrived.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveTime {
    /// Earliest time at which it can have been sent: after a stall of the reader, the previous poll.
    pub stamp: UnixMillis,
    /// When it was read.
    pub read: UnixMillis,
}

impl From<UnixMillis> for ReceiveTime {
    fn from(time: UnixMillis) -> Self {
        Self { stamp: time, read: time }
    }
}

/// Maximum lead of a post's creation time over the clock; a post beyond it is not accepted as the newest.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(60);

impl ConnectionProgress {
    /// Creates a connection whose first byte arrived now. `newest` is the known lag, `rate` that of its feed.
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

    /// Maximum age of a post of this connection on arrival: the allowed lateness, or the lag if that is greater.
    pub(super) fn margin(&self, limits: &TrackerLimits) -> Duration {
        self.margin_of(self.newest.map_or(Duration::ZERO, |newest| newest.lag), limits)
    }

    fn margin_of(&self, lag: Duration, limits: &TrackerLimits) -> Duration {
        lag.max(self.silence(limits)).min(limits.lag_max()).max(limits.allowed_lateness)
    }

    /// Returns for how long no post arrived although posts were expected: heartbeats do not distinguish a quiet stream
    /// from a late one.
    fn silence(&self, limits: &TrackerLimits) -> Duration {
        // Before the first post of this connection, `newest` only shows that posts were expected since the first byte.
        let earliest = if self.delivers { UnixMillis(i64::MIN) } else { self.first_byte };
        let since = self.newest.map_or(self.first_byte, |newest| newest.created.max(earliest));
        let silence = self.last_byte.since(since);
        let is_plausible = self.rate * silence.as_secs_f64() < f64::from(limits.config.due_min);
        if is_plausible { Duration::ZERO } else { silence }
    }

    /// Every post created before this time, and after `complete_from`, has arrived.
    pub(super) fn reach(&self, limits: &TrackerLimits) -> UnixMillis {
        let behind = self.newest.filter(|_| self.behind);
        // The stall is already part of the time of the last byte: it must not count again in the lag.
        let margin = behind
            .map_or_else(|| self.margin(limits), |newest| self.margin_of(self.last_byte.since(newest.created), limits));
        self.last_byte.minus(margin)
    }

    /// Returns the delivered part of the settled time: the connection that began last settled the time before it, and
    /// may not have delivered even that.
    pub(super) fn settled_reach(&self, settled_to: UnixMillis, limits: &TrackerLimits) -> UnixMillis {
        let began_last = self.first_byte.plus(limits.allowed_lateness) >= settled_to;
        if began_last { settled_to.min(self.reach(limits)) } else { settled_to }
    }

    /// Returns the delivered time. Being connected proves nothing about the time after it.
    pub(super) fn delivered(&self, limits: &TrackerLimits) -> TimeRange {
        TimeRange::new(self.complete_from, self.reach(limits))
    }

    /// Records arrived data; `created` are the creation times of its posts.
    pub(super) fn record_data(&mut self, receive_time: ReceiveTime, created: &[UnixMillis]) {
        let ReceiveTime { stamp: received, read } = receive_time;
        self.last_byte = received;
        if let Some(backfill) = &mut self.backfill {
            created.iter().for_each(|created| backfill.record_data(*created, received));
        }
        let newest = created.iter().copied().filter(|created| *created <= received.plus(AHEAD_MAX)).max();
        let newest = newest.filter(|created| self.newest.is_none_or(|own| own.created <= *created || !self.delivers));
        if let Some(created) = newest {
            // After a stall, the data may have been sent at any time until it was read.
            (self.delivers, self.newest) = (true, Some(HighWatermark { created, lag: read.since(created) }));
        }
        self.behind = received < read && (newest.is_some() || self.behind);
    }

    /// Records a stall of the reader.
    pub(super) fn stop(&mut self, stopped: Duration) {
        if let Some(backfill) = &mut self.backfill {
            backfill.pause(stopped);
        }
    }

    /// Accepts the backfill as complete.
    pub(super) fn believe(&mut self, from: UnixMillis, now: UnixMillis) {
        self.before_backfill = Some((self.complete_from, now));
        self.complete_from = self.complete_from.min(from);
    }

    /// Returns the state if the process ends now: nothing that arrived after `appended` is in the log.
    pub(super) fn as_appended(&self, appended: UnixMillis) -> Self {
        // Before the first byte nothing arrived: the time until then is in a gap already.
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
