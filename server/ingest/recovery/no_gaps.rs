use std::sync::Arc;

use tokio::sync::watch;

use super::{Demand, GapList};
use crate::hub::Hub;
use crate::model::{Gap, GapEvidence, Span, Spans, UnixMillis};

/// An account of which nothing is known to be missing: what it holds is what its log does.
pub struct NoGaps {
    hub: Arc<Hub>,
    changes: watch::Sender<u64>,
}

impl NoGaps {
    /// Of this log.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, changes: watch::Sender::new(0) }
    }
}

impl Demand for NoGaps {
    fn missing(&self) -> Spans {
        Spans::default()
    }

    fn prove(&self, _: Span, _: GapEvidence) {}

    fn lose(&self, _: Span, _: GapEvidence) {}

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl GapList for NoGaps {
    fn gaps(&self) -> Vec<Gap> {
        Vec::new()
    }

    fn complete_from(&self) -> Option<UnixMillis> {
        self.hub.reader().extent().earliest_received
    }

    fn complete_to(&self) -> Option<UnixMillis> {
        let heard = self.hub.upstream().last_byte().map(|last| last.time);
        let reached = heard.max(self.hub.reader().extent().newest_received)?;
        Some(reached.minus(self.hub.config().slack))
    }
}
