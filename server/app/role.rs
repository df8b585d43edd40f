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
use crate::ingest::recovery::{AccountGaps, MissingRanges, RecoveryJobs, RecoveryScheduler};
use crate::ingest::replication::{OutletParts, ReplicatedOutlet, ReplicatedWriter};
use crate::ingest::{
    self, ConnectionSupervisor, IngestItem, IngestQueue, LogTimes, ReplicatedEnd, Sequencer, SequencerDeps, WriteHalf,
    dedup,
};
use crate::lease::LeaseHandle;
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
        let tracker = match &shared.replication {
            None => GapTracker::open(parts.tracker(), logged, received),
            Some(_) => GapTracker::take_over(parts.tracker(), logged, received),
        };
        let tracker = Arc::new(tracker);
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

impl RoleOpening {
    /// Creates the role of a replica, which leads when it holds the lease.
    pub(super) fn follow(self, rule_feed: RuleFeed) -> AccountRole {
        let Self { parts, gaps, recovery, .. } = self;
        AccountRole { parts, gaps, jobs: recovery.jobs(), rule_feed }
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

    /// Begins a gap tracker and the recovery jobs from the checkpoints that the leader before left.
    pub(super) fn take_over(&self, received: LogTimes) -> Arc<GapTracker> {
        let logged = self.parts.hub.gaps().list();
        let tracker = Arc::new(GapTracker::take_over(self.parts.tracker(), logged, received));
        self.gaps.set_tracker(tracker.clone());
        self.jobs.take_over(tracker.stamp());
        tracker
    }

    /// Creates a leadership over logs that other replicas have, too. They are in its term.
    pub(super) fn replicated(
        &self,
        logs: WriteHalf,
        term: Term,
        writer: ReplicatedWriter,
        parts: OutletParts,
    ) -> Leadership {
        let queue = ingest::queue(self.parts.ingest.queue_bytes_max);
        let recovery = RecoveryScheduler::resume(self.parts.scheduler(&parts.tracker, &queue.0), self.jobs.clone());
        let Leadership { queue, sequencer, supervisors, recovery } = self.begun((logs, term), queue, recovery);
        let sequencer = sequencer.with_outlet(ReplicatedOutlet::new(writer, parts));
        Leadership { queue, sequencer, supervisors, recovery }
    }

    fn leadership(
        &self,
        (mut logs, term): (WriteHalf, Term),
        queue: (IngestQueue, mpsc::Receiver<IngestItem>),
        recovery: RecoveryScheduler,
    ) -> Leadership {
        logs.begin(term);
        self.begun((logs, term), queue, recovery)
    }

    fn begun(
        &self,
        (logs, term): (WriteHalf, Term),
        (queue, intakes): (IngestQueue, mpsc::Receiver<IngestItem>),
        recovery: RecoveryScheduler,
    ) -> Leadership {
        let (parts, tracker) = (&self.parts, self.gaps.tracker());
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
        let shared = queue.sequencer();
        LeadershipTasks { queue, supervisors, recovery }.spawn(end, tasks, announcer);
        sequencer.run_shared(&tasks.giving_up, &shared)
    }

    /// Runs a leadership over logs that other replicas have, too: it calls `begun` and starts its tasks once the TERM record
    /// is accepted, and it ends with this tenure of the lease.
    pub(super) fn run_replicated(
        self,
        end: &Shutdown,
        (lease, tenure): (LeaseHandle, u64),
        (tasks, announcer): (&AccountTasks, &SharedAnnouncer),
        begun: impl FnOnce(),
    ) -> Result<ReplicatedEnd, dedup::DedupError> {
        let Self { queue, sequencer, supervisors, recovery } = self;
        let upstream = LeadershipTasks { queue, supervisors, recovery };
        let (watched, ended) = (lease.clone(), end.clone());
        let watch = async move {
            tokio::select! {
                () = watched.ended(tenure) => ended.cancel(),
                () = ended.cancelled() => {}
            }
        };
        let _context = tasks.runtime.enter();
        tasks.sessions.until(end).spawn("lease watch", ExitPolicy::StopProcess, watch);
        sequencer.run_replicated(&tasks.giving_up, || {
            begun();
            if lease.held().is_some_and(|held| held.number == tenure) {
                upstream.spawn(end, tasks, announcer);
            }
        })
    }
}

/// The tasks that read X in a leadership.
struct LeadershipTasks {
    queue: IngestQueue,
    supervisors: Vec<ConnectionSupervisor>,
    recovery: RecoveryScheduler,
}

impl LeadershipTasks {
    fn spawn(self, end: &Shutdown, tasks: &AccountTasks, announcer: &SharedAnnouncer) {
        let Self { queue, supervisors, recovery } = self;
        let _context = tasks.runtime.enter();
        let sessions = tasks.sessions.until(end);
        for supervisor in supervisors {
            const NAME: &str = "upstream session";
            if supervisor.has_own_thread() {
                // X disconnects slow readers. A reader of its own thread does not compete with session tasks.
                sessions.spawn_dedicated(NAME, ExitPolicy::StopProcess, supervisor.run(end.clone()));
            } else {
                sessions.spawn(NAME, ExitPolicy::StopProcess, supervisor.run(end.clone()));
            }
        }
        sessions.spawn("recovery", ExitPolicy::StopProcess, recovery.run(end.clone()));
        let (announcer, end) = (announcer.clone(), end.clone());
        let announcing = async move { announcer.lock().await.run(queue, end).await };
        sessions.spawn("rule announcements", ExitPolicy::StopProcess, announcing);
    }
}
