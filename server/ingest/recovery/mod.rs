//! Recovery jobs.

use tokio::sync::watch;

use crate::model::{GapEvidence, Span, Spans};

/// What recovery is to bring, and who is told how far it came. The ledger is it.
pub trait Demand: Send + Sync {
    /// What is missing, of intervals that have ended.
    fn missing(&self) -> Spans;

    /// All that X has of this interval has been appended.
    fn prove(&self, span: Span, evidence: GapEvidence);

    /// This interval cannot be brought any more.
    fn lose(&self, span: Span, evidence: GapEvidence);

    /// Changes whenever there may be more that is missing.
    fn changes(&self) -> watch::Receiver<u64>;
}
