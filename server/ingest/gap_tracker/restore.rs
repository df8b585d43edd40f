//! The start: merges the checkpoint with the log, and opens the gap for the time in which the gateway was not running.

use std::time::Duration;

use super::feed::{Feed, FeedGap};
use super::inherit::later;
use super::limits::TrackerLimits;
use super::recovering_gap::RecoveringGap;
use super::state_machine::GapStateMachine;
use crate::hub::side_log::Completeness;
use crate::ingest::restore::LogTimes;
use crate::model::{Gap, GapCause, GapId, GapState, TimeInterval, TimeRange, TimeRangeSet, UnixMillis};

/// Input of [`GapStateMachine::restore`].
#[derive(Clone, Debug)]
pub(super) struct RestoreInput<'a> {
    /// Gaps in their last logged state.
    pub(super) logged: Vec<Gap>,
    /// When the records were received, for a log without a usable checkpoint.
    pub(super) received: LogTimes,
    /// When the newest record was received, if the log has lost records since the checkpoint.
    pub(super) lost_after: Option<UnixMillis>,
    /// The names of the feeds.
    pub(super) feeds: &'a [String],
    /// Current time.
    pub(super) now: UnixMillis,
}

impl FeedGap {
    /// Returns the time from which on sessions rely on a log that has not begun: its start and the first backfill, less
    /// the overlap with their private gaps.
    fn relied_on(&self, limits: &TrackerLimits) -> UnixMillis {
        let backfill = Duration::from_secs(60 * u64::from(limits.config.initial_backfill_minutes));
        self.promised.min(self.gap.window.from.minus(backfill.saturating_sub(limits.allowed_lateness)))
    }
}

impl GapStateMachine {
    /// True if any feed of the log has delivered anything.
    pub(super) fn has_begun(&self) -> bool {
        self.kept.feeds.iter().any(|feed| feed.began)
    }

    /// Returns the time from which on sessions rely on a log that has not begun; `None` once it has.
    pub(super) fn promised_from(&self) -> Option<UnixMillis> {
        let waiting = self.kept.feeds.iter().flat_map(|feed| &feed.gaps).filter(|gap| !gap.announced);
        waiting.map(|gap| gap.promised).min().filter(|_| !self.has_begun())
    }

    /// Returns the start from which the log is complete; `None` before the first byte.
    pub(super) fn origin(&self) -> Option<Completeness> {
        self.kept.feeds.iter().fold(None, |origin, feed| later(origin, feed.origin))
    }

    /// Restores gaps and feeds.
    pub(super) fn restore(&mut self, start: RestoreInput<'_>) {
        let RestoreInput { logged, received, lost_after, feeds: names, now } = start;
        let limits = self.limits.clone();
        self.time = now;
        let mut former = std::mem::take(&mut self.kept.feeds);
        former.iter_mut().for_each(|feed| feed.end_all(&limits, now));
        // With a checkpoint, only a post shows that the log has begun.
        let newest = received.post.or(received.oldest.filter(|_| former.is_empty()));
        let mut missing = TimeRangeSet::default();
        if let Some(newest) = newest.filter(|_| !former.iter().any(|feed| feed.began)) {
            if former.is_empty() {
                // A log without a checkpoint.
                former.push(Feed::new("", newest.min(now).minus(limits.allowed_lateness)));
            }
            // The log began, and the process ended before the next checkpoint: the state of its first backfill is
            // unknown, and sessions rely on it. The time after it is a gap of the feed in any case.
            for feed in &mut former {
                feed.began = true;
                let promised = feed.gaps.extract_if(.., |own| !own.announced).map(|own| own.relied_on(&limits));
                let spans =
                    promised.filter(|from| *from < feed.settled_to).map(|from| TimeRange::new(from, feed.settled_to));
                spans.for_each(|span| missing.insert(span));
            }
            let closed = logged.iter().filter_map(|gap| Some(TimeRange::new(gap.window.from, gap.window.to?)));
            closed.for_each(|span| missing.remove(span));
        }
        if let Some(time) = lost_after {
            former.iter_mut().for_each(|feed| feed.lose_after(time, &limits));
            for span in self.kept.tail.missing_after(time, limits.lag_max(), now.minus(limits.recovery_window)).iter() {
                let gap = self.new_gap(TimeInterval { from: span.from, to: Some(span.to) }, GapCause::JournalCorrupt);
                self.start_recovery(Gap { state: GapState::Recovering, ..gap }, span, 0.0);
            }
        }
        // Before a feed has begun, no gap is announced.
        let begun = former.iter().any(|feed| feed.began) || !logged.is_empty();
        let unknown = self.restore_logged(logged, &mut former, lost_after.is_some(), now);
        for span in missing.iter() {
            let gap = self.new_gap(TimeInterval { from: span.from, to: Some(span.to) }, GapCause::GatewayDown);
            self.start_recovery(Gap { state: GapState::Recovering, ..gap }, span, 0.0);
        }
        let has_removed = self.inherit(former, names, now);
        for gap in unknown {
            if has_removed { self.leave_unknown(gap, now) } else { self.adopt(gap) }
        }
        let cause = if lost_after.is_some() { GapCause::JournalCorrupt } else { GapCause::GatewayDown };
        for feed in 0..self.kept.feeds.len() {
            self.restore_feed(feed, cause, begun, now);
        }
        self.finish_proven();
    }

