//! State machine of an account's gaps, without clock, lock or disk.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::ReceiveTime;
use super::correction_log::CorrectionLog;
use super::feed::Feed;
use super::limits::TrackerLimits;
use super::recovering_gap::RecoveringGap;
use super::tail::ReopenedTail;
use crate::hub::side_log;
use crate::model::{Gap, GapId, Sequence, UnixMillis};
use crate::xapi::BackfillMinutes;

/// Delay before the missing start of another feed is announced after the first feed of a new log has begun. It is less
/// than the allowed lateness, so that no low watermark has passed the start by then.
pub(super) const START_GRACE: Duration = Duration::from_secs(10);

/// The open gaps of an account.
#[derive(Clone, Debug)]
pub(super) struct GapStateMachine {
    pub(super) limits: TrackerLimits,
    pub(super) kept: PersistedState,
    /// Changes to be logged, in order.
    pub(super) changes: Vec<Gap>,
    /// Number of changes of the recovery demand.
    pub(super) demands: u64,
    backfill_refused_until: Option<UnixMillis>,
    /// Latest time passed to the state machine.
    pub(super) time: UnixMillis,
    /// When the missing time of feeds that have not begun is announced.
    pub(super) announce_at: Option<UnixMillis>,
}

/// State stored in the checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PersistedState {
    pub(super) last_id: u64,
    pub(super) feeds: Vec<Feed>,
    /// Gaps left to recovery.
    pub(super) healing: BTreeMap<GapId, RecoveringGap>,
    /// New posts of open gaps.
    #[serde(rename = "brought")]
    pub(super) recovered_posts: BTreeMap<GapId, u64>,
    /// Time that becomes missing again if the log loses its tail, and that no feed knows of.
    #[serde(default)]
    pub(super) tail: ReopenedTail,
    /// Maximum lateness of the upstream over the log.
    #[serde(default)]
    pub(super) late: Duration,
    /// Times stamped since the last correction of the clock.
    #[serde(default)]
    pub(super) scale: CorrectionLog,
    /// Private gaps.
    pub(super) side: side_log::SideLogSnapshot,
    /// Offset of X's clock from the system's.
    pub(super) clock_offset_ms: i64,
    /// Epoch of the log that this state belongs to.
    #[serde(default)]
    pub(super) epoch: String,
    /// Sequence of the next record of the log; 0 if unknown.
    #[serde(default)]
    pub(super) journal_next: Sequence,
}

/// X's answer to a request for the stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamResponse {
    /// X's time of the answer.
    pub at: UnixMillis,
    /// The requested backfill.
    pub backfill: Option<BackfillMinutes>,
    /// Maximum error of `at`.
    pub uncertainty: Duration,
}

/// Source of a post that helps to close a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverySource {
    /// Backfill of this connection, by its number among all connections of the account.
    Backfill {
        /// The number.
        connection: usize,
    },
    /// A recovery job, which fetches the posts of all feeds.
    Recovery,
}

impl PersistedState {
    /// Returns the announced gaps that have not ended: those left to recovery first.
    pub(super) fn announced_gaps(&self) -> impl Iterator<Item = &Gap> {
        let waiting = self.feeds.iter().flat_map(|feed| &feed.gaps).filter(|own| own.announced).map(|own| &own.gap);
        self.healing.values().map(|healing| &healing.gap).chain(waiting)
    }

    /// Removes deliveries after the last append; `appended` is when the appended data arrived.
    pub(super) fn keep_appended(&mut self, appended: Option<UnixMillis>) {
        let appended = appended.unwrap_or(UnixMillis(i64::MIN / 2));
        for own in self.feeds.iter_mut().flat_map(|feed| feed.connections.values_mut()).filter(|own| own.up) {
            *own = own.as_appended(appended);
        }
    }
}

impl GapStateMachine {
    pub(super) fn new(limits: TrackerLimits, kept: PersistedState) -> Self {
        let demands = kept.healing.values().map(|healing| healing.demanded).max().unwrap_or(0) + 1;
        let (changes, time) = (Vec::new(), UnixMillis(i64::MIN / 2));
        Self { limits, kept, changes, demands, backfill_refused_until: None, time, announce_at: None }
    }

    /// Returns the minutes of backfill to request; `None` if backfill would not help. `uncertainty` is the maximum
    /// error of `now`.
    pub(super) fn backfill_minutes(
        &self,
        feed: usize,
        connection: usize,
        now: UnixMillis,
        uncertainty: Duration,
    ) -> Option<BackfillMinutes> {
        let (own, config) = (&self.kept.feeds[feed], &self.limits.config);
        if self.backfill_refused_until.is_some_and(|until| now < until) {
            return None;
        }
        let most = BackfillMinutes::new(config.backfill_minutes_max)?;
        if own.assured_from().is_none() && own.gaps.iter().any(|gap| !gap.announced) {
            return Some(BackfillMinutes::new(config.initial_backfill_minutes)?.min(most));
        }
        // Posts that an open connection has not delivered yet may never arrive on it.
        let from = match own.assured_from() {
            Some(_) if own.connections.get(&connection).is_some_and(|own| own.slow) => return None,
            Some(_) => own.undelivered_from(&self.limits),
            None => own.gaps.iter().filter(|gap| gap.trusted).map(|gap| gap.gap.window.from).min()?,
        };
        Some(BackfillMinutes::covering(now.since(from).saturating_add(uncertainty)).min(most))
    }

    /// Records that X refused a request with backfill, and accepted the same request without.
    pub(super) fn backfill_refused(&mut self, now: UnixMillis) {
        self.backfill_refused_until = Some(now.plus(self.limits.config.backfill_retry_after));
    }

    /// Records arrived data; `created` are the creation times of its posts.
    pub(super) fn record_activity(
        &mut self,
        feed: usize,
        connection: usize,
        receive_time: impl Into<ReceiveTime>,
        created: &[UnixMillis],
    ) {
        let receive_time = receive_time.into();
        self.time = self.time.max(receive_time.stamp);
        self.kept.feeds[feed].record_data(connection, receive_time, created);
    }

    /// Returns how long before `received` the first time lies that some feed has not delivered and that is in no gap.
    pub(super) fn late(&self, received: UnixMillis) -> Duration {
        let first = |feed: &Feed| {
            let undelivered = feed.assured_from().map(|_| feed.undelivered_from(&self.limits));
            // The first backfill of a log is in progress, or the missing time of the feed is announced soon.
            let promised = feed.gaps.iter().filter(|own| !own.announced).map(|own| own.promised);
            promised.chain(undelivered).min()
        };
        let first = self.kept.feeds.iter().filter_map(first).min();
        first.map_or(Duration::ZERO, |first| received.since(first))
    }

    /// Records a stall of a connection's reader.
    pub(super) fn stopped(&mut self, feed: usize, connection: usize, stopped: Duration) {
        if let Some(own) = self.kept.feeds[feed].connections.get_mut(&connection) {
            own.stop(stopped);
        }
    }

    /// While the backfill of this connection is in progress: posts created before this time belong to it.
    pub(super) fn backfill_before(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        self.kept.feeds[feed].backfill(connection).map(|backfill| backfill.began)
    }

    pub(super) fn log(&mut self, gap: Gap) {
        self.changes.push(gap);
    }
}
