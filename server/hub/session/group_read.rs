//! How a session takes what was put together for all that have its filter, instead of looking at each record by itself.

use std::sync::Arc;

use super::super::fanout::{Asked, Stretch};
use super::{Frame, Subscription};

impl Subscription {
    /// Passes what is next in the ring at once, if nothing about this session makes it differ from others with its filter.
    /// `Some(None)` if that made no frame.
    pub(super) fn pass_shared(&mut self) -> Option<Option<Frame>> {
        let own = self.private.as_ref().is_some_and(|private| private.has_open()) || self.repeats_until.is_some();
        if own || !self.stretch.is_empty() || self.reading.is_some() || self.cursor >= self.hub.next() {
            return None;
        }
        let asked = Asked { limits: self.pace.limits(), phase: self.phase(), from: self.cursor };
        let stretch = self.hub.take_shared(&self.seat, asked)?;
        // Of what is from before the lineage began, some is for one session and not for another.
        if stretch.oldest_brought.is_some_and(|oldest| oldest < self.begins()) {
            return None;
        }
        // What lineages with private gaps were given out of the side log differs.
        if stretch.is_doubtful && self.private.is_some() {
            return None;
        }
        self.replay = None;
        self.pass_stretch(&stretch);
        let chunk = stretch.chunk.clone();
        Some(chunk.map(|chunk| {
            let content = self.deliver(chunk);
            self.frame(content)
        }))
    }

    fn pass_stretch(&mut self, stretch: &Arc<Stretch>) {
        let passed = stretch.next - self.cursor;
        let delivered = stretch.chunk.as_ref().map_or(0, |chunk| chunk.entries.len() as u64);
        self.counters.passed.inc_by(passed);
        self.counters.delivered.inc_by(delivered);
        self.counters.filtered.inc_by(passed - delivered);
        self.cursor = stretch.next;
        self.stretch_next = self.stretch_next.max(stretch.next);
        self.passed_at = stretch.received.or(self.passed_at);
        self.streamed_at = stretch.streamed_at.or(self.streamed_at);
    }
}
