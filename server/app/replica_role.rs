//! The role of this process for an account that other replicas have, too: it follows the shared log, and leads while it
//! holds the lease.
//!
//! Owns: the change between the two, with the write half of the logs. Does not own: the lease, the protocol
//! (`ingest::replication`), or what a leadership consists of (`role`).
//!
//! # Invariants
//! - Upstream connections are opened after the TERM record of the leadership was accepted, and only while the lease is held
//!   (`LeasedTransport`).
//! - The write half has one owner: the follower, or the sequencer of the leadership.
//! - The checkpoints are written by maintenance while this replica leads, and by the follower otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Builder;

use super::account_rules::SharedAnnouncer;
use super::account_tasks::AccountTasks;
use super::replica_link::LeaderName;
use super::replica_metrics::ReplicaMetrics;
use super::role::AccountRole;
use super::{replica_opening, replica_status};
use crate::hub::Hub;
use crate::ingest::replication::{
    CandidacyError, Config, EndQuestions, Follower, LeaderOrders, LeadershipEnd, LocalLogs, PlaceCell,
    ReplicatedWriter, WritePermit, answer_questions, begin_leadership, carry_out_orders,
};
use crate::ingest::{ReplicatedEnd, replication};
use crate::lease::{LeaseHandle, LeaseTask, Tenure};
use crate::model::Term;
use crate::quorum::Bus;
use crate::task::{ExitPolicy, Shutdown};

/// Wait after a leadership that did not begin.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How long a replica that cannot lead leaves the lease to others.
const REJOIN_AFTER: Duration = Duration::from_secs(30);

/// Whether maintenance writes the checkpoints. Clones share it.
#[derive(Clone, Default)]
pub(super) struct CheckpointGate(Arc<Mutex<bool>>);

impl CheckpointGate {
    /// Runs `write` if this replica leads; meanwhile its role does not change.
    pub(super) fn write_if_open<T>(&self, write: impl FnOnce() -> T) -> Option<T> {
        let is_open = self.0.lock();
        is_open.then(write)
    }

    fn set(&self, is_open: bool) {
        *self.0.lock() = is_open;
    }
}

/// Lets the next start of this replica set its directory aside and fill a new one.
fn mark_for_refill(local: &LocalLogs, is_wanted: bool) {
    let (account, dir) = (local.hub.account(), local.dir.as_deref().filter(|_| is_wanted));
    match dir.map(replica_opening::mark_for_refill) {
        Some(Ok(())) => tracing::error!(%account, "replica will be filled again at its next start"),
        Some(Err(error)) => tracing::error!(%account, %error, "failed to mark directory of replica"),
        None => {}
    }
}

/// A replica that has not started.
pub(super) struct ReplicaRole {
    pub(super) follower: Follower,
    pub(super) local: LocalLogs,
    pub(super) lease: LeaseHandle,
    pub(super) lease_task: LeaseTask,
    pub(super) config: Config,
    /// The replica that leads.
    pub(super) leader: LeaderName,
    pub(super) orders: Arc<LeaderOrders>,
    pub(super) gate: CheckpointGate,
    pub(super) cell: PlaceCell,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) metrics: ReplicaMetrics,
    /// Source of terms.
    pub(super) random: fn() -> u64,
}

/// A replica that runs.
struct RunningReplica<'a> {
    role: &'a AccountRole,
    follower: Follower,
    /// Taken by a leadership.
    local: Option<LocalLogs>,
    hub: Arc<Hub>,
    lease: LeaseHandle,
    config: Config,
    gate: CheckpointGate,
    cell: PlaceCell,
    bus: Arc<dyn Bus>,
    metrics: ReplicaMetrics,
    random: fn() -> u64,
    /// Why no leadership began since the last one.
    refused: Option<String>,
    tasks: &'a AccountTasks,
    announcer: &'a SharedAnnouncer,
}

impl ReplicaRole {
    /// Follows and leads until the process closes its upstream connections, and then releases the lease. Blocks its
    /// thread.
    pub(super) fn run(
        self,
        role: &AccountRole,
        tasks: &AccountTasks,
        announcer: &SharedAnnouncer,
    ) -> anyhow::Result<()> {
        let Self { follower, local, lease, lease_task, config, leader, orders, gate, cell, bus, metrics, random } =
            self;
        let (released, own_bus) = (Shutdown::new(), bus.clone());
        {
            let _context = tasks.runtime.enter();
            tasks.writers.spawn("lease", ExitPolicy::StopProcess, lease_task.run(released.clone()));
            let (hub, stopped, cell) = (local.hub.clone(), released.clone(), cell.clone());
            let listening = async move {
                stopped.run_until_cancelled(replica_status::listen(hub, bus, leader, cell)).await;
            };
            tasks.writers.spawn("replica status", ExitPolicy::StopProcess, listening);
            let stopped = released.clone();
            tasks.writers.spawn("private gaps of replica", ExitPolicy::StopProcess, async move {
                stopped.run_until_cancelled(orders.repeat_wants()).await;
            });
        }
        let hub = local.hub.clone();
        let mut running = RunningReplica {
            role,
            follower,
            local: Some(local),
            hub,
            lease: lease.clone(),
            config,
            gate,
            cell,
            bus: own_bus,
            metrics,
            random,
            refused: None,
            tasks,
            announcer,
        };
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let result = running.take_turns(&runtime);
        // Another replica takes over at once.
        runtime.block_on(lease.release(None));
        released.cancel();
        result
    }
}

