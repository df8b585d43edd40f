//! Shared reads: a session takes the result computed for its fan-out group instead of examining each record.

use std::sync::Arc;

use super::super::fanout::{GroupRead, GroupReadKey};
use super::{Frame, Session};

impl Session {
    /// Takes the group's next read of the ring, if this session needs the same as others with its filter. Returns
    /// `Some(None)` if the read has no matching event.
    pub(super) fn poll_group_read(&mut self) -> Option<Option<Frame>> {
        let own = self.private.as_ref().is_some_and(|private| private.has_open()) || self.repeats_until.is_some();
        if own || !self.pending_entries.is_empty() || self.reading.is_some() || self.cursor >= self.hub.next() {
            return None;
        }
        let asked = GroupReadKey { limits: self.pace.limits(), phase: self.phase(), from: self.cursor };
        let shared = self.hub.read_for_group(&self.member, asked)?;
        // Posts from before the subscription began are for some sessions and not for others.
        if shared.oldest_recovered_time.is_some_and(|oldest| oldest < self.recovery_from()) {
            return None;
        }
        // Deliveries from the side log differ between subscriptions with private gaps.
        if shared.is_doubtful && self.private.is_some() {
            return None;
        }
        self.replay = None;
        self.advance_past_group_read(&shared);
        let chunk = shared.chunk.clone();
        Some(chunk.map(|chunk| {
            let content = self.deliver(chunk);
            self.frame(content)
        }))
    }

    fn advance_past_group_read(&mut self, shared: &Arc<GroupRead>) {
        let passed = shared.next - self.cursor;
        let delivered = shared.chunk.as_ref().map_or(0, |chunk| chunk.entries.len() as u64);
        self.counters.passed.inc_by(passed);
        self.counters.delivered.inc_by(delivered);
        self.counters.filtered.inc_by(passed - delivered);
        self.cursor = shared.next;
        self.next_pending = self.next_pending.max(shared.next);
        self.last_advance = shared.received.or(self.last_advance);
        self.streamed_at = shared.streamed_at.or(self.streamed_at);
    }
}
