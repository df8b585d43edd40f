//! An account: opening its log and the parts that outlive a leadership, and starting their tasks.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Handle;

use super::account_rules::{self, RuleTasks};
use super::account_tasks::AccountTasks;
use super::maintenance::{AccountMaintenance, ReplicaMaintenance};
use super::open_context::OpenContext;
use super::replica_link::{LeaderName, SharedReplica};
use super::replica_metrics::ReplicaMetrics;
use super::replica_opening::{ReplicaOpening, check_alone};
use super::replica_role::{CheckpointGate, ReplicaRole};
use super::replication::run_while_leading;
use super::role::{AccountRole, Leadership, RoleOpening};
use super::rule_events::on_drift;
use crate::config::{self, Settings};
use crate::gateway;
use crate::hub::{self, Hub};
use crate::ingest::replication::{EndConfirmer, Follower, LeaderOrders, LocalLogs, PlaceCell};
use crate::ingest::side_log_writer::{self, OpenedSideLog, SideError};
use crate::ingest::{self, WriteHalf, dedup};
use crate::journal::{self, Backend, Journal, TimedDisk, WriterIdentity};
use crate::model::{Epoch, Sequence, Term};
use crate::task::{ExitPolicy, Shutdown};
use crate::telemetry::metrics::Registry;

/// An account whose log is open and whose tasks have not started.
pub(super) struct AccountRuntime {
    pub(super) hub: Arc<Hub>,
    index: Arc<dedup::DedupIndex>,
    counters: Arc<gateway::AccountCounters>,
    pub(super) role: AccountRole,
    pub(super) first: FirstTurn,
    pub(super) rules: RuleTasks,
    pub(super) account_maintenance: AccountMaintenance,
}

/// How the role of an account begins.
pub(super) enum FirstTurn {
    /// Without other replicas it leads.
    Leadership(Box<Leadership>),
    /// A replica follows.
    Replica(Box<ReplicaRole>),
}

impl FirstTurn {
    /// Returns the orders of a replica.
    fn orders(&self) -> Option<Arc<LeaderOrders>> {
        match self {
            Self::Leadership(_) => None,
            Self::Replica(replica) => Some(replica.orders.clone()),
        }
    }
}

/// Opens an account with its own upstream clock. Its metrics are registered only on success, because opening can be
/// retried.
pub(super) fn open(shared: &OpenContext, account: &config::AccountSettings) -> anyhow::Result<AccountRuntime> {
    let staged = Registry::staged();
    let own = OpenContext { clock: shared.clock.for_account(), metrics: staged.clone(), ..shared.clone() };
    let opened = open_with(&own, account).with_context(|| format!("account {}", account.name))?;
    shared.metrics.adopt(staged);
    Ok(opened)
}

fn open_with(shared: &OpenContext, account: &config::AccountSettings) -> anyhow::Result<AccountRuntime> {
    let dir = shared.settings.data_dir.join("accounts").join(account.name.as_str());
    let mut replica = match &shared.replication {
        Some(replication) => Some(ReplicaOpening::join(replication, shared, account, &dir)?),
        None => {
            check_alone(&dir)?;
            None
        }
    };
    let guarded = replica.as_ref().map(|replica| replica.guarded(shared));
    let shared = guarded.as_ref().unwrap_or(shared);
    let OpenContext { settings, clock, metrics, .. } = shared;
    let name = &account.name;
    let identity = WriterIdentity { epoch: shared.random_epoch(), term: Term((shared.random)()) };
    let files = metrics.account(name, journal::Metrics::register);
    files.retention.set(settings.journal.retention_age_max.as_secs());
    let disk: Arc<dyn journal::Disk> = Arc::new(TimedDisk::new(shared.disk.clone(), clock.clone(), &files));
    let opened = match &mut replica {
        Some(replica) => replica.open_log(shared, &dir, identity.term, &disk)?,
        None => journal::open_with(&settings.journal, &dir, identity, clock.now(), &disk)?,
    };
    let Journal { writer, reader, mut maintenance, torn_bytes, .. } = opened;
    let ids_config = ids_config(settings);
    maintenance.keep_ages(ids_config.window);
    files.torn_bytes.inc_by(torn_bytes);
    log_opened(account, &*reader, identity.term, torn_bytes);
    let side_epoch = replica.as_ref().map(|replica| replica.identity.side_epoch);
    let side = open_side(shared, account, &dir, &*reader, (identity, side_epoch))?;
    let ring_start = ingest::ring_start(&*reader, settings.hub.ring_bytes_max);
    let hub = open_hub(shared, account, &dir, (reader.clone(), side.reader), ring_start);
    let mut ids = open_ids(shared, account, &ids_config, &dir.join("ids"), reader.epoch())?;
    ids.rebuild_from(reader.clone());
    let received = ingest::restore(&reader, &mut ids.seen, &mut ids.maintenance, &hub, ring_start)?;
    let counters = Arc::new(gateway::AccountCounters {
        ingest: metrics.account(name, ingest::Metrics::register),
        journal: files.clone(),
        retention: settings.journal.clone(),
    });
    let opening = RoleOpening::new(shared, account, &dir, &hub, counters.ingest.clone(), received)?;
    let mut account_maintenance = AccountMaintenance {
        hub: hub.clone(),
        gaps: opening.gaps.clone(),
        recovery: opening.recovery.jobs(),
        journal: maintenance,
        ids: ids.maintenance,
        side: side.maintenance,
        metrics: files,
        replica: None,
        runtime: Handle::current(),
        clock: clock.clone(),
        failing: false,
    };
    // The first step runs before anything is read, so that a full disk is detected at start.
    account_maintenance.step();
    let rules = account_rules::open(shared, account, &hub)?;
    let logs = WriteHalf { writer, seen: ids.seen, side: side.writer };
    let (role, first) = match replica {
        None => {
            let (role, leadership) = opening.begin(logs, identity.term, rules.observer.feed());
            (role, FirstTurn::Leadership(Box::new(leadership)))
        }
        Some(replica) => {
            let (jobs, dir) = (Some(opening.recovery.jobs()), Some(dir));
            let local = LocalLogs { logs, hub: hub.clone(), dir, jobs, checkpoint: None, received };
            let replica = replica_role(shared, replica, local, &mut account_maintenance)?;
            (opening.follow(rules.observer.feed()), FirstTurn::Replica(Box::new(replica)))
        }
    };
    Ok(AccountRuntime { role, first, rules, account_maintenance, index: ids.index, counters, hub })
}