    /// Restores logged gaps: the log is the source of truth for state and bounds. Returns gaps unknown to the
    /// checkpoint.
    fn restore_logged(&mut self, logged: Vec<Gap>, feeds: &mut [Feed], lost: bool, now: UnixMillis) -> Vec<Gap> {
        let mut unknown = Vec::new();
        self.kept.last_id = logged.iter().map(|gap| gap.id.0).fold(self.kept.last_id, u64::max);
        let ids: Vec<GapId> = logged.iter().map(|gap| gap.id).collect();
        for gap in logged {
            let id = gap.id;
            let forget =
                |feeds: &mut [Feed]| feeds.iter_mut().for_each(|feed| feed.gaps.retain(|own| own.gap.id != id));
            let known = self.kept.healing.get(&id);
            if let Some(to) = gap.window.to.filter(|_| !lost || gap.state.is_final()) {
                feeds.iter_mut().for_each(|feed| feed.note_end(id, to));
            }
            match (gap.state, gap.window.to) {
                (state, _) if state.is_final() => {
                    self.kept.healing.remove(&id);
                    forget(feeds);
                }
                // The posts that closed a part of it may be lost with the tail: the whole gap is missing again.
                (_, to) if lost => {
                    // The log may have lost the record that widened it.
                    let own = feeds.iter().flat_map(|feed| &feed.gaps).filter(|own| own.gap.id == id);
                    let windows = own.map(|own| own.gap.window).chain(known.map(|known| known.gap.window));
                    let windows: Vec<TimeInterval> = windows.chain([TimeInterval { to, ..gap.window }]).collect();
                    let from = windows.iter().map(|window| window.from).min().unwrap_or(gap.window.from);
                    let to = windows.iter().map(|window| window.to.unwrap_or(now)).max().unwrap_or(now);
                    let span = TimeRange::new(from, to.max(from));
                    feeds.iter_mut().for_each(|feed| feed.note_end(id, span.to));
                    forget(feeds);
                    let (rate, demanded) = known.map_or((0.0, self.demands), |known| (known.rate, known.demanded));
                    let window = TimeInterval { from: span.from, to: Some(span.to) };
                    let gap = Gap { window, state: GapState::Recovering, progress: None, ..gap };
                    self.log(gap.clone());
                    self.kept
                        .healing
                        .insert(id, RecoveringGap { gap, missing: [span].into_iter().collect(), rate, demanded });
                }
                (GapState::Recovering, Some(to)) => {
                    forget(feeds);
                    let span = TimeRange::new(gap.window.from, to);
                    let (rate, demanded) = known.map_or((0.0, self.demands), |known| (known.rate, known.demanded));
                    let missing = known.map(|known| known.missing.within(span));
                    let missing = missing.unwrap_or_else(|| [span].into_iter().collect());
                    // That of the parts that are not missing any more.
                    let evidence = known.map_or(gap.evidence, |known| known.gap.evidence);
                    let gap = Gap { evidence, ..gap };
                    self.kept.healing.insert(id, RecoveringGap { gap, missing, rate, demanded });
                }
                _ if known.is_some() => {
                    let gap = known.map_or(gap, |known| known.gap.clone());
                    self.log(gap);
                }
                _ if feeds.iter().any(|feed| feed.gaps.iter().any(|own| own.gap.id == id)) => {
                    let own = feeds.iter().flat_map(|feed| &feed.gaps).find(|own| own.gap.id == id);
                    // The log was ahead of the checkpoint: the connection ended with the process, and the gap is open
                    // again.
                    if let Some(own) = own.filter(|own| own.gap.window != gap.window) {
                        self.log(own.gap.clone());
                    }
                }
                // The gap was opened, and the process ended before the next checkpoint.
                _ => unknown.push(gap),
            }
        }
        // Gaps of the checkpoint that the process did not log before it ended.
        let healing = self.kept.healing.values().map(|healing| &healing.gap);
        let waiting = feeds.iter().flat_map(|feed| &feed.gaps).filter(|own| own.announced).map(|own| &own.gap);
        let unlogged: Vec<Gap> = healing.chain(waiting).filter(|gap| !ids.contains(&gap.id)).cloned().collect();
        unlogged.into_iter().for_each(|gap| self.log(gap));
        unknown
    }

