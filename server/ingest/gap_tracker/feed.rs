//! One feed: the progress of its connections, and the gaps that a backfill may close.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backfill::BackfillState;
use super::connection::{AHEAD_MAX, ConnectionProgress, HighWatermark, ReceiveTime};
use super::limits::TrackerLimits;
use super::rate::PostRate;
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapId, TimeRange, TimeRangeSet, UnixMillis};

/// The name of the feed that carries all posts of an account.
pub const ALL_FEEDS: &str = "all";

/// A disjoint part of an account's stream, carried by one or more redundant connections.
///
/// A time is *delivered* if a single connection has delivered it: between its `complete_from` and its reach. A time
/// that no connection has delivered, and no open connection can still deliver, is a gap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Feed {
    /// Name of its datacenter, or [`ALL_FEEDS`]; empty for a feed of a checkpoint without names.
    pub(super) name: String,
    /// Connections by number: open ones, and the known lag of others.
    pub(super) connections: BTreeMap<usize, ConnectionProgress>,
    /// A byte arrived at some time: missing time since then is a gap.
    pub(super) began: bool,
    /// Every post created before this time was delivered, or lies in a gap.
    pub(super) settled_to: UnixMillis,
    /// Time after `settled_to` delivered by connections that have ended.
    pub(super) delivered: TimeRangeSet,
    /// Creation time of the newest post.
    pub(super) newest: Option<UnixMillis>,
    /// Lag of the newest post when the feed was restored.
    pub(super) lag: Option<HighWatermark>,
    /// Posts per second.
    pub(super) rate: PostRate,
    /// Gaps with a backfill in progress or pending.
    pub(super) gaps: Vec<FeedGap>,
    /// Start from which the log is complete; `None` before the first byte.
    pub(super) origin: Option<Completeness>,
}

/// A gap with a backfill in progress or pending.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FeedGap {
    /// The gap as announced. Without an end, the feed is down.
    pub(super) gap: Gap,
    /// False for the time before a new log.
    pub(super) announced: bool,
    /// Start from which sessions rely on the log: for a new log, the start of its gateway.
    pub(super) promised: UnixMillis,
    /// This process stamped `promised`: it follows the corrections of its clock. That of an earlier process was stamped
    /// by a clock of which nothing is known.
    #[serde(skip)]
    pub(super) promised_now: bool,
    /// False after a slow-reader disconnect: X has no backfill then.
    pub(super) trusted: bool,
    /// Posts per second of the account before the gap.
    pub(super) rate: f64,
    /// The backfill expected to close it.
    #[serde(skip)]
    pub(super) backfill: Option<GapBackfill>,
}

/// The backfill expected to close a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct GapBackfill {
    /// The connection that requested it.
    pub(super) connection: usize,
    /// The part of the gap that only this backfill can deliver: not live, not another connection.
    pub(super) core: TimeRange,
}

impl FeedGap {
    /// Creates an announced gap without a backfill.
    pub(super) fn announced(gap: Gap, promised: UnixMillis, trusted: bool, rate: f64) -> Self {
        Self { gap, announced: true, promised, promised_now: false, trusted, rate, backfill: None }
    }

    /// Returns the interval; an open end is replaced by `open_to`.
    pub(super) fn span(&self, open_to: UnixMillis) -> TimeRange {
        TimeRange::new(self.gap.window.from, self.gap.window.to.unwrap_or(open_to))
    }

    /// True if the backfill of this connection is expected to close it.
    pub(super) fn is_backfilled_by(&self, connection: usize) -> bool {
        self.backfill.is_some_and(|backfill| backfill.connection == connection)
    }
}

impl Feed {
    /// Creates a feed without data, from which nothing before `settled_to` is expected.
    pub(super) fn new(name: &str, settled_to: UnixMillis) -> Self {
        Self {
            name: name.to_owned(),
            connections: BTreeMap::new(),
            began: false,
            settled_to,
            delivered: TimeRangeSet::default(),
            newest: None,
            lag: None,
            rate: PostRate::default(),
            gaps: Vec::new(),
            origin: None,
        }
    }

    /// Returns the open connections.
    pub(super) fn up(&self) -> impl Iterator<Item = (usize, &ConnectionProgress)> {
        self.connections.iter().filter(|(_, own)| own.up).map(|(number, own)| (*number, own))
    }

    /// Returns the known lag of a connection before it delivers a post.
    pub(super) fn lag_of(&self, connection: usize) -> Option<HighWatermark> {
        self.connections.get(&connection).map_or(self.lag, |own| own.newest)
    }

    /// Returns an open connection by number.
    pub(super) fn connection(&self, number: usize) -> Option<&ConnectionProgress> {
        self.connections.get(&number).filter(|own| own.up)
    }

    /// Returns the backfill of an open connection.
    pub(super) fn backfill(&self, connection: usize) -> Option<&BackfillState> {
        self.connection(connection)?.backfill.as_ref()
    }

    /// Returns the time from which on open connections deliver every post; `None` if none is open.
    pub(super) fn assured_from(&self) -> Option<UnixMillis> {
        self.up().map(|(_, own)| own.complete_from).min()
    }

