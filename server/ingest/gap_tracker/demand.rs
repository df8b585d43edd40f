//! The gap tracker as the source of missing ranges for recovery.

use tokio::sync::watch;

use super::GapTracker;
use crate::ingest::recovery::{MissingRanges, RequestStamp};
use crate::model::{GapEvidence, TimeRange, TimeRangeSet};

impl MissingRanges for GapTracker {
    fn missing(&self) -> TimeRangeSet {
        let mut missing = self.machine.lock().missing();
        missing.insert_all(&self.hub.side().missing());
        missing
    }

    fn stamp(&self) -> RequestStamp {
        RequestStamp { common: self.machine.lock().demands, private: self.hub.side().stamp() }
    }

    fn mark_recovered(&self, span: TimeRange, evidence: GapEvidence, stamp: RequestStamp) {
        self.change(|machine| machine.mark_recovered(span, evidence, stamp.common));
        self.hub.side().mark_complete(span, evidence, stamp.private);
    }

    fn mark_unrecoverable(&self, span: TimeRange, evidence: GapEvidence) {
        self.change(|machine| machine.mark_unrecoverable(span, evidence));
        self.hub.side().mark_unrecoverable(span, evidence);
    }

    fn is_plausibly_empty(&self, span: TimeRange) -> bool {
        self.machine.lock().is_plausibly_empty(span)
    }

    fn due_min(&self) -> u32 {
        self.machine.lock().limits.config.due_min
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.demands.subscribe()
    }
}