    /// Leaves a gap to recovery that may be that of a removed feed: no connection delivers its time any more.
    fn leave_unknown(&mut self, gap: Gap, now: UnixMillis) {
        let from = gap.window.from;
        let span = TimeRange::new(from, gap.window.to.unwrap_or(now).max(from));
        let window = TimeInterval { from, to: Some(span.to) };
        let rate = self.rate();
        self.start_recovery(Gap { window, state: GapState::Recovering, ..gap }, span, rate);
    }

    /// Assigns a gap to its most likely feed: the one whose progress ends where the gap begins. If that is wrong, the
    /// right feed misses the same time by its own progress.
    fn adopt(&mut self, gap: Gap) {
        let distance = |feed: &Feed| {
            let tail = feed.undelivered(UnixMillis(i64::MAX)).last().map_or(feed.settled_to, |tail| tail.from);
            (feed.gaps.iter().any(|own| own.announced), tail.0.abs_diff(gap.window.from.0))
        };
        let trusted = gap.cause != GapCause::SlowReader;
        let (promised, rate) = (gap.window.from, self.rate());
        // The connection that was expected to close it ended with the process.
        let reopened = TimeInterval { to: None, ..gap.window };
        if reopened != gap.window {
            self.log(Gap { window: reopened, ..gap.clone() });
        }
        let gap = Gap { window: reopened, ..gap };
        if let Some(feed) = self.kept.feeds.iter_mut().min_by_key(|feed| distance(feed)) {
            feed.gaps.push(FeedGap::announced(gap, promised, trusted, rate));
        }
    }

    fn restore_feed(&mut self, feed: usize, cause: GapCause, begun: bool, now: UnixMillis) {
        let has_begun = self.has_begun();
        let own = &mut self.kept.feeds[feed];
        if own.began {
            // The first backfill of the log was interrupted.
            let (before, gaps): (Vec<_>, Vec<_>) =
                std::mem::take(&mut own.gaps).into_iter().partition(|gap| !gap.announced);
            own.gaps = gaps;
            before.into_iter().for_each(|gap| self.leave_to_recovery(feed, gap));
            self.open(feed, cause);
            return;
        }
        if own.gaps.is_empty() {
            let window = TimeInterval { from: now, to: None };
            let gap = Self::gap(GapId(0), window, GapCause::GatewayDown);
            own.settled_to = now;
            own.gaps.push(FeedGap {
                gap,
                announced: false,
                promised: now,
                promised_now: true,
                trusted: true,
                rate: 0.0,
                backfill: None,
            });
            if begun {
                self.announce_at = Some(now.plus(super::state_machine::START_GRACE));
            }
        } else if begun {
            // The log contains gaps, and no feed is known to have delivered anything.
            for gap in own.gaps.iter_mut().filter(|gap| !gap.announced && !has_begun) {
                gap.gap.window.from = gap.relied_on(&self.limits);
            }
            self.announce_feed(feed);
        } else {
            // The log is still new, but sessions of the previous process rely on its promised time.
            for gap in own.gaps.iter_mut().filter(|gap| !gap.announced) {
                gap.promised = gap.relied_on(&self.limits);
                gap.gap.window.from = now;
            }
            own.settled_to = now;
        }
    }

    /// Announces the missing time of feeds that have not begun, once another feed of the log has.
    pub(super) fn announce_not_begun(&mut self) {
        for feed in 0..self.kept.feeds.len() {
            if !self.kept.feeds[feed].began {
                self.announce_feed(feed);
            }
        }
    }

    fn announce_feed(&mut self, feed: usize) {
        let id = self.next_id();
        let own = &mut self.kept.feeds[feed];
        let Some(gap) = own.gaps.iter_mut().find(|gap| !gap.announced) else { return };
        (gap.announced, gap.gap.id, gap.gap.cause) = (true, id, GapCause::Disconnected);
        // Sessions of an earlier process rely on its promise.
        gap.gap.window.from = gap.gap.window.from.min(gap.promised);
        own.origin = Some(Completeness::From(gap.gap.window.from));
        let gap = gap.gap.clone();
        self.log(gap);
    }
}
