//! What the upstream of an account did over the last 24 h, for operators.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::clock::Moment;

/// How far back the timeline reaches.
pub const TIMELINE_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// Maximum spans that are remembered: an upstream that changes more often has a shorter timeline.
const SPANS_MAX: usize = 1_000;
/// Time without a byte from which on a connected upstream counts as silent. X sends a heartbeat every 20 to 21.5 s.
const SILENCE_MIN: Duration = Duration::from_secs(25);

/// State of the upstream in one span of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamPhase {
    /// No connection.
    Down,
    /// Connected, and nothing arrives.
    Silent,
    /// Connected, and X sends posts again that were missed.
    Backfill,
    /// Connected.
    Connected,
}

/// A span of the timeline; it ends where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSpan {
    /// Begin.
    pub since: Moment,
    /// State.
    pub phase: UpstreamPhase,
}

/// The last spans of an upstream.
#[derive(Debug)]
pub(super) struct UpstreamTimeline {
    /// The oldest first; never empty.
    spans: VecDeque<TimelineSpan>,
    is_connected: bool,
    /// Connections that receive a backfill.
    backfills: BTreeSet<usize>,
    /// When the last byte arrived, or the connection was established.
    last_byte: Moment,
}

impl UpstreamTimeline {
    /// Creates the timeline of an upstream that is down.
    pub(super) fn new(now: Moment) -> Self {
        let spans = [TimelineSpan { since: now, phase: UpstreamPhase::Down }].into();
        Self { spans, is_connected: false, backfills: BTreeSet::new(), last_byte: now }
    }

    /// Records whether the upstream is connected.
    pub(super) fn set_connected(&mut self, is_connected: bool, now: Moment) {
        if self.is_connected != is_connected {
            self.record_silence(now);
            self.is_connected = is_connected;
            self.last_byte = now;
            self.record(now);
        }
    }

    /// Records whether a connection receives a backfill.
    pub(super) fn set_backfill(&mut self, connection: usize, receives: bool, now: Moment) {
        let is_changed = if receives { self.backfills.insert(connection) } else { self.backfills.remove(&connection) };
        if is_changed {
            self.record(now);
        }
    }

    /// Records that bytes arrived.
    pub(super) fn record_byte(&mut self, at: Moment) {
        self.record_silence(at);
        self.last_byte = self.last_byte.max(at);
        if self.spans.back().is_some_and(|last| last.phase == UpstreamPhase::Silent) {
            self.record(at);
        }
    }

    /// Returns the spans up to now, the oldest first. The first one began before the window, or with the record.
    pub(super) fn spans(&self, now: Moment) -> Vec<TimelineSpan> {
        let mut spans: Vec<TimelineSpan> = self.spans.iter().copied().collect();
        if let Some(silent) = self.silence(now) {
            spans.retain(|span| span.since < silent.since);
            spans.push(silent);
        }
        let first = spans.partition_point(|span| now.since(span.since) >= TIMELINE_WINDOW);
        spans.split_off(first.saturating_sub(1))
    }

    /// Returns the silence that lasts, if one does.
    fn silence(&self, now: Moment) -> Option<TimelineSpan> {
        let is_silent = self.is_connected && now.since(self.last_byte) >= SILENCE_MIN;
        is_silent.then_some(TimelineSpan { since: self.last_byte, phase: UpstreamPhase::Silent })
    }

    fn record_silence(&mut self, now: Moment) {
        if let Some(silent) = self.silence(now) {
            // A backfill that ended meanwhile ended in silence.
            self.spans.retain(|span| span.since < silent.since);
            self.push(silent);
        }
    }

    fn record(&mut self, now: Moment) {
        let phase = match (self.is_connected, self.backfills.is_empty()) {
            (false, _) => UpstreamPhase::Down,
            (true, false) => UpstreamPhase::Backfill,
            (true, true) => UpstreamPhase::Connected,
        };
        self.push(TimelineSpan { since: now, phase });
    }

    fn push(&mut self, span: TimelineSpan) {
        if self.spans.back().is_some_and(|last| last.phase == span.phase) {
            return;
        }
        if self.spans.len() == SPANS_MAX {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }
}

#[cfg(test)]
mod tests {
    use super::UpstreamPhase::{Backfill, Connected, Down, Silent};
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO.plus(Duration::from_secs(seconds))
    }

    fn shown(timeline: &UpstreamTimeline, now: u64) -> Vec<(u64, UpstreamPhase)> {
        let seconds = |span: TimelineSpan| (span.since.since(Moment::ZERO).as_secs(), span.phase);
        timeline.spans(at(now)).into_iter().map(seconds).collect()
    }

    #[test]
    fn spans_follow_connection_backfill_and_silence() {
        let mut timeline = UpstreamTimeline::new(at(0));
        timeline.set_connected(true, at(10));
        timeline.set_backfill(0, true, at(11));
        timeline.record_byte(at(12));
        timeline.set_backfill(0, false, at(20));
        timeline.record_byte(at(30));
        let mut expected = vec![(0, Down), (10, Connected), (11, Backfill), (20, Connected)];
        assert_eq!(shown(&timeline, 54), expected);
        expected.push((30, Silent));
        assert_eq!(shown(&timeline, 55), expected, "a silence counts from the last byte");
        timeline.record_byte(at(60));
        timeline.record_byte(at(70));
        expected.push((60, Connected));
        assert_eq!(shown(&timeline, 71), expected);
        timeline.set_connected(false, at(100));
        timeline.set_connected(false, at(101));
        expected.extend([(70, Silent), (100, Down)]);
        assert_eq!(shown(&timeline, 1_000), expected, "an upstream that is down is not silent");
    }

    #[test]
    fn backfill_of_lost_connection_is_down() {
        let mut timeline = UpstreamTimeline::new(at(0));
        timeline.set_connected(true, at(1));
        timeline.set_backfill(3, true, at(1));
        timeline.set_connected(false, at(5));
        timeline.set_backfill(3, false, at(6));
        assert_eq!(shown(&timeline, 9), [(0, Down), (1, Connected), (1, Backfill), (5, Down)]);
    }

    #[test]
    fn timeline_is_bounded_by_time_and_count() {
        let mut timeline = UpstreamTimeline::new(at(0));
        for n in 0..2 * SPANS_MAX as u64 {
            timeline.set_connected(n % 2 == 0, at(n + 1));
        }
        assert_eq!(timeline.spans.len(), SPANS_MAX);
        let day = TIMELINE_WINDOW.as_secs();
        let last = 2 * SPANS_MAX as u64;
        assert_eq!(shown(&timeline, last + day), [(last, Down)], "what began before the window is its first span");
        assert_eq!(shown(&timeline, last + day - 1), [(last - 1, Connected), (last, Down)]);
    }
}
