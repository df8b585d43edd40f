//! The first byte of a connection, which divides the open gap of its feed.

use std::time::Duration;

use super::backfill::BackfillState;
use super::connection::ConnectionProgress;
use super::feed::{FeedGap, GapBackfill};
use super::state_machine::{GapStateMachine, START_GRACE, StreamResponse};
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapCause, GapEvidence, GapState, TimeInterval, TimeRange, TimeRangeSet, UnixMillis};
use crate::xapi::BackfillMinutes;

/// A first byte this soon after the start does not end an outage.
const START_MIN: Duration = Duration::from_secs(1);

impl GapStateMachine {
    /// Records the first byte of a connection.
    pub(super) fn first_byte(&mut self, feed: usize, connection: usize, answer: StreamResponse, now: UnixMillis) {
        self.time = self.time.max(now);
        let (allowed_lateness, patience, began) =
            (self.limits.allowed_lateness, self.limits.patience(), self.has_begun());
        let account_rate = self.rate();
        let own = &mut self.kept.feeds[feed];
        let rate = if own.rate.is_known() { own.rate.per_second() } else { account_rate };
        let was_up = own.assured_from().is_some();
        let to = now.plus(allowed_lateness);
        let mut new = ConnectionProgress::new(now, allowed_lateness, own.lag_of(connection), rate);
        let margin = new.margin(&self.limits);
        let minutes = |minutes: BackfillMinutes| Duration::from_secs(60 * u64::from(minutes.get()));
        // X uses its own clock: if that is ahead, the backfill may begin as much later.
        let back_to = answer.backfill.map(|asked| answer.at.minus(minutes(asked)).plus(answer.uncertainty));
        new.backfill = back_to.map(|from| BackfillState::new((now, to), from, margin, rate, patience));
        own.connections.insert(connection, new);
        own.began = true;
        if !began {
            self.announce_at = Some(now.plus(START_GRACE));
        }
        if was_up {
            return;
        }
        let own = &mut self.kept.feeds[feed];
        own.rate.resume(now);
        own.delivered = TimeRangeSet::default();
        own.settled_to = to;
        for gap in std::mem::take(&mut own.gaps) {
            if !gap.announced {
                self.record_initial_gap(feed, connection, gap, back_to, now);
                continue;
            }
            let whole = TimeRange::new(gap.gap.window.from.min(now), gap.gap.window.to.unwrap_or(to));
            self.divide_gap(feed, connection, gap, whole, back_to, now);
        }
    }

    /// Divides a gap into the part older than the recovery window, the part left to recovery, and the part that the
    /// backfill of this connection is expected to deliver.
    fn divide_gap(
        &mut self,
        feed: usize,
        connection: usize,
        mut own: FeedGap,
        whole: TimeRange,
        back_to: Option<UnixMillis>,
        now: UnixMillis,
    ) {
        let back_to = back_to.filter(|_| own.trusted);
        let backfill_from = back_to.map_or(whole.to, |from| from.clamp(whole.from, whole.to));
        let kept = now.minus(self.limits.recovery_window).clamp(whole.from, backfill_from);
        let (origin, mut ids, first) = (own.gap.clone(), Some(own.gap.id), self.changes.len());
        let lost = TimeRange::new(whole.from, kept);
        if !lost.is_empty() {
            self.kept.scale.lose(lost);
            let gap = self.split_gap(&origin, &mut ids, lost, GapState::Unrecoverable);
            self.log(Gap { evidence: GapEvidence::WindowPassed, ..gap });
        }
        let recovered = TimeRange::new(kept, backfill_from);
        if !recovered.is_empty() {
            let gap = self.split_gap(&origin, &mut ids, recovered, GapState::Recovering);
            self.start_recovery(gap, recovered, own.rate);
        }
        let backfilled = TimeRange::new(backfill_from, whole.to);
        if !backfilled.is_empty() {
            own.gap = self.split_gap(&origin, &mut ids, backfilled, GapState::Detected);
            self.log(own.gap.clone());
            own.backfill = self.gap_backfill(feed, connection, backfilled);
            self.kept.feeds[feed].gaps.push(own);
        }
        self.log_whole_last(first);
    }

    pub(super) fn gap_backfill(&self, feed: usize, connection: usize, span: TimeRange) -> Option<GapBackfill> {
        let own = self.kept.feeds[feed].connection(connection)?;
        let (began, margin) = (own.backfill.as_ref()?.began, own.margin(&self.limits));
        let core = TimeRange::new(span.from.plus(margin), began.minus(margin).min(span.to));
        Some(GapBackfill { connection, core })
    }

    /// Records the start of a new log. The time before it is no gap of the log, but may be backfilled for sessions with
    /// an older token. The time between the start and the first byte is announced, as far as the backfill does not
    /// reach it.
    fn record_initial_gap(
        &mut self,
        feed: usize,
        connection: usize,
        mut own: FeedGap,
        back_to: Option<UnixMillis>,
        now: UnixMillis,
    ) {
        let to = now.plus(self.limits.allowed_lateness);
        self.kept.feeds[feed].origin = Some(back_to.map_or(Completeness::From(now), Completeness::Pending));
        own.promised = own.promised.min(own.gap.window.from).min(now);
        self.announce_promised(&own, now, back_to.unwrap_or(to));
        if let Some(from) = back_to {
            own.gap.window = TimeInterval { from, to: Some(to) };
            own.backfill = self.gap_backfill(feed, connection, TimeRange::new(from, to));
            self.kept.feeds[feed].gaps.push(own);
        }
    }

    /// Announces the promised time of a new log before its first byte, up to `to`, and leaves it to recovery.
    pub(super) fn announce_promised(&mut self, own: &FeedGap, began: UnixMillis, to: UnixMillis) {
        let late = began.since(own.promised) >= START_MIN;
        if late && own.promised < to {
            let gap = self.new_gap(TimeInterval { from: own.promised, to: Some(to) }, GapCause::Disconnected);
            self.start_recovery(Gap { state: GapState::Recovering, ..gap }, TimeRange::new(own.promised, to), 0.0);
        }
    }
}
