//! The end of a connection or of its backfill: new gaps, closed gaps, and gaps left to recovery.

use super::feed::FeedGap;
use super::state_machine::GapStateMachine;
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapCause, GapEvidence, GapState, TimeInterval, TimeRange, TimeRangeSet, UnixMillis};

impl GapStateMachine {
    /// Records the end of a connection.
    pub(super) fn on_disconnect(&mut self, feed: usize, connection: usize, cause: GapCause) {
        let limits = self.limits.clone();
        if self.kept.feeds[feed].connection(connection).is_some() && self.announce_at.take().is_some() {
            // The connection that would announce them later may not exist any more.
            self.announce_not_begun();
        }
        let own = &mut self.kept.feeds[feed];
        // A connection that delivered nothing changes nothing.
        let Some(ended) = own.connections.get_mut(&connection).filter(|own| own.up) else { return };
        ended.slow = cause == GapCause::SlowReader;
        own.end(connection, &limits);
        match own.assured_from() {
            Some(assured) => {
                self.fall_back_to_recovery(feed, connection);
                self.close_over(feed, assured, cause);
                self.kept.feeds[feed].forget_delivered_twice(&limits);
            }
            None => {
                // The time before a new log is no gap of the log, but an outage from now on is.
                if own.gaps.iter().any(|gap| !gap.announced) {
                    self.fall_back_to_recovery(feed, connection);
                }
                self.open(feed, cause);
            }
        }
    }

    /// Opens a gap without an end for the time that no connection of a feed has delivered; none is up. A gap that is
    /// not closed passes on its start: the delivered part of it is unknown.
    pub(super) fn open(&mut self, feed: usize, cause: GapCause) {
        let own = &mut self.kept.feeds[feed];
        let trusted = !own.connections.values().any(|own| own.slow);
        let mut pieces: Vec<TimeRange> = own.undelivered(UnixMillis(i64::MAX)).iter().collect();
        let Some(TimeRange { from: tail, .. }) = pieces.pop() else { return };
        let first = pieces.first().map_or(tail, |first| first.from);
        own.delivered = TimeRangeSet::default();
        own.settled_to = tail;
        for gap in &mut own.gaps {
            gap.backfill = None;
            gap.trusted &= trusted;
        }
        if let Some(gap) = own.gaps.iter_mut().rfind(|gap| gap.announced) {
            gap.gap.window = TimeInterval { from: gap.gap.window.from.min(first), to: None };
            gap.gap.state = GapState::Detected;
            if cause == GapCause::JournalCorrupt {
                gap.gap.cause = cause;
            }
            let gap = gap.gap.clone();
            self.log(gap);
            return;
        }
        let closed = pieces.iter().map(|span| TimeInterval { from: span.from, to: Some(span.to) });
        for window in closed.chain([TimeInterval { from: tail, to: None }]) {
            let gap = self.new_gap(window, cause);
            self.push(feed, gap, trusted);
        }
    }

    /// Records gaps after a connection ended while others are up: the time that it was expected to deliver and that the
    /// others cannot deliver.
    fn close_over(&mut self, feed: usize, assured: UnixMillis, cause: GapCause) {
        let own = &mut self.kept.feeds[feed];
        let mut missing = own.undelivered(assured);
        own.settle_to(assured);
        // The time inside an existing gap is closed with that gap.
        own.gaps.iter().filter(|own| own.announced).for_each(|own| missing.remove(own.span(assured)));
        for span in missing.iter() {
            let asked =
                self.kept.feeds[feed].up().filter_map(|(number, own)| Some((number, own.backfill.as_ref()?.from)));
            let asked = asked.min_by_key(|(_, from)| *from);
            let backfill_from = asked.map_or(span.to, |(_, from)| from.clamp(span.from, span.to));
            let recovered = TimeRange::new(span.from, backfill_from);
            if !recovered.is_empty() {
                let gap = self.new_gap(TimeInterval { from: span.from, to: Some(backfill_from) }, cause);
                let rate = self.rate();
                self.start_recovery(Gap { state: GapState::Recovering, ..gap }, recovered, rate);
            }
            let backfilled = TimeRange::new(backfill_from, span.to);
            if let Some((number, _)) = asked.filter(|_| !backfilled.is_empty()) {
                let gap = self.new_gap(TimeInterval { from: backfill_from, to: Some(span.to) }, cause);
                self.push(feed, gap, true);
                let backfill = self.gap_backfill(feed, number, backfilled);
                if let Some(own) = self.kept.feeds[feed].gaps.last_mut() {
                    own.backfill = backfill;
                }
            }
        }
    }