/// Creates the role of a replica, and lets maintenance write its place. From now on the hub knows that its log may end before
/// that of other replicas.
fn replica_role(
    shared: &OpenContext,
    replica: ReplicaOpening,
    local: LocalLogs,
    maintenance: &mut AccountMaintenance,
) -> anyhow::Result<ReplicaRole> {
    let ReplicaOpening { shared: quorum, identity, lease: (lease, lease_task), place, file, .. } = replica;
    let (cell, gate) = (PlaceCell::new(place.clone()), CheckpointGate::default());
    let (bus, leader) = (quorum.bus.clone(), LeaderName::default());
    let metrics = shared
        .metrics
        .account(local.hub.account(), |part| ReplicaMetrics::register(part, &cell, &leader, lease.clone()));
    let config = shared.settings.replication.clone();
    let confirmer = EndConfirmer::new(bus.clone(), shared.clock.clone(), cell.clone(), config.token_wait);
    let jobs = maintenance.recovery.clone();
    let orders = Arc::new(LeaderOrders::new(bus.clone(), local.hub.clone(), jobs, cell.clone()));
    let (name, own) = (config.name.clone(), orders.clone());
    let link = SharedReplica { name, leader: leader.clone(), cell: cell.clone(), confirmer, orders: own };
    local.hub.upstream().set_replicas(Arc::new(link));
    let follower = Follower::new(local.hub.account().clone(), quorum, shared.clock.clone(), identity, place)?;
    maintenance.replica = Some(ReplicaMaintenance { gate: gate.clone(), cell: cell.clone(), file });
    Ok(ReplicaRole {
        follower: follower.with_cell(cell.clone()).with_counters(metrics.found.clone()),
        local,
        lease,
        lease_task,
        config,
        leader,
        orders,
        gate,
        cell,
        bus,
        metrics,
        random: shared.random,
    })
}

fn log_opened(account: &config::AccountSettings, reader: &dyn journal::Reader, term: Term, torn_bytes: u64) {
    let extent = reader.extent();
    tracing::info!(
        account = %account.name, epoch = %reader.epoch(), %term, earliest = extent.earliest,
        next = extent.next, torn_bytes, "journal opened",
    );
}

/// Creates the hub over the account's logs and applies the stored corrections of upstream time.
fn open_hub(
    shared: &OpenContext,
    account: &config::AccountSettings,
    dir: &Path,
    (reader, side): (Arc<dyn journal::Reader>, Arc<dyn journal::Reader>),
    ring_start: Sequence,
) -> Arc<Hub> {
    let OpenContext { settings, clock, metrics, .. } = shared;
    let name = &account.name;
    let parts = hub::HubParts {
        account: name.clone(),
        config: settings.hub.clone(),
        tags: account.tags.clone(),
        clock: clock.clone(),
        reader: reader.clone(),
        side,
        keyring: shared.keyring.clone(),
        metrics: metrics.account(name, hub::Metrics::register),
    };
    let hub = Arc::new(Hub::new(parts, ring_start));
    metrics.account(name, |part| hub::gauges::register(&hub, part));
    if settings.journal.backend == Backend::Embedded {
        hub.times().open(dir.join("times.json"), reader.epoch());
    }
    hub
}

