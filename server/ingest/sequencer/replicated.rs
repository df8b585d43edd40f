//! The sequencer of a leader, whose logs other replicas have, too.

use tokio::runtime::Builder;

use super::append_batch::AppendBatch;
use super::{Sequencer, WriteHalf};
use crate::ingest::dedup;
use crate::ingest::replication::{LeadershipEnd, ReplicaPlace};
use crate::task::Shutdown;

/// What a leadership leaves.
pub struct ReplicatedEnd {
    /// Write half of the logs, without anything staged.
    pub logs: WriteHalf,
    /// Place from which the replica follows.
    pub place: ReplicaPlace,
    /// Why it ended, if it did not end by order.
    pub reason: Option<LeadershipEnd>,
}

impl Sequencer {
    /// Runs a leadership like [`Sequencer::run`]. `begun` is called once the TERM record is appended: until then another
    /// replica may lead. It is dropped if that never happens.
    pub fn run_replicated(
        mut self,
        giving_up: &Shutdown,
        begun: impl FnOnce(),
    ) -> Result<ReplicatedEnd, dedup::DedupError> {
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime without I/O cannot fail").block_on(async {
            self.write_start(giving_up).await;
            match self.outlet.as_ref().is_some_and(|outlet| outlet.ended().is_none() && outlet.has_begun()) {
                true => begun(),
                false => drop(begun),
            }
            self.write_queued(giving_up).await?;
            if let Some(outlet) = &mut self.outlet {
                // The successor continues from here. One that is lost costs it a wider gap.
                outlet.hasten_checkpoint();
                if outlet.ended().is_none()
                    && let Err(error) = outlet.append_checkpoint().await
                {
                    tracing::debug!(account = %self.writing.hub.account(), %error, "last checkpoint not appended");
                }
            }
            let (place, reason) = self.outlet.expect("set by the caller").into_end();
            let mut logs = self.writing.logs;
            logs.seen.discard();
            logs.side.discard();
            Ok(ReplicatedEnd { logs, place, reason })
        })
    }

    /// Discards a batch that no quorum has accepted, and all that follow until the queue is closed. Nothing of it was
    /// exposed: X sends it again to the next leader.
    pub(super) fn end_leadership(&mut self, batch: &mut AppendBatch, end: LeadershipEnd) {
        let lost = self.discard_batch(batch);
        let metrics = &self.writing.metrics;
        match end {
            LeadershipEnd::LeaseEnded { in_doubt: true }
            | LeadershipEnd::RolledBack { .. }
            | LeadershipEnd::Trimmed { .. }
            | LeadershipEnd::NoLog
            | LeadershipEnd::Rewritten { .. }
            | LeadershipEnd::JournalUnavailable(_) => metrics.in_doubt.inc_by(lost),
            _ => metrics.refused_by_fence.inc_by(lost),
        };
        batch.tally.count(metrics);
        if let Some(outlet) = &mut self.outlet {
            outlet.end(end);
        }
    }
}
