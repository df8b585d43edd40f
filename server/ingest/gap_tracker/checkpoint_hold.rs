//! Holds back the checkpoint while the gap tracker knows of the end of a connection whose data is not in the log yet.
//!
//! The state machine runs ahead of the log: data that was read waits in the queue. For an open connection the checkpoint
//! leaves that data out, but the gap of an ended one begins after it. A process that ended now would lose the queue, and
//! its checkpoint would announce too little. An older checkpoint announces more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Holds of a gap tracker.
#[derive(Debug, Default)]
pub(super) struct CheckpointHolds(Arc<AtomicU64>);

/// Holds the checkpoint back until it is released; for ever if what it waits for is never appended.
#[derive(Debug)]
#[must_use]
pub struct CheckpointHold(Arc<AtomicU64>);

impl CheckpointHolds {
    pub(super) fn hold(&self) -> CheckpointHold {
        self.0.fetch_add(1, Ordering::AcqRel);
        CheckpointHold(self.0.clone())
    }

    pub(super) fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl CheckpointHold {
    /// All that was read before is appended.
    pub fn release(self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
