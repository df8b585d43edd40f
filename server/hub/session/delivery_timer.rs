//! Measures a delivery: from the receipt of a post by the gateway until the socket of a live session accepts it.

use std::fmt;
use std::sync::Arc;

use super::{EventBatch, FrameContent, Phase, Session};
use crate::clock::Moment;
use crate::hub::Hub;
use crate::telemetry::stages::{Stage, StageStamp};

/// Measures the delivery of one batch. A batch that is never sent is not counted.
pub struct DeliveryTimer {
    hub: Arc<Hub>,
    read_at: Moment,
    /// When the session resumed for it, and then when its message was complete.
    stage: StageStamp,
}

impl DeliveryTimer {
    /// Measures from `read_at`.
    #[cfg(test)]
    pub(crate) fn new(hub: Arc<Hub>, read_at: Moment) -> Self {
        Self { hub, read_at, stage: StageStamp::default() }
    }

    /// Marks the message as complete: from here on it is sent.
    pub fn assembled(self) -> Self {
        self.stage.end(Stage::Assemble);
        Self { stage: StageStamp::now(), ..self }
    }

    /// Counts the delivery, which ends now.
    pub fn complete(self) {
        self.stage.end(Stage::Send);
        self.hub.metrics().delivery.observe(self.hub.clock().moment().since(self.read_at));
    }
}

impl fmt::Debug for DeliveryTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeliveryTimer").field(&self.read_at).finish()
    }
}

impl Session {
    /// Returns the timer of a frame of posts that came on a live connection, for a session at the tip: replayed and
    /// recovered posts are older than their delivery is slow.
    pub fn delivery_timer(&mut self, content: &FrameContent) -> Option<DeliveryTimer> {
        let FrameContent::Batch(EventBatch { chunk, .. }) = content else { return None };
        let first = chunk.entries.first()?;
        let read_at = first.read_at.filter(|_| chunk.phase == Phase::Live)?;
        let stage = std::mem::take(&mut self.resumed);
        first.notified.get().until(stage, Stage::Wake);
        Some(DeliveryTimer { hub: self.hub.clone(), read_at, stage })
    }
}