    /// Returns the time from `settled_to` to `to` that ended connections did not deliver.
    pub(super) fn undelivered(&self, to: UnixMillis) -> TimeRangeSet {
        let mut rest: TimeRangeSet = [TimeRange::new(self.settled_to, to)].into_iter().collect();
        rest.remove_all(&self.delivered);
        rest
    }

    /// Returns the first time that no connection has delivered yet.
    pub(super) fn undelivered_from(&self, limits: &TrackerLimits) -> UnixMillis {
        let mut rest = self.undelivered(UnixMillis(i64::MAX));
        self.up().for_each(|(_, own)| rest.remove(own.delivered(limits)));
        let first = rest.first().map_or(self.settled_to, |first| first.from);
        let reach = self.up().map(|(_, own)| own.settled_reach(self.settled_to, limits));
        // Time before the settled one may be left to an open connection that has not delivered it yet.
        let delivered = self.up().map(|(_, own)| own.delivered(limits)).filter(|span| !span.is_empty());
        let assured = delivered.map(|span| span.to).max();
        reach.filter(|reach| *reach < self.settled_to).chain(assured).fold(first, UnixMillis::min)
    }

    /// Ends a connection. Its delivered time is final.
    pub(super) fn end(&mut self, connection: usize, limits: &TrackerLimits) {
        let Some(own) = self.connections.get_mut(&connection).filter(|own| own.up) else { return };
        (own.up, own.backfill) = (false, None);
        let (delivered, reach) = (own.delivered(limits), own.settled_reach(self.settled_to, limits));
        self.delivered.insert(delivered);
        self.settled_to = self.settled_to.min(reach);
    }

    /// Ends all connections, because their process is gone; `now` is the time of the next process.
    pub(super) fn end_all(&mut self, limits: &TrackerLimits, now: UnixMillis) {
        let numbers: Vec<usize> = self.connections.keys().copied().collect();
        for number in numbers {
            if let Some(own) = self.connections.get_mut(&number) {
                own.last_byte = own.last_byte.min(now);
            }
            self.end(number, limits);
        }
        let lags = self.connections.values().filter_map(|own| own.newest).chain(self.lag);
        self.lag = lags.max_by_key(|newest| newest.lag);
        self.connections.clear();
        self.settled_to = self.settled_to.min(now);
    }

    /// Records that a gap of this feed has an end in the log: a first byte arrived, and the process ended before the
    /// next checkpoint. Nothing is known about the time after that end.
    pub(super) fn note_end(&mut self, id: GapId, to: UnixMillis) {
        if !self.began && self.gaps.iter().any(|own| own.announced && own.gap.id == id) {
            (self.began, self.settled_to, self.delivered) = (true, to, TimeRangeSet::default());
        }
    }

    /// Records that the log has lost everything received after this time; a log that lost all of it had nothing from
    /// before its start. The lag of connections at that time is unknown.
    pub(super) fn lose_after(&mut self, received: UnixMillis, limits: &TrackerLimits) {
        let time = received.max(self.origin.map_or(received, Completeness::time)).minus(limits.lag_max());
        self.delivered.remove(TimeRange::new(time, UnixMillis(i64::MAX)));
        self.settled_to = self.settled_to.min(time);
    }

    /// Settles the time before `to`: it has been delivered, or is in a gap.
    pub(super) fn settle_to(&mut self, to: UnixMillis) {
        self.settled_to = self.settled_to.max(to);
        self.delivered.remove(TimeRange::new(UnixMillis(i64::MIN), self.settled_to));
    }

    /// Forgets delivered time that an open connection has delivered too, even at its maximum lag. This bounds the
    /// memory for ended connections by the lag of open ones.
    pub(super) fn forget_delivered_twice(&mut self, limits: &TrackerLimits) {
        let lag_max = limits.lag_max();
        let mut delivered = self.delivered.clone();
        self.up()
            .for_each(|(_, own)| delivered.insert(TimeRange::new(own.complete_from, own.last_byte.minus(lag_max))));
        if let Some(first) = delivered.iter().find(|span| span.from <= self.settled_to && span.to > self.settled_to) {
            self.settle_to(first.to);
        }
    }

    /// Records data that arrived on a connection; `created` are the creation times of its posts.
    pub(super) fn record_data(&mut self, connection: usize, receive_time: ReceiveTime, created: &[UnixMillis]) {
        let received = receive_time.stamp;
        let Some(own) = self.connections.get_mut(&connection).filter(|own| own.up) else { return };
        own.record_data(receive_time, created);
        let live_from = own.backfill.as_ref().map_or(UnixMillis(i64::MIN), |backfill| backfill.began);
        // Redundant connections deliver the same posts: each counts once, in the order of creation.
        let newest = self.newest.unwrap_or(UnixMillis(i64::MIN)).max(live_from);
        let fresh = created.iter().copied().filter(|created| *created > newest);
        let (mut posts, mut latest) = (0, self.newest);
        for created in fresh {
            posts += 1;
            latest = latest.max(Some(created).filter(|created| *created <= received.plus(AHEAD_MAX)));
        }
        self.newest = latest;
        self.rate.count(posts, received);
        if posts > 0 {
            let rate = self.rate.per_second();
            self.connections.values_mut().for_each(|own| own.rate = rate);
        }
    }
}
