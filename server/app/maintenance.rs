use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::hub::Hub;
use crate::ingest::dedup;
use crate::ingest::gap_tracker::GapTracker;
use crate::ingest::recovery::RecoveryJobs;
use crate::ingest::side_log_writer::SideLogMaintenance;
use crate::journal::{self, Maintenance};
use crate::task::Shutdown;

/// Housekeeping of an account.
pub(super) struct AccountMaintenance {
    pub(super) hub: Arc<Hub>,
    pub(super) tracker: Arc<GapTracker>,
    pub(super) recovery: Arc<RecoveryJobs>,
    pub(super) journal: Box<dyn Maintenance>,
    pub(super) ids: dedup::DedupMaintenance,
    pub(super) side: SideLogMaintenance,
    pub(super) metrics: journal::Metrics,
    pub(super) runtime: Handle,
    pub(super) clock: Clock,
    pub(super) failing: bool,
}

/// How often maintenance looks for what is due: a power cut loses at most this much (the contract's `os`).
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

impl AccountMaintenance {
    /// Until the sequencer has written its last; then once more, so that everything is on the disk.
    pub(super) fn run(&mut self, written: &Shutdown) {
        let (runtime, clock) = (self.runtime.clone(), self.clock.clone());
        let pause = || runtime.block_on(clock.timeout(UPKEEP_INTERVAL, written.cancelled()));
        while pause().is_err() {
            self.step();
        }
        self.finish();
    }

    /// After the last append: everything is on the disk then.
    pub(super) fn finish(&mut self) {
        self.step();
        let sealed = self.ids.flush().map(drop).and(self.side.seal());
        if let Err(error) = sealed {
            tracing::warn!(account = %self.hub.account(), %error, "post ids are not sealed; the next start takes longer");
        }
    }

    pub(super) fn step(&mut self) {
        let now = self.clock.moment();
        let journal = self.journal.step(now).map_err(|error| error.to_string());
        if let Ok(report) = &journal {
            self.metrics.note(report);
        }
        let extent = self.hub.reader().extent();
        let ids = self.ids.step(extent, &|age| self.journal.appended_before(age)).map_err(|error| error.to_string());
        let gaps = self.tracker.save().map_err(|error| format!("the ledger of gaps: {error}"));
        let jobs = self.recovery.save().map_err(|error| format!("the recovery jobs: {error}"));
        let side = self.side.step(now);
        // Each for itself: one that fails keeps no other from its turn, and is tried again with the next step.
        let steps = [
            ("journal", journal.err()),
            ("ids", ids.err()),
            ("gaps", gaps.err()),
            ("jobs", jobs.err()),
            ("side", side.err().map(|error| error.to_string())),
        ];
        steps.iter().filter(|(_, error)| error.is_some()).for_each(|(step, _)| self.metrics.note_failure(step));
        let error = steps.into_iter().find_map(|(_, error)| error);
        // Once per change, not once a second.
        match (error, self.failing) {
            (Some(error), false) => {
                tracing::error!(account = %self.hub.account(), error, "upkeep of the log fails; it is tried again");
                self.failing = true;
            }
            (None, true) => {
                tracing::info!(account = %self.hub.account(), "upkeep of the log works again");
                self.failing = false;
            }
            (Some(_), true) | (None, false) => {}
        }
    }
}
