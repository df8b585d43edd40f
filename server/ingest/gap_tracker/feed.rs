//! One feed: what its connections have delivered, and the gaps that a backfill may close.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backfill::BackfillState;
use super::connection::{AHEAD_MAX, Connection, Heard, HighWatermark};
use super::limits::TrackerLimits;
use super::rate::PostRate;
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapId, TimeRange, TimeRangeSet, UnixMillis};

/// The name of the feed that carries all posts of an account.
pub const ALL_FEEDS: &str = "all";

/// A disjoint part of an account's stream, carried by one or more redundant connections.
///
/// A time is *delivered* if one connection has delivered it by itself: between its `complete_from` and its reach. What no
/// connection that is up can still deliver, and none has, is a gap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Feed {
    /// The name of its datacenter, or [`ALL_FEEDS`]; empty for a feed of a file that knew no names.
    pub(super) name: String,
    /// Connections by number: those that are up, and of the others what is known of their lag.
    pub(super) connections: BTreeMap<usize, Connection>,
    /// A byte of it came at some time: what is missing since is a gap.
    pub(super) began: bool,
    /// All that was created before this was delivered, or lies in a gap.
    pub(super) settled_to: UnixMillis,
    /// Delivered after `settled_to` by connections that have ended.
    pub(super) delivered: TimeRangeSet,
    /// Creation time of the newest post.
    pub(super) newest: Option<UnixMillis>,
    /// The lag of its newest post when it was restored.
    pub(super) lag: Option<HighWatermark>,
    /// How many posts come.
    pub(super) rate: PostRate,
    /// Gaps that wait for a backfill, or are being backfilled.
    pub(super) gaps: Vec<FeedGap>,
    /// From where on the log has all of it at its beginning; `None` before the first byte.
    pub(super) origin: Option<Completeness>,
}

/// A gap that waits for a backfill, or is being backfilled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FeedGap {
    /// What is announced of it. Without an end, the feed is down.
    pub(super) gap: Gap,
    /// False for what lies before a new log.
    pub(super) announced: bool,
    /// From where on the log is to have all: of a new log, when its gateway was started.
    pub(super) promised: UnixMillis,
    /// False after a slow-reader disconnect: X has no backfill then.
    pub(super) trusted: bool,
    /// Posts per second of the account before the gap.
    pub(super) rate: f64,
    /// The backfill that is to close it.
    #[serde(skip)]
    pub(super) backfill: Option<GapBackfill>,
}

/// The backfill that is to close a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct GapBackfill {
    /// The connection that asked for it.
    pub(super) connection: usize,
    /// The part of the gap that nothing else can have delivered, and that cannot come live.
    pub(super) core: TimeRange,
}

impl FeedGap {
    /// The interval; one without an end ends at `open_to`.
    pub(super) fn span(&self, open_to: UnixMillis) -> TimeRange {
        TimeRange::new(self.gap.window.from, self.gap.window.to.unwrap_or(open_to))
    }

    /// True if this connection's backfill is to close it.
    pub(super) fn is_backfilled_by(&self, connection: usize) -> bool {
        self.backfill.is_some_and(|backfill| backfill.connection == connection)
    }
}

impl Feed {
    /// A feed of which nothing came, and of which nothing before `settled_to` is to come.
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

    /// The connections that are up.
    pub(super) fn up(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.connections.iter().filter(|(_, own)| own.up).map(|(number, own)| (*number, own))
    }

    /// What is known of the lag of a connection before it delivers a post.
    pub(super) fn lag_of(&self, connection: usize) -> Option<HighWatermark> {
        self.connections.get(&connection).map_or(self.lag, |own| own.newest)
    }

    /// A connection that is up, by number.
    pub(super) fn connection(&self, number: usize) -> Option<&Connection> {
        self.connections.get(&number).filter(|own| own.up)
    }

    /// A connection that is up and its backfill, by number.
    pub(super) fn backfill(&self, connection: usize) -> Option<&BackfillState> {
        self.connection(connection)?.backfill.as_ref()
    }

    /// What is created from here on comes by a connection that is up; `None` if none is.
    pub(super) fn assured_from(&self) -> Option<UnixMillis> {
        self.up().map(|(_, own)| own.complete_from).min()
    }

    /// What was not delivered of the time from `settled_to` to `to` by connections that have ended.
    pub(super) fn undelivered(&self, to: UnixMillis) -> TimeRangeSet {
        let mut rest: TimeRangeSet = [TimeRange::new(self.settled_to, to)].into_iter().collect();
        rest.remove_all(&self.delivered);
        rest
    }

    /// The first time that no connection has delivered yet.
    pub(super) fn undelivered_from(&self, limits: &TrackerLimits) -> UnixMillis {
        let mut rest = self.undelivered(UnixMillis(i64::MAX));
        self.up().for_each(|(_, own)| rest.remove(own.delivered(limits)));
        let first = rest.first().map_or(self.settled_to, |first| first.from);
        self.up().map(|(_, own)| own.settled_reach(self.settled_to, limits)).fold(first, UnixMillis::min)
    }

    /// A connection ended. What it has delivered is known now.
    pub(super) fn end(&mut self, connection: usize, limits: &TrackerLimits) {
        let Some(own) = self.connections.get_mut(&connection).filter(|own| own.up) else { return };
        (own.up, own.backfill) = (false, None);
        let (delivered, reach) = (own.delivered(limits), own.settled_reach(self.settled_to, limits));
        self.delivered.insert(delivered);
        self.settled_to = self.settled_to.min(reach);
    }

    /// The process that had the connections is gone; `now` is the time of the next one.
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

    /// A gap of this feed has an end in the log: a first byte came, and the process was gone before the checkpoint knew. What
    /// comes after that end is not known.
    pub(super) fn note_end(&mut self, id: GapId, to: UnixMillis) {
        if !self.began && self.gaps.iter().any(|own| own.announced && own.gap.id == id) {
            (self.began, self.settled_to, self.delivered) = (true, to, TimeRangeSet::default());
        }
    }

    /// The log has lost what it was given after this.
    pub(super) fn lose_after(&mut self, time: UnixMillis) {
        self.delivered.remove(TimeRange::new(time, UnixMillis(i64::MAX)));
        self.settled_to = self.settled_to.min(time);
    }

    /// Everything before `to` has been delivered, or has become a gap.
    pub(super) fn settle_to(&mut self, to: UnixMillis) {
        self.settled_to = self.settled_to.max(to);
        self.delivered.remove(TimeRange::new(UnixMillis(i64::MIN), self.settled_to));
    }

    /// Forgets what a connection that is up has delivered as well, however late it may prove to be: so what is remembered of
    /// ended connections is bounded by the time that the others lag behind.
    pub(super) fn forget_delivered_twice(&mut self, limits: &TrackerLimits) {
        let lag_max = limits.lag_max();
        let mut delivered = self.delivered.clone();
        self.up()
            .for_each(|(_, own)| delivered.insert(TimeRange::new(own.complete_from, own.last_byte.minus(lag_max))));
        if let Some(first) = delivered.iter().find(|span| span.from <= self.settled_to && span.to > self.settled_to) {
            self.settle_to(first.to);
        }
    }

    /// Something came on this connection; `created` are the times of the posts in it.
    pub(super) fn heard(&mut self, connection: usize, heard: Heard, created: &[UnixMillis]) {
        let received = heard.stamp;
        let Some(own) = self.connections.get_mut(&connection).filter(|own| own.up) else { return };
        own.heard(heard, created);
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