    /// Announces a gap that a backfill may close.
    pub(super) fn push(&mut self, feed: usize, gap: Gap, trusted: bool) {
        self.log(gap.clone());
        let (promised, rate) = (gap.window.from, self.rate());
        self.kept.feeds[feed].gaps.push(FeedGap::announced(gap, promised, trusted, rate));
    }

    /// Closes the gaps whose backfill on this connection is quiet, and announces the gaps of feeds that have not begun.
    pub(super) fn tick(&mut self, feed: usize, connection: usize, now: UnixMillis) {
        self.time = self.time.max(now);
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            self.announce_not_begun();
        }
        match self.outcome(feed, connection, now) {
            None => {}
            Some(false) => self.fall_back_to_recovery(feed, connection),
            Some(true) => self.believe(feed, connection, now),
        }
    }

    /// Returns whether the backfill of a connection is complete and plausible; `None` while it is in progress.
    fn outcome(&self, feed: usize, connection: usize, now: UnixMillis) -> Option<bool> {
        let own = &self.kept.feeds[feed];
        let (backfill, last_byte) = (own.backfill(connection)?, own.connection(connection)?.last_byte);
        let patience = self.limits.patience();
        let plausible = backfill.outcome(now, last_byte, patience)?;
        let mut closing = own.gaps.iter().filter_map(|gap| gap.backfill).filter(|own| own.connection == connection);
        Some(plausible && closing.all(|own| backfill.is_plausible(own.core, patience)))
    }

    fn believe(&mut self, feed: usize, connection: usize, now: UnixMillis) {
        let own = &mut self.kept.feeds[feed];
        let Some(ended) = own.connections.get_mut(&connection) else { return };
        let Some(backfill) = ended.backfill.take() else { return };
        // The rate before a new log is unknown: an empty backfill may have been ignored by X.
        let believed = backfill.has_old_post() || own.gaps.iter().all(|gap| gap.announced);
        if believed {
            ended.believe(backfill.from, now);
        }
        let (closed, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut own.gaps).into_iter().partition(|gap| gap.is_backfilled_by(connection));
        own.gaps = others;
        for own in closed {
            if own.announced {
                let span = own.span(backfill.began);
                let evidence =
                    if backfill.has_any(span) { GapEvidence::BackfillQuiet } else { GapEvidence::NothingDue };
                self.log(Gap { state: GapState::Backfilled, evidence, progress: own.gap.window.to, ..own.gap });
            } else if believed {
                self.kept.feeds[feed].origin = Some(Completeness::From(own.gap.window.from));
                self.demands += 1;
            } else {
                self.leave_to_recovery(feed, own);
            }
        }
    }

    /// Returns when [`GapStateMachine::tick`] has work to do.
    pub(super) fn next_deadline(&self, feed: usize, connection: usize) -> Option<UnixMillis> {
        let own = self.kept.feeds[feed].connection(connection);
        let due =
            own.and_then(|own| Some(own.backfill.as_ref()?.expected_posts(own.last_byte, self.limits.patience())));
        due.into_iter().chain(self.announce_at).min()
    }

    /// Leaves the gaps that the backfill of this connection did not close to recovery.
    pub(super) fn fall_back_to_recovery(&mut self, feed: usize, connection: usize) {
        let own = &mut self.kept.feeds[feed];
        if let Some(own) = own.connections.get_mut(&connection) {
            own.backfill = None;
        }
        let (left, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut own.gaps).into_iter().partition(|gap| gap.is_backfilled_by(connection));
        own.gaps = others;
        left.into_iter().for_each(|gap| self.leave_to_recovery(feed, gap));
    }

    /// Leaves a gap with an end to recovery.
    pub(super) fn leave_to_recovery(&mut self, feed: usize, own: FeedGap) {
        let TimeInterval { from, to: Some(to) } = own.gap.window else {
            self.kept.feeds[feed].gaps.push(own);
            return;
        };
        if own.announced {
            self.start_recovery(Gap { state: GapState::Recovering, ..own.gap }, TimeRange::new(from, to), own.rate);
        } else {
            self.kept.feeds[feed].origin = Some(Completeness::From(to));
            self.demands += 1;
            let promised = own.promised.max(from);
            self.announce_promised(&FeedGap { promised, ..own }, to.minus(self.limits.allowed_lateness), to);
        }
    }
}