impl RunningReplica<'_> {
    fn take_turns(&mut self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
        let stopping = self.tasks.upstream.clone();
        loop {
            let local = self.local.as_mut().expect("no leadership runs");
            let next = async {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => None,
                    tenure = self.lease.acquired() => Some(tenure),
                }
            };
            let tenure = match runtime.block_on(self.follower.follow(local, next)) {
                Ok(Some(tenure)) => tenure,
                Ok(None) => return Ok(()),
                Err(error) => {
                    mark_for_refill(local, error.needs_refill());
                    return Err(error.into());
                }
            };
            let permit = WritePermit::of_tenure(self.lease.clone(), tenure.number);
            let term = Term((self.random)());
            let listed = (term, self.config.name.as_str());
            let begun = begin_leadership(&mut self.follower, local, permit, listed, self.config.writer());
            let reason = match runtime.block_on(begun) {
                Ok(writer) => self.lead(writer, term, tenure)?,
                Err(error) if error.needs_refill() => {
                    mark_for_refill(local, true);
                    return Err(error.into());
                }
                Err(CandidacyError::Follow(error)) if !error.is_passing() => return Err(error.into()),
                Err(error) => {
                    self.note_refused(&error);
                    if error.is_for_others() {
                        runtime.block_on(self.lease.release(Some(REJOIN_AFTER)));
                    }
                    None
                }
            };
            match reason {
                Some(reason @ LeadershipEnd::Misplaced { .. }) => return Err(reason.into()),
                Some(LeadershipEnd::Rejected(_) | LeadershipEnd::JournalUnavailable(_)) => {
                    runtime.block_on(self.lease.release(Some(REJOIN_AFTER)));
                }
                _ => {
                    let pause = self.tasks.upstream.run_until_cancelled(self.hub.clock().sleep(RETRY_INTERVAL));
                    runtime.block_on(pause);
                }
            }
        }
    }

    /// Logs why a leadership did not begin, once for all attempts with this reason.
    fn note_refused(&mut self, error: &CandidacyError) {
        let reason = error.to_string();
        if self.refused.as_ref() != Some(&reason) {
            tracing::warn!(account = %self.hub.account(), %error, "leadership did not begin, following");
            self.refused = Some(reason);
        }
    }

    /// Runs a leadership to its end. Returns the reason if it did not end by order.
    fn lead(&mut self, writer: ReplicatedWriter, term: Term, tenure: Tenure) -> anyhow::Result<Option<LeadershipEnd>> {
        let LocalLogs { logs, hub, dir, jobs, checkpoint, received } = self.local.take().expect("no leadership runs");
        let end = self.tasks.leaderships.end_of_next().child_token();
        self.refused = None;
        let (questions, checkpoints) = (EndQuestions::default(), EndQuestions::default());
        let parts = replication::OutletParts {
            hub: hub.clone(),
            tracker: self.role.take_over(received),
            jobs: self.role.jobs.clone(),
            end: end.clone(),
            linger: self.config.linger,
            cell: self.cell.clone(),
            questions: questions.clone(),
            checkpoints: checkpoints.clone(),
        };
        let leadership = self.role.replicated(logs, term, writer, parts);
        tracing::info!(account = %hub.account(), %term, next = hub.next(), "leadership proposed");
        let watched = (self.lease.clone(), tenure.number);
        let left = leadership.run_replicated(&end, watched, (self.tasks, self.announcer), || {
            tracing::info!(account = %hub.account(), %term, "leadership began");
            self.gate.set(true);
            self.metrics.leader.set(1);
            hub.upstream().set_following(false);
            let _context = self.tasks.runtime.enter();
            self.serve_replicas(&end, (questions, checkpoints));
        });
        self.metrics.leader.set(0);
        self.gate.set(false);
        hub.upstream().set_following(true);
        let ReplicatedEnd { logs, place, reason } = left?;
        end.cancel();
        self.metrics.note_end(reason.as_ref());
        match &reason {
            Some(reason) => tracing::warn!(account = %hub.account(), %term, %reason, "leadership ended"),
            None => tracing::info!(account = %hub.account(), %term, "leadership ended"),
        }
        hub.upstream().update(|status| status.journal_unavailable = false);
        let mut received = received;
        received.oldest = hub.reader().extent().earliest_received;
        received.post = hub.upstream().last_post().or(received.post);
        self.local = Some(LocalLogs { logs, hub, dir, jobs, checkpoint, received });
        self.follower.set_place(place);
        Ok(reason)
    }

    /// Starts what the leader does for the other replicas.
    fn serve_replicas(&self, end: &Shutdown, (questions, checkpoints): (EndQuestions, EndQuestions)) {
        let sessions = self.tasks.sessions.until(end);
        let spawn = |name: &'static str, work: BoxFuture<'static, ()>| {
            let ended = end.clone();
            sessions.spawn(name, ExitPolicy::StopProcess, async move {
                ended.run_until_cancelled(work).await;
            });
        };
        let (hub, bus, clock) = (&self.hub, &self.bus, self.hub.clock());
        let announcing =
            replica_status::announce(hub.clone(), bus.clone(), self.config.name.clone(), self.cell.clone());
        spawn("status announcements", announcing.boxed());
        spawn("end of log", answer_questions(bus.clone(), questions, clock.clone()).boxed());
        let jobs = self.role.jobs.clone();
        spawn("orders of replicas", carry_out_orders(bus.clone(), hub.clone(), jobs, checkpoints).boxed());
    }
}
