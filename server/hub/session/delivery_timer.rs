//! Measures a delivery: from the receipt of a post by the gateway until the socket of a live session accepts it.

use std::fmt;
use std::sync::Arc;

use super::{EventBatch, FrameContent, Phase, Session};
use crate::clock::Moment;
use crate::hub::Hub;

/// Measures the delivery of one batch. A batch that is never sent is not counted.
pub struct DeliveryTimer {
    hub: Arc<Hub>,
    read_at: Moment,
}

impl DeliveryTimer {
    /// Measures from `read_at`.
    #[cfg(test)]
    pub(crate) fn new(hub: Arc<Hub>, read_at: Moment) -> Self {
        Self { hub, read_at }
    }

    /// Counts the delivery, which ends now.
    pub fn complete(self) {
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
    pub fn delivery_timer(&self, content: &FrameContent) -> Option<DeliveryTimer> {
        let FrameContent::Batch(EventBatch { chunk, .. }) = content else { return None };
        let read_at = chunk.entries.first()?.read_at.filter(|_| chunk.phase == Phase::Live)?;
        Some(DeliveryTimer { hub: self.hub.clone(), read_at })
    }
}
