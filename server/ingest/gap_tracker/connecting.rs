//! The first byte of a connection: what its feed lacks falls apart.

use std::time::Duration;

use super::backfill::Backfill;
use super::connection::Connection;
use super::feed::{FeedGap, GapBackfill};
use super::state_machine::{Answer, Book, START_GRACE};
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapCause, GapEvidence, GapState, Span, Spans, UnixMillis, Window};
use crate::xapi::BackfillMinutes;

/// A first byte that comes so soon after the start ends no outage.
const START_MIN: Duration = Duration::from_secs(1);

impl Book {
    /// The first byte of a connection came.
    pub(super) fn first_byte(&mut self, feed: usize, connection: usize, answer: Answer, now: UnixMillis) {
        self.time = self.time.max(now);
        let (slack, patience, began) = (self.limits.slack, self.limits.patience(), self.has_begun());
        let account_rate = self.rate();
        let own = &mut self.kept.feeds[feed];
        let rate = if own.rate.is_known() { own.rate.per_second() } else { account_rate };
        let was_up = own.assured_from().is_some();
        let to = now.plus(slack);
        let mut new = Connection::new(now, slack, own.lag_of(connection), rate);
        let margin = new.margin(&self.limits);
        let minutes = |minutes: BackfillMinutes| Duration::from_secs(60 * u64::from(minutes.get()));
        // X reckons by its own clock: what it sends may begin as much later as that is ahead.
        let back_to = answer.backfill.map(|asked| answer.at.minus(minutes(asked)).plus(answer.uncertainty));
        new.backfill = back_to.map(|from| Backfill::new((now, to), from, margin, rate, patience));
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
        own.delivered = Spans::default();
        own.settled_to = to;
        for gap in std::mem::take(&mut own.gaps) {
            if !gap.announced {
                self.begin_log(feed, connection, gap, back_to, now);
                continue;
            }
            let whole = Span::new(gap.gap.window.from.min(now), gap.gap.window.to.unwrap_or(to));
            self.fall_apart(feed, connection, gap, whole, back_to, now);
        }
    }

    /// Divides a gap into what is older than X can be asked for, what is left to recovery, and what the backfill of this
    /// connection is to deliver.
    fn fall_apart(
        &mut self,
        feed: usize,
        connection: usize,
        mut own: FeedGap,
        whole: Span,
        back_to: Option<UnixMillis>,
        now: UnixMillis,
    ) {
        let back_to = back_to.filter(|_| own.trusted);
        let brought = back_to.map_or(whole.to, |from| from.clamp(whole.from, whole.to));
        let kept = now.minus(self.limits.recovery_window).clamp(whole.from, brought);
        let (origin, mut ids, first) = (own.gap.clone(), Some(own.gap.id), self.changes.len());
        let lost = Span::new(whole.from, kept);
        if !lost.is_empty() {
            self.kept.scale.lose(lost);
            let gap = self.piece(&origin, &mut ids, lost, GapState::Unrecoverable);
            self.log(Gap { evidence: GapEvidence::WindowPassed, ..gap });
        }
        let recovered = Span::new(kept, brought);
        if !recovered.is_empty() {
            let gap = self.piece(&origin, &mut ids, recovered, GapState::Recovering);
            self.heal(gap, recovered, own.rate);
        }
        let backfilled = Span::new(brought, whole.to);
        if !backfilled.is_empty() {
            own.gap = self.piece(&origin, &mut ids, backfilled, GapState::Detected);
            self.log(own.gap.clone());
            own.backfill = self.gap_backfill(feed, connection, backfilled);
            self.kept.feeds[feed].gaps.push(own);
        }
        self.log_whole_last(first);
    }

    pub(super) fn gap_backfill(&self, feed: usize, connection: usize, span: Span) -> Option<GapBackfill> {
        let own = self.kept.feeds[feed].connection(connection)?;
        let (began, margin) = (own.backfill.as_ref()?.began, own.margin(&self.limits));
        let core = Span::new(span.from.plus(margin), began.minus(margin).min(span.to));
        Some(GapBackfill { connection, core })
    }

    /// A new log begins: what lies before it is nobody's gap, but may be backfilled for those that come with an old token.
    /// What lies between the start and the first byte is announced, as far as the backfill does not reach.
    fn begin_log(
        &mut self,
        feed: usize,
        connection: usize,
        mut own: FeedGap,
        back_to: Option<UnixMillis>,
        now: UnixMillis,
    ) {
        let to = now.plus(self.limits.slack);
        self.kept.feeds[feed].origin = Some(back_to.map_or(Completeness::From(now), Completeness::Pending));
        own.promised = own.promised.min(own.gap.window.from).min(now);
        self.announce_promised(&own, now, back_to.unwrap_or(to));
        if let Some(from) = back_to {
            own.gap.window = Window { from, to: Some(to) };
            own.backfill = self.gap_backfill(feed, connection, Span::new(from, to));
            self.kept.feeds[feed].gaps.push(own);
        }
    }

    /// Announces what was missed of a new log before its first byte, up to `to`, and leaves it to recovery.
    pub(super) fn announce_promised(&mut self, own: &FeedGap, began: UnixMillis, to: UnixMillis) {
        let late = began.since(own.promised) >= START_MIN;
        if late && own.promised < to {
            let gap = self.new_gap(Window { from: own.promised, to: Some(to) }, GapCause::Disconnected);
            self.heal(Gap { state: GapState::Recovering, ..gap }, Span::new(own.promised, to), 0.0);
        }
    }
}
