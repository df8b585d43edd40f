//! Corrections of upstream time: times stamped by a wrong clock are shifted.
//!
//! A `Date` that differs widely is accepted once a second response confirms it, and may be reverted later. Times that
//! the state machine stamped in between are then shifted. If it is unknown which of two times is right, both are kept:
//! a gap that is too wide costs a request, a missing gap costs posts.

use std::time::Duration;

use super::correction_log::CorrectionLog;
use super::state_machine::GapStateMachine;
use crate::model::{Gap, GapCause, GapId, GapState, TimeInterval, TimeRange, TimeRangeSet, UnixMillis};

impl GapStateMachine {
    /// Records that the clock was ahead by this much, and every time stamped with it; `now` is right. Missing time may
    /// begin as much earlier.
    pub(super) fn on_clock_moved_back(&mut self, by: Duration, now: UnixMillis) {
        let latest = now.plus(self.limits.allowed_lateness);
        let back = |time: UnixMillis| if time > latest { time.minus(by).min(latest) } else { time };
        self.time = self.time.min(latest);
        self.kept.tail.on_clock_moved_back(latest);
        for feed in &mut self.kept.feeds {
            feed.settled_to = back(feed.settled_to);
            feed.origin = feed.origin.map(|origin| origin.map(back));
            feed.delivered = feed.delivered.iter().map(|own| TimeRange::new(own.from, back(own.to))).collect();
            for own in feed.connections.values_mut() {
                own.last_byte = own.last_byte.minus(by);
                own.complete_from = back(own.complete_from);
            }
            for gap in feed.gaps.iter_mut().filter(|gap| gap.gap.window.to.is_none()) {
                gap.gap.window.from = gap.gap.window.from.minus(by);
                gap.promised = gap.promised.minus(by);
            }
        }
        self.set_healing_back(by, latest);
    }

    /// Records that the clock was behind by this much, or that so much time passed uncounted by any clock of the host
    /// (a paused machine). The start of missing time is unchanged. A log that has not begun starts at the right time;
    /// otherwise it would miss the hours between the two.
    pub(super) fn on_clock_moved_forward(&mut self, by: Duration, now: UnixMillis) {
        for feed in self.kept.feeds.iter_mut().filter(|feed| !feed.began) {
            for gap in feed.gaps.iter_mut().filter(|gap| !gap.announced) {
                gap.gap.window.from = gap.gap.window.from.plus(by);
                if gap.promised_now {
                    gap.promised = gap.promised.plus(by);
                }
                feed.settled_to = gap.gap.window.from;
            }
        }
        self.set_healing_ahead(by, now);
    }

    /// Shifts gaps left to recovery by a clock that was ahead, and reopens time that it considered too old.
    fn set_healing_back(&mut self, by: Duration, latest: UnixMillis) {
        let CorrectionLog { since, began, lost } = std::mem::take(&mut self.kept.scale);
        // Times before the clock was set forward are not affected.
        let earliest = began.unwrap_or(UnixMillis(i64::MIN / 2)).minus(self.limits.lag_max());
        let noted = |gap: &Gap| gap.id.0 > since && gap.window.to.is_none_or(|to| to > latest);
        let wrong: Vec<GapId> =
            self.kept.healing.values().map(|own| &own.gap).filter(|gap| noted(gap)).map(|gap| gap.id).collect();
        for id in wrong {
            let Some(own) = self.kept.healing.remove(&id) else { continue };
            let span = own.span();
            let from = if span.from > latest { span.from.minus(by).max(earliest) } else { span.from };
            let to = span.to.minus(by).min(latest).max(from.plus(Duration::from_secs(1)));
            let gap = Gap { window: TimeInterval { from, to: Some(to) }, progress: None, ..own.gap };
            self.start_recovery(gap, TimeRange::new(from, to), own.rate);
        }
        let passed = TimeRange::new(latest.minus(self.limits.recovery_window), latest);
        for span in lost.within(passed).iter() {
            let gap = self.new_gap(TimeInterval { from: span.from, to: Some(span.to) }, GapCause::Disconnected);
            let rate = self.rate();
            self.start_recovery(Gap { state: GapState::Recovering, ..gap }, span, rate);
        }
        self.kept.scale = CorrectionLog { since: self.kept.last_id, ..CorrectionLog::default() };
    }

    /// Requests gaps left to recovery by a clock that was behind at both times: as stamped, and shifted, because the
    /// host may have been paused for so long.
    fn set_healing_ahead(&mut self, by: Duration, now: UnixMillis) {
        let since = std::mem::replace(
            &mut self.kept.scale,
            CorrectionLog { since: self.kept.last_id, began: Some(now.minus(by)), lost: TimeRangeSet::default() },
        )
        .since;
        let latest = now.plus(self.limits.allowed_lateness);
        let noted: Vec<(Gap, f64)> = self
            .kept
            .healing
            .values()
            .filter(|own| own.gap.id.0 > since)
            .map(|own| (own.gap.clone(), own.rate))
            .collect();
        for (gap, rate) in noted {
            let later = |time: UnixMillis| time.plus(by).min(latest);
            let span = TimeRange::new(later(gap.window.from), later(gap.window.to.unwrap_or(latest)));
            if !span.is_empty() {
                let gap = self.new_gap(TimeInterval { from: span.from, to: Some(span.to) }, gap.cause);
                self.start_recovery(Gap { state: GapState::Recovering, ..gap }, span, rate);
            }
        }
    }
}
