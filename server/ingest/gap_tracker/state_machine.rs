//! What is missing and what becomes of it, as a state machine without clock, lock or disk.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::Heard;
use super::correction_log::CorrectionLog;
use super::feed::Feed;
use super::limits::TrackerLimits;
use super::recovering_gap::RecoveringGap;
use super::tail::LostTail;
use crate::hub::side_log;
use crate::model::{Gap, GapId, Sequence, UnixMillis};
use crate::xapi::BackfillMinutes;

/// A feed of a new log may begin so much later than the first one before what it lacks is announced: less than the slack, so
/// that no low watermark has passed the start by then.
pub(super) const START_GRACE: Duration = Duration::from_secs(10);

/// The open gaps of an account.
#[derive(Clone, Debug)]
pub(super) struct GapStateMachine {
    pub(super) limits: TrackerLimits,
    pub(super) kept: PersistedState,
    /// Changes that wait to be logged, in order.
    pub(super) changes: Vec<Gap>,
    /// What recovery has to do has changed so often.
    pub(super) demands: u64,
    backfill_refused_until: Option<UnixMillis>,
    /// The latest time that the state machine was told.
    pub(super) time: UnixMillis,
    /// What feeds lack that have not begun is announced then.
    pub(super) announce_at: Option<UnixMillis>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PersistedState {
    pub(super) last_id: u64,
    pub(super) feeds: Vec<Feed>,
    /// Gaps that recovery brings.
    pub(super) healing: BTreeMap<GapId, RecoveringGap>,
    /// Posts that were new, of the gaps that are open.
    pub(super) brought: BTreeMap<GapId, u64>,
    /// What becomes missing again if the log loses its tail, and no feed knows of.
    #[serde(default)]
    pub(super) tail: LostTail,
    /// How late the upstream was at most over the log.
    #[serde(default)]
    pub(super) late: Duration,
    /// What was noted since the clock was last corrected.
    #[serde(default)]
    pub(super) scale: CorrectionLog,
    /// What only some subscriptions lack.
    pub(super) side: side_log::SideLogSnapshot,
    /// How far X's clock was found to be ahead of the system's.
    pub(super) clock_offset_ms: i64,
    /// The log that this is about: its epoch.
    #[serde(default)]
    pub(super) epoch: String,
    /// The sequence that the next record of the log was to get; 0 if it is not known.
    #[serde(default)]
    pub(super) journal_next: Sequence,
}

/// What X answered to a request for the stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamResponse {
    /// X's time when it answered.
    pub at: UnixMillis,
    /// The backfill that was asked for.
    pub backfill: Option<BackfillMinutes>,
    /// How far `at` may be from X's time.
    pub uncertainty: Duration,
}

/// By what a post came that closes a part of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverySource {
    /// The backfill of this connection, by its number among all of the account.
    Backfill {
        /// The number.
        connection: usize,
    },
    /// A recovery job, which brings the posts of all feeds.
    Recovery,
}

impl PersistedState {
    /// Leaves out what connections delivered after the last append, which was of something that came at `appended`.
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

    /// The minutes of backfill to ask for; `None` if none would help. `uncertainty` is how far `now` may be from X's time.
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
        // What a connection that is up has not delivered yet may never come by it.
        let from = match own.assured_from() {
            Some(_) if own.connections.get(&connection).is_some_and(|own| own.slow) => return None,
            Some(_) => own.undelivered_from(&self.limits),
            None => own.gaps.iter().filter(|gap| gap.trusted).map(|gap| gap.gap.window.from).min()?,
        };
        Some(BackfillMinutes::covering(now.since(from).saturating_add(uncertainty)).min(most))
    }

    /// X refuses requests with backfill, and takes the same without.
    pub(super) fn backfill_refused(&mut self, now: UnixMillis) {
        self.backfill_refused_until = Some(now.plus(self.limits.config.backfill_retry_after));
    }

    /// Something came, with posts created at these times.
    pub(super) fn record_activity(
        &mut self,
        feed: usize,
        connection: usize,
        heard: impl Into<Heard>,
        created: &[UnixMillis],
    ) {
        let heard = heard.into();
        self.time = self.time.max(heard.stamp);
        self.kept.feeds[feed].heard(connection, heard, created);
    }

    /// How long before `received` the first time lies that some feed has not delivered and that is in no gap.
    pub(super) fn late(&self, received: UnixMillis) -> Duration {
        let first = |feed: &Feed| {
            let undelivered = feed.assured_from().map(|_| feed.undelivered_from(&self.limits));
            // The first backfill of a log is under way, or what the feed lacks is announced soon.
            let promised = feed.gaps.iter().filter(|own| !own.announced).map(|own| own.promised);
            promised.chain(undelivered).min()
        };
        let first = self.kept.feeds.iter().filter_map(first).min();
        first.map_or(Duration::ZERO, |first| received.since(first))
    }

    /// The reader of a connection was stopped for this long.
    pub(super) fn stopped(&mut self, feed: usize, connection: usize, stopped: Duration) {
        if let Some(own) = self.kept.feeds[feed].connections.get_mut(&connection) {
            own.stop(stopped);
        }
    }

    /// While this connection brings backfill: posts created before this came by it.
    pub(super) fn backfill_before(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        self.kept.feeds[feed].backfill(connection).map(|backfill| backfill.began)
    }

    pub(super) fn log(&mut self, gap: Gap) {
        self.changes.push(gap);
    }
}
