//! Counts the start and the end of a session.

use std::sync::Arc;

use super::frame::EndReason;
use crate::hub::Hub;
use crate::hub::activity::SessionActivity;
use crate::hub::progress::MeteredSession;
use crate::hub::start::ResolvedStart;

/// Counts the start and the end of a session, which is in the table of open ones in between.
pub(super) struct SessionMeter {
    hub: Arc<Hub>,
    slot: usize,
    pub(super) end: Option<EndReason>,
}

impl SessionMeter {
    pub(super) fn begin(
        hub: &Arc<Hub>,
        consumer: &str,
        start: &ResolvedStart,
        activity: &Arc<SessionActivity>,
    ) -> Self {
        let metrics = hub.metrics();
        activity.begin(start.cursor, start.reached);
        let consumer = metrics.label(consumer, hub.config().consumer_labels_max);
        let slot = metrics.sessions.insert(MeteredSession { consumer, activity: activity.clone() });
        metrics.note_start(start.outcome);
        Self { hub: hub.clone(), slot, end: None }
    }
}

impl Drop for SessionMeter {
    fn drop(&mut self) {
        let metrics = self.hub.metrics();
        metrics.sessions.remove(self.slot);
        metrics.note_end(self.end);
    }
}