fn open_side(
    shared: &OpenContext,
    account: &config::AccountSettings,
    dir: &Path,
    main: &dyn journal::Reader,
    (identity, shared_epoch): (WriterIdentity, Option<Epoch>),
) -> Result<OpenedSideLog, SideError> {
    let settings = &shared.settings;
    side_log_writer::open(&side_log_writer::SideLogParams {
        account: &account.name,
        main,
        dir,
        journal: &settings.journal,
        ids: &settings.ingest.dedup,
        bytes_max: settings.ingest.side_log_bytes_max,
        window: settings.hub.recovery_window,
        identity: WriterIdentity { epoch: shared_epoch.unwrap_or_else(|| shared.random_epoch()), ..identity },
        is_shared: shared_epoch.is_some(),
        now: shared.clock.now(),
    })
}

/// Returns the settings of the post id store, with the deduplication window that the contract requires.
fn ids_config(settings: &Settings) -> dedup::Config {
    let mut config = settings.ingest.dedup.clone();
    config.raise(settings.journal.retention_age_max);
    config
}

/// Opens the store of seen post ids. A damaged file is set aside and logged; the ids that the journal contains are
/// recorded again.
fn open_ids(
    shared: &OpenContext,
    account: &config::AccountSettings,
    config: &dedup::Config,
    dir: &Path,
    epoch: Epoch,
) -> anyhow::Result<dedup::Dedup> {
    let OpenContext { settings, clock, metrics, .. } = shared;
    let in_files = settings.journal.backend == Backend::Embedded;
    let counters = metrics.account(&account.name, dedup::Metrics::register);
    loop {
        let dir = in_files.then_some(dir);
        match dedup::open(dir, config, epoch, clock.now(), counters.clone()) {
            Err(error @ dedup::DedupError::Damaged { .. }) => {
                tracing::error!(account = %account.name, %error, "post id file is damaged, set aside");
                if let dedup::DedupError::Damaged { path, .. } = &error {
                    dedup::quarantine(path)?;
                }
            }
            opened => {
                let opened = opened?;
                if opened.stale_files > 0 {
                    tracing::warn!(account = %account.name, files = opened.stale_files, "id files of another log quarantined");
                }
                return Ok(opened);
            }
        }
    }
}

impl AccountRuntime {
    /// Returns the account as the gRPC and HTTP servers use it.
    pub(super) fn handle(&self) -> gateway::Account {
        gateway::Account {
            hub: self.hub.clone(),
            index: self.index.clone(),
            gaps: self.role.gaps.clone(),
            recovery: self.role.jobs.clone(),
            orders: self.first.orders(),
            counters: self.counters.clone(),
            rules: self.rules.executor.rules.clone(),
        }
    }

    /// Starts the role of the account with its first leadership, and the tasks that outlive a leadership.
    pub(super) fn spawn(self, runners: &AccountTasks) {
        let AccountTasks { sessions, writers, upstream, .. } = runners;
        let Self { hub, role, first, rules, mut account_maintenance, .. } = self;
        let RuleTasks { executor, observer, announcer } = rules;
        let written = Shutdown::new();
        let (done, process, tasks) = (written.clone(), writers.clone(), runners.clone());
        let lease = match &first {
            FirstTurn::Leadership(_) => None,
            FirstTurn::Replica(replica) => Some(replica.lease.clone()),
        };
        writers.thread("sequencer", ExitPolicy::StopProcess, move || {
            let ended = match first {
                FirstTurn::Leadership(leadership) => role.run(*leadership, &tasks, &announcer).map_err(Into::into),
                FirstTurn::Replica(replica) => replica.run(&role, &tasks, &announcer),
            };
            if let Err(error) = ended {
                process.fail(format!("account {}: {error}", hub.account()));
            }
            done.cancel();
        });
        writers.thread("maintenance", ExitPolicy::StopProcess, move || account_maintenance.run(&written));
        let observing = observer.run(upstream.clone(), on_drift(executor.rules.clone()));
        sessions.spawn_dedicated("rule observer", ExitPolicy::StopProcess, observing);
        let executing = executor.run(upstream.clone());
        match lease {
            None => sessions.spawn("rules", ExitPolicy::StopProcess, executing),
            Some(lease) => {
                let upstream = upstream.clone();
                let executing = async move {
                    upstream.run_until_cancelled(run_while_leading(lease, executing)).await;
                };
                sessions.spawn("rules", ExitPolicy::StopProcess, executing);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The deduplication window covers retention and the recovery window, whatever is configured.
    #[test]
    fn post_ids_outlast_log_and_recovery() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        for (window, retention, expected) in [(1, 1, 24), (1, 72, 72), (100, 72, 100)] {
            let mut settings = Settings::default();
            settings.ingest.dedup.window = hours(window);
            settings.journal.retention_age_max = hours(retention);
            assert_eq!(ids_config(&settings).window, hours(expected), "{window} h, retention {retention} h");
        }
    }
}
