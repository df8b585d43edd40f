//! The role of this process for an account: it leads. A *leadership* is the time in which one writer of a term reads X and
//! appends to the log. A process that runs alone begins the next leadership when one ends.
//!
//! Owns: what is created for each leadership (queue, sequencer, gap tracker, upstream sessions, recovery) and the order
//! in which a leadership begins and ends. Does not own: what outlives a leadership (logs, hub, sessions of subscribers,
//! job table, rules, maintenance), which `account` opens.
//!
//! A leadership begins as a restart of the process does: with a new term, and with a gap since the last byte, which
//! backfill or recovery closes. It ends when its order ends: the upstream sessions and recovery requests are dropped,
//! the sequencer appends what they queued, and returns the write half of the logs, which the next leadership gets.
//!
//! # Invariants
//! - No upstream connection or recovery request is opened before those of the leadership before are closed: each of
//!   its tasks has a sender of its queue, and its sequencer ends when there is none.
//! - Sessions of subscribers are not affected: `tests/it/leadership.rs`, and the step `Renew` of `app::tests`.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::account_rules::SharedAnnouncer;
use super::account_tasks::AccountTasks;
use super::leadership_parts::LeadershipParts;
use super::open_context::OpenContext;
use crate::config;
use crate::hub::Hub;
use crate::ingest::gap_tracker::GapTracker;
use crate::ingest::recovery::{AccountGaps, RecoveryJobs, RecoveryScheduler};
use crate::ingest::{
    self, ConnectionSupervisor, IngestItem, IngestQueue, LogTimes, Sequencer, SequencerDeps, WriteHalf, dedup,
};
use crate::model::Term;
use crate::rules::RuleFeed;
use crate::task::{ExitPolicy, Shutdown};

/// Begins the leaderships of an account.
pub(super) struct AccountRole {
    parts: LeadershipParts,
    pub(super) gaps: Arc<AccountGaps>,
    pub(super) jobs: Arc<RecoveryJobs>,
    rule_feed: RuleFeed,
}

/// A leadership whose tasks have not started.
pub(super) struct Leadership {
    /// Queue of the sequencer. The leadership cannot end while a sender of it is left.
    pub(super) queue: IngestQueue,
    pub(super) sequencer: Sequencer,
    pub(super) supervisors: Vec<ConnectionSupervisor>,
    pub(super) recovery: RecoveryScheduler,
}

/// A role that has the gap tracker and recovery of its first leadership, and waits for the write half.
pub(super) struct RoleOpening {
    parts: LeadershipParts,
    pub(super) gaps: Arc<AccountGaps>,
    pub(super) recovery: RecoveryScheduler,
    queue: (IngestQueue, mpsc::Receiver<IngestItem>),
}

impl RoleOpening {
    /// Restores the gap tracker and the recovery jobs from the log and the checkpoints.
    pub(super) fn new(
        shared: &OpenContext,
        account: &config::AccountSettings,
        dir: &Path,
        hub: &Arc<Hub>,
        counters: ingest::Metrics,
        received: LogTimes,
    ) -> Result<Self, ingest::RestoreError> {
        let logged = ingest::restore_gaps(&**hub.reader(), hub)?;
        let parts = LeadershipParts::new(shared, account, dir, hub, counters);
        let tracker = Arc::new(GapTracker::open(parts.tracker(), logged, received));
        let queue = ingest::queue(shared.settings.ingest.queue_bytes_max);
        let recovery = RecoveryScheduler::open(parts.scheduler(&tracker, &queue.0));
        let gaps = Arc::new(AccountGaps::new(hub.clone(), tracker));
        Ok(Self { parts, gaps, recovery, queue })
    }

    /// Creates the first leadership, with the term with which the log was opened.
    pub(super) fn begin(self, logs: WriteHalf, term: Term, rule_feed: RuleFeed) -> (AccountRole, Leadership) {
        let Self { parts, gaps, recovery, queue } = self;
        let role = AccountRole { parts, gaps, jobs: recovery.jobs(), rule_feed };
        let leadership = role.leadership((logs, term), queue, recovery);
        (role, leadership)
    }
}

impl AccountRole {
    /// Runs leaderships, one after the other, until the process closes its upstream connections. Blocks its thread.
    pub(super) fn run(
        self,
        first: Leadership,
        tasks: &AccountTasks,
        announcer: &SharedAnnouncer,
    ) -> Result<(), dedup::DedupError> {
        let mut leadership = first;
        loop {
            let end = tasks.leaderships.end_of_next();
            let logs = leadership.run(&end, tasks, announcer)?;
            if tasks.upstream.is_cancelled() || !end.is_cancelled() {
                return Ok(());
            }
            leadership = self.resume(logs);
        }
    }

    /// Creates the leadership that follows one that has ended: a restart of the account without its subscribers.
    pub(super) fn resume(&self, logs: WriteHalf) -> Leadership {
        let (hub, term) = (&self.parts.hub, Term((self.parts.random)()));
        let before = self.gaps.tracker().checkpoint();
        let tracker = Arc::new(GapTracker::resume(self.parts.tracker(), &before, hub.gaps().list()));
        self.gaps.set_tracker(tracker.clone());
        let queue = ingest::queue(self.parts.ingest.queue_bytes_max);
        let recovery = RecoveryScheduler::resume(self.parts.scheduler(&tracker, &queue.0), self.jobs.clone());
        tracing::info!(account = %hub.account(), %term, next = hub.next(), "leadership began");
        self.leadership((logs, term), queue, recovery)
    }

    fn leadership(
        &self,
        (mut logs, term): (WriteHalf, Term),
        (queue, intakes): (IngestQueue, mpsc::Receiver<IngestItem>),
        recovery: RecoveryScheduler,
    ) -> Leadership {
        let (parts, tracker) = (&self.parts, self.gaps.tracker());
        logs.begin(term);
        let supervisors = parts.supervisors(&tracker, &queue);
        let (hub, metrics) = (parts.hub.clone(), parts.counters.clone());
        let clock = hub.clock().clone();
        let deps = SequencerDeps { logs, hub, tracker, term, metrics };
        let sequencer =
            Sequencer::new(deps, intakes, clock, parts.ingest.clone()).with_rule_feed(self.rule_feed.clone());
        Leadership { queue, sequencer, supervisors, recovery }
    }
}

impl Leadership {
    /// Runs until `end`, and until everything that was queued is appended. Returns the write half of the logs.
    fn run(
        self,
        end: &Shutdown,
        tasks: &AccountTasks,
        announcer: &SharedAnnouncer,
    ) -> Result<WriteHalf, dedup::DedupError> {
        let Self { queue, sequencer, supervisors, recovery } = self;
        {
            let _context = tasks.runtime.enter();
            let sessions = tasks.sessions.until(end);
            for supervisor in supervisors {
                // X disconnects slow readers. Each reader therefore has its own thread and does not compete with session
                // tasks.
                sessions.spawn_dedicated("upstream session", ExitPolicy::StopProcess, supervisor.run(end.clone()));
            }
            sessions.spawn("recovery", ExitPolicy::StopProcess, recovery.run(end.clone()));
            let (announcer, end) = (announcer.clone(), end.clone());
            let announcing = async move { announcer.lock().await.run(queue, end).await };
            sessions.spawn("rule announcements", ExitPolicy::StopProcess, announcing);
        }
        sequencer.run(&tasks.giving_up)
    }
}
