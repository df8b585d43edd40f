use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::replica_role::CheckpointGate;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::ingest::dedup;
use crate::ingest::recovery::{AccountGaps, RecoveryJobs};
use crate::ingest::replication::{PlaceCell, PlaceFile};
use crate::ingest::side_log_writer::SideLogMaintenance;
use crate::journal::{self, Maintenance};
use crate::task::Shutdown;

/// Periodic maintenance of an account.
pub(super) struct AccountMaintenance {
    pub(super) hub: Arc<Hub>,
    pub(super) gaps: Arc<AccountGaps>,
    pub(super) recovery: Arc<RecoveryJobs>,
    pub(super) journal: Box<dyn Maintenance>,
    pub(super) ids: dedup::DedupMaintenance,
    pub(super) side: SideLogMaintenance,
    pub(super) metrics: journal::Metrics,
    /// Set if other replicas have the logs, too.
    pub(super) replica: Option<ReplicaMaintenance>,
    pub(super) runtime: Handle,
    pub(super) clock: Clock,
    pub(super) failing: bool,
}

/// What maintenance writes for a replica.
pub(super) struct ReplicaMaintenance {
    /// The checkpoints, while it leads.
    pub(super) gate: CheckpointGate,
    /// Its place, once its records are synced.
    pub(super) cell: PlaceCell,
    pub(super) file: PlaceFile,
}

/// Interval of maintenance steps. A power cut loses at most this period (durability `os` of the contract).
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

impl AccountMaintenance {
    /// Runs until the sequencer has written its last record, then once more so that every record is on disk.
    pub(super) fn run(&mut self, written: &Shutdown) {
        let (runtime, clock) = (self.runtime.clone(), self.clock.clone());
        let pause = || runtime.block_on(clock.timeout(MAINTENANCE_INTERVAL, written.cancelled()));
        while pause().is_err() {
            self.step();
        }
        self.finish();
    }

    /// Runs after the last append; every record is on disk when it returns.
    pub(super) fn finish(&mut self) {
        self.step();
        let sealed = self.ids.flush().map(drop).and(self.side.seal());
        if let Err(error) = sealed {
            tracing::warn!(account = %self.hub.account(), %error, "failed to flush post ids, next start takes longer");
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
        let (gaps, jobs) = self.save_checkpoints();
        let place = self.save_place();
        let side = self.side.step(now);
        // The steps are independent: a failing step does not stop the others and is retried at the next interval.
        let steps = [
            ("journal", journal.err()),
            ("ids", ids.err()),
            ("gaps", gaps.err()),
            ("jobs", jobs.err()),
            ("place", place.err()),
            ("side", side.err().map(|error| error.to_string())),
        ];
        steps.iter().filter(|(_, error)| error.is_some()).for_each(|(step, _)| self.metrics.note_failure(step));
        let error = steps.into_iter().find_map(|(_, error)| error);
        // Logged once per change, not once per second.
        match (error, self.failing) {
            (Some(error), false) => {
                tracing::error!(account = %self.hub.account(), error, "journal maintenance failing, will retry");
                self.failing = true;
            }
            (None, true) => {
                tracing::info!(account = %self.hub.account(), "journal maintenance succeeded again");
                self.failing = false;
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    /// Saves the checkpoints. Those of a replica that follows are the leader's: its role writes them.
    fn save_checkpoints(&self) -> (Result<(), String>, Result<(), String>) {
        let save = || {
            let gaps = self.gaps.tracker().save().map_err(|error| format!("gap checkpoint: {error}"));
            (gaps, self.recovery.save().map_err(|error| format!("recovery jobs: {error}")))
        };
        match &self.replica {
            None => save(),
            Some(replica) => replica.gate.write_if_open(save).unwrap_or((Ok(()), Ok(()))),
        }
    }

    fn save_place(&mut self) -> Result<(), String> {
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let (synced, side) = (self.hub.reader().synced(), self.hub.side().reader().synced());
        replica.file.save(&replica.cell.get(), synced, side).map_err(|error| format!("place in shared log: {error}"))
    }
}
