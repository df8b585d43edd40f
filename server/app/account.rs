use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Handle;
use url::Url;

use super::maintenance::Chores;
use super::opening::Runners;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::gateway;
use crate::hub::{self, Hub};
use crate::ingest::gap_tracker::{self, Ledger};
use crate::ingest::recovery::{self, AccountGaps, Recovery};
use crate::ingest::side_log_writer::{self, SideError, SideLog};
use crate::ingest::{self, Place, Queue, Sequencer, Session, Writing, dedup};
use crate::journal::{self, Backend, Identity, Journal};
use crate::model::{Epoch, Sequence, Term};
use crate::task::{OnExit, Shutdown};
use crate::telemetry::metrics::{Part, Registry};
use crate::upstream;
use crate::xapi::{Credentials, Transport};

/// What all accounts are opened with.
#[derive(Clone)]
pub(super) struct Shared {
    pub settings: Settings,
    pub clock: Clock,
    pub metrics: Registry,
    pub keyring: Arc<hub::token::Keyring>,
    pub transport: Arc<dyn Transport>,
    /// The disk of the logs.
    pub disk: Arc<dyn journal::Disk>,
    /// Source of identities and of jitter.
    pub random: fn() -> u64,
}

impl Shared {
    fn random_epoch(&self) -> Epoch {
        Epoch(u128::from((self.random)()) << 64 | u128::from((self.random)()))
    }
}

/// An account whose log is open, and that does nothing yet.
pub(super) struct Opened {
    pub(super) hub: Arc<Hub>,
    index: Arc<dedup::Index>,
    gaps: Arc<AccountGaps>,
    pub(super) sessions: Vec<Session>,
    pub(super) recovery: Recovery,
    pub(super) sequencer: Sequencer,
    pub(super) chores: Chores,
}

/// Opens an account, with upstream time of its own. Its metrics are shown if that succeeds: it may be tried again.
pub(super) fn open(shared: &Shared, account: &config::Account) -> anyhow::Result<Opened> {
    let staged = Registry::staged();
    let own = Shared { clock: shared.clock.for_account(), metrics: staged.clone(), ..shared.clone() };
    let opened = open_with(&own, account).with_context(|| format!("account {}", account.name))?;
    shared.metrics.adopt(staged);
    Ok(opened)
}

fn open_with(shared: &Shared, account: &config::Account) -> anyhow::Result<Opened> {
    let Shared { settings, clock, metrics, .. } = shared;
    let name = &account.name;
    let dir = settings.data_dir.join("accounts").join(name.as_str());
    let identity = Identity { epoch: shared.random_epoch(), term: Term((shared.random)()) };
    let Journal { writer, reader, mut upkeep, torn_bytes, .. } =
        journal::open_with(&settings.journal, &dir, identity, clock.now(), &shared.disk)?;
    let ids_config = ids_config(settings);
    upkeep.keep_ages(ids_config.horizon);
    let files = metrics.account(name, journal::Metrics::register);
    files.torn_bytes.inc_by(torn_bytes);
    let extent = reader.extent();
    tracing::info!(
        account = %name, epoch = %reader.epoch(), term = %identity.term, earliest = extent.earliest,
        next = extent.next, torn_bytes, "the log is open",
    );
    let side = open_side(shared, account, &dir, &*reader, identity)?;
    let ring_start = ingest::ring_start(&*reader, settings.hub.ring_bytes_max);
    let hub = open_hub(shared, account, &dir, (reader.clone(), side.reader), ring_start);
    let mut ids = open_ids(shared, account, &ids_config, &dir.join("ids"), reader.epoch())?;
    ids.rebuild_from(reader.clone());
    let ledger = open_ledger(shared, account, &dir, &hub, || {
        ingest::restore(&reader, &mut ids.seen, &mut ids.upkeep, &hub, ring_start)
    })?;

    let (queue, intakes) = ingest::queue(settings.ingest.queue_bytes_max);
    let counters = metrics.account(name, ingest::Metrics::register);
    let writing = Writing {
        writer,
        hub: hub.clone(),
        seen: ids.seen,
        side: side.writer,
        ledger: ledger.clone(),
        term: identity.term,
        metrics: counters.clone(),
    };
    let recovery = recovery(shared, account, &dir, &hub, &ledger, (&queue, &counters));
    let mut chores = Chores {
        hub: hub.clone(),
        ledger: ledger.clone(),
        recovery: recovery.desk(),
        journal: upkeep,
        ids: ids.upkeep,
        side: side.upkeep,
        metrics: files,
        runtime: Handle::current(),
        clock: clock.clone(),
        failing: false,
    };
    // Once before anything is read: a disk that is full is known from the start.
    chores.step();
    Ok(Opened {
        sessions: sessions(shared, account, &hub, &ledger, &queue, &counters),
        recovery,
        gaps: Arc::new(AccountGaps::new(hub.clone(), ledger)),
        sequencer: Sequencer::new(writing, intakes, clock.clone(), settings.ingest.clone()),
        chores,
        index: ids.index,
        hub,
    })
}

