//! Counts the start and the end of a session, and reports its progress.

use std::sync::Arc;

use super::frame::EndReason;
use crate::hub::Hub;
use crate::hub::progress::SessionProgress;
use crate::hub::start::ResolvedStart;

/// Reports the progress of a session; counts its start and its end.
pub(super) struct SessionMeter {
    hub: Arc<Hub>,
    pub(super) progress: Arc<SessionProgress>,
    slot: usize,
    pub(super) end: Option<EndReason>,
}

impl SessionMeter {
    pub(super) fn begin(hub: &Arc<Hub>, consumer: &str, start: &ResolvedStart) -> Self {
        let metrics = hub.metrics();
        let consumer = metrics.label(consumer, hub.config().consumer_labels_max);
        let now = hub.clock().moment();
        let progress = Arc::new(SessionProgress::begin(consumer, start.cursor, start.reached, now));
        let slot = metrics.sessions.insert(progress.clone());
        metrics.note_start(start.outcome);
        Self { hub: hub.clone(), progress, slot, end: None }
    }
}

impl Drop for SessionMeter {
    fn drop(&mut self) {
        let metrics = self.hub.metrics();
        metrics.sessions.remove(self.slot);
        metrics.note_end(self.end);
    }
}
