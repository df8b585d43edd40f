//! How a session takes what was put together for all that have its filter, instead of looking at each record by itself.

use std::sync::Arc;

use super::super::fanout::{GroupRead, GroupReadKey};
use super::{Frame, Session};

impl Session {
    /// Passes what is next in the ring at once, if nothing about this session makes it differ from others with its filter.
    /// `Some(None)` if that made no frame.
    pub(super) fn poll_group_read(&mut self) -> Option<Option<Frame>> {
        let own = self.private.as_ref().is_some_and(|private| private.has_open()) || self.repeats_until.is_some();
        if own || !self.pending_entries.is_empty() || self.reading.is_some() || self.cursor >= self.hub.next() {
            return None;
        }
        let asked = GroupReadKey { limits: self.pace.limits(), phase: self.phase(), from: self.cursor };
        let stretch = self.hub.read_for_group(&self.seat, asked)?;
        // Of what is from before the subscription began, some is for one session and not for another.
        if stretch.oldest_recovered_time.is_some_and(|oldest| oldest < self.recovery_from()) {
            return None;
        }
        // What subscriptions with private gaps were given out of the side log differs.
        if stretch.is_doubtful && self.private.is_some() {
            return None;
        }
        self.replay = None;
        self.advance_past_group_read(&stretch);
        let chunk = stretch.chunk.clone();
        Some(chunk.map(|chunk| {
            let content = self.deliver(chunk);
            self.frame(content)
        }))
    }

    fn advance_past_group_read(&mut self, stretch: &Arc<GroupRead>) {
        let passed = stretch.next - self.cursor;
        let delivered = stretch.chunk.as_ref().map_or(0, |chunk| chunk.entries.len() as u64);
        self.counters.passed.inc_by(passed);
        self.counters.delivered.inc_by(delivered);
        self.counters.filtered.inc_by(passed - delivered);
        self.cursor = stretch.next;
        self.next_pending = self.next_pending.max(stretch.next);
        self.last_advance = stretch.received.or(self.last_advance);
        self.streamed_at = stretch.streamed_at.or(self.streamed_at);
    }
}