/// The hub over the account's logs, with the corrections of upstream time that were kept.
fn open_hub(
    shared: &Shared,
    account: &config::Account,
    dir: &Path,
    (reader, side): (Arc<dyn journal::Reader>, Arc<dyn journal::Reader>),
    ring_start: Sequence,
) -> Arc<Hub> {
    let Shared { settings, clock, metrics, .. } = shared;
    let name = &account.name;
    let parts = hub::Parts {
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
    if settings.journal.backend == Backend::Embedded {
        hub.times().open(dir.join("times.json"), reader.epoch());
    }
    hub
}

fn open_side(
    shared: &Shared,
    account: &config::Account,
    dir: &Path,
    main: &dyn journal::Reader,
    identity: Identity,
) -> Result<SideLog, SideError> {
    let settings = &shared.settings;
    side_log_writer::open(&side_log_writer::Setup {
        account: &account.name,
        main,
        dir,
        journal: &settings.journal,
        ids: &settings.ingest.dedup,
        bytes_max: settings.ingest.side_bytes_max,
        window: settings.hub.recovery_window,
        identity: Identity { epoch: shared.random_epoch(), ..identity },
        now: shared.clock.now(),
    })
}

/// Settings of the ids of seen posts, with the horizon that the contract asks for.
fn ids_config(settings: &Settings) -> dedup::Config {
    let mut config = settings.ingest.dedup.clone();
    config.raise(settings.journal.retention_age_max);
    config
}

/// Opens the ids of seen posts. A damaged file is set aside, loudly: what the journal holds of it is noted again.
fn open_ids(
    shared: &Shared,
    account: &config::Account,
    config: &dedup::Config,
    dir: &Path,
    epoch: Epoch,
) -> anyhow::Result<dedup::Dedup> {
    let Shared { settings, clock, metrics, .. } = shared;
    let in_files = settings.journal.backend == Backend::Embedded;
    let counters = metrics.account(&account.name, dedup::Metrics::register);
    loop {
        let dir = in_files.then_some(dir);
        match dedup::open(dir, config, epoch, clock.now(), counters.clone()) {
            Err(error @ dedup::Error::Damaged { .. }) => {
                tracing::error!(account = %account.name, %error, "setting a damaged file of post ids aside");
                if let dedup::Error::Damaged { path, .. } = &error {
                    dedup::set_aside(path)?;
                }
            }
            opened => return Ok(opened?),
        }
    }
}

/// Takes the log up again, and finds what is missing from it.
fn open_ledger(
    shared: &Shared,
    account: &config::Account,
    dir: &Path,
    hub: &Arc<Hub>,
    restore: impl FnOnce() -> Result<ingest::Received, ingest::RestoreError>,
) -> Result<Arc<Ledger>, ingest::RestoreError> {
    let settings = &shared.settings;
    let received = restore()?;
    let logged = ingest::restore_gaps(&**hub.reader(), hub)?;
    let setup = gap_tracker::Setup {
        hub: hub.clone(),
        config: settings.ingest.gaps.clone(),
        // What recovery would leave alone at the far end is lost like what is beyond it.
        recovery_window: settings.hub.recovery_window.saturating_sub(settings.ingest.recovery.clip),
        feeds: feeds(account),
        file: (settings.journal.backend == Backend::Embedded).then(|| dir.join("gaps.json")),
        metrics: shared.metrics.account(&account.name, gap_tracker::Metrics::register),
    };
    Ok(Arc::new(Ledger::open(setup, logged, received)))
}

/// One for each connection that the account keeps.
fn sessions(
    shared: &Shared,
    account: &config::Account,
    hub: &Arc<Hub>,
    ledger: &Arc<Ledger>,
    queue: &Queue,
    counters: &ingest::Metrics,
) -> Vec<Session> {
    let metrics = shared.metrics.account(&account.name, upstream::Metrics::register);
    let session = |(connection, (feed, url, local_dc_only)): (usize, (usize, &Url, bool))| {
        let upstream = ingest::Upstream {
            transport: shared.transport.clone(),
            base_url: url.clone(),
            credentials: Credentials::new(account.bearer.clone()),
            local_dc_only,
            config: shared.settings.upstream.clone(),
            metrics: metrics.clone(),
        };
        let (hub, ledger, queue) = (hub.clone(), ledger.clone(), queue.clone());
        let seed = (shared.random)();
        Session::new(hub, upstream, Place { feed, connection }, ledger, queue, counters.clone(), seed)
    };
    connections(account).into_iter().enumerate().map(session).collect()
}

/// The names of the feeds: a feed is known by its datacenter, wherever that is in the list.
fn feeds(account: &config::Account) -> Vec<String> {
    if account.datacenters.is_empty() {
        return vec![gap_tracker::ALL_FEEDS.to_owned()];
    }
    account.datacenters.iter().map(|datacenter| datacenter.name.clone()).collect()
}

/// The feed that each connection carries, its endpoint, and whether it carries the posts of one datacenter only.
fn connections(account: &config::Account) -> Vec<(usize, &Url, bool)> {
    if account.datacenters.is_empty() {
        return vec![(0, &account.url, account.local_dc_only); usize::from(account.connections)];
    }
    account.datacenters.iter().enumerate().map(|(feed, datacenter)| (feed, &datacenter.url, true)).collect()
}

/// One for the whole account: its jobs ask for the posts of all datacenters.
fn recovery(
    shared: &Shared,
    account: &config::Account,
    dir: &Path,
    hub: &Arc<Hub>,
    ledger: &Arc<Ledger>,
    (queue, counters): (&Queue, &ingest::Metrics),
) -> Recovery {
    let Shared { settings, metrics, .. } = shared;
    let connections = |part: &mut Part| upstream::Metrics::register(part.sub_registry_with_prefix("recovery"));
    let upstream = ingest::Upstream {
        transport: shared.transport.clone(),
        base_url: account.url.clone(),
        credentials: Credentials::new(account.bearer.clone()),
        local_dc_only: account.local_dc_only,
        config: settings.upstream.clone(),
        metrics: metrics.account(&account.name, connections),
    };
    Recovery::open(recovery::Parts {
        hub: hub.clone(),
        upstream,
        queue: queue.clone(),
        demand: ledger.clone(),
        file: (settings.journal.backend == Backend::Embedded).then(|| dir.join("jobs.json")),
        config: settings.ingest.recovery.clone(),
        ingest_metrics: counters.clone(),
        metrics: metrics.account(&account.name, recovery::Metrics::register),
        seed: (shared.random)(),
    })
}

impl Opened {
    /// The account as the faces see it.
    pub(super) fn face(&self) -> gateway::Account {
        gateway::Account {
            hub: self.hub.clone(),
            index: self.index.clone(),
            gaps: self.gaps.clone(),
            recovery: self.recovery.desk(),
        }
    }

    /// Starts writing, housekeeping, and then the connection.
    pub(super) fn spawn(self, runners: &Runners) {
        let Runners { sessions, writers, upstream, giving_up, .. } = runners;
        let Self { hub, sessions: connections, recovery, sequencer, mut chores, .. } = self;
        let written = Shutdown::new();
        let (done, process, giving_up) = (written.clone(), writers.clone(), giving_up.clone());
        writers.thread("sequencer", OnExit::StopProcess, move || {
            if let Err(error) = sequencer.run(&giving_up) {
                process.fail(format!("account {}: {error}", hub.account()));
            }
            done.cancel();
        });
        writers.thread("upkeep", OnExit::StopProcess, move || chores.run(&written));
        for session in connections {
            // X cuts who reads too slowly, however many subscribers want their turn.
            sessions.spawn_apart("upstream session", OnExit::StopProcess, session.run(upstream.clone()));
        }
        sessions.spawn("recovery", OnExit::StopProcess, recovery.run(upstream.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whatever is configured: a post that the log still holds, or that X may send again, is known.
    #[test]
    fn post_ids_outlast_log_and_recovery() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        for (horizon, retention, expected) in [(1, 1, 24), (1, 72, 72), (100, 72, 100)] {
            let mut settings = Settings::default();
            settings.ingest.dedup.horizon = hours(horizon);
            settings.journal.retention_age_max = hours(retention);
            assert_eq!(ids_config(&settings).horizon, hours(expected), "{horizon} h, retention {retention} h");
        }
    }
}
