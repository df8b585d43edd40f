//! The gateway of a history: one account, put together as in production, whose tasks all run on the paused runtime of the
//! history. It can be killed between any two steps of its tasks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local};

use super::plan::Setup;
use super::truth::{MINUTE, Ms, SECOND};
use super::x::{DATACENTERS, Link, X};
use crate::app::account::{self, FirstTurn};
use crate::app::maintenance::AccountMaintenance;
use crate::app::open_context::OpenContext;
use crate::app::role::{AccountRole, Leadership};
use crate::clock::Clock;
use crate::config::{AccountSettings, Datacenter, Settings};
use crate::gateway;
use crate::hub::Hub;
use crate::hub::token::Keyring;
use crate::ingest::{IngestQueue, WriteHalf};
use crate::journal::{Backend, Disk, SystemDisk};
use crate::model::{AccountName, TimeRange, UnixMillis};
use crate::secret;
use crate::task::Shutdown;
use crate::telemetry::metrics::Registry;

/// A gateway that runs.
pub(super) struct Gateway {
    pub hub: Arc<Hub>,
    pub metrics: Registry,
    account: gateway::Account,
    pub queue: IngestQueue,
    role: AccountRole,
    maintenance: JoinHandle<()>,
    running: RunningLeadership,
}

/// Tasks of a leadership.
struct RunningLeadership {
    end: Shutdown,
    sequencer: JoinHandle<WriteHalf>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

/// What outlives a gateway: its directory, its disk, and the upstream.
pub(super) struct Stage {
    pub setup: Setup,
    pub x: Arc<X>,
    pub dir: PathBuf,
    pub disk: Arc<TestDisk>,
}

/// A disk that can fail.
#[derive(Debug, Default)]
pub(super) struct TestDisk {
    /// It cannot read.
    pub is_unreadable: AtomicBool,
    /// Other programs have filled it.
    pub is_full: AtomicBool,
}

/// Free space below which the log is not appended to.
const HEADROOM_BYTES: u64 = 64 << 20;

impl Disk for TestDisk {
    fn write_at(&self, file: &std::fs::File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        SystemDisk.write_at(file, bytes, offset)
    }

    fn sync(&self, _: &std::fs::File) -> std::io::Result<()> {
        Ok(())
    }

    fn truncate(&self, file: &std::fs::File, length: u64) -> std::io::Result<()> {
        SystemDisk.truncate(file, length)
    }

    fn free_bytes(&self, _: &Path) -> std::io::Result<u64> {
        Ok(if self.is_full.load(Ordering::Relaxed) { HEADROOM_BYTES / 2 } else { u64::MAX })
    }

    fn read_at(&self, file: &std::fs::File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        if self.is_unreadable.load(Ordering::Relaxed) {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        SystemDisk.read_at(file, buffer, offset)
    }
}

fn datacenter(name: &str) -> Datacenter {
    Datacenter { name: name.to_owned(), url: format!("https://{name}.example.com").parse().expect("a URL") }
}

fn millis(duration: Ms) -> Duration {
    Duration::from_millis(duration.unsigned_abs())
}

thread_local!(static RANDOM: std::cell::Cell<u64> = const { std::cell::Cell::new(1) });

/// Sets the source of identities and jitter of this thread.
pub(super) fn seed_random(seed: u64) {
    RANDOM.set(seed);
}

/// SplitMix64.
fn random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Stage {
    fn settings(&self) -> Settings {
        let setup = &self.setup;
        let bearer = self.dir.join("bearer");
        std::fs::write(&bearer, "bearer").expect("the directory is ours");
        let mut account =
            AccountSettings::new(AccountName::new("main").expect("a name"), secret::SecretSource::File(bearer));
        match setup.datacenters {
            true => account.datacenters = DATACENTERS.map(datacenter).into(),
            false => account.connections = setup.connections,
        }
        let mut settings = Settings { data_dir: self.dir.join("data"), accounts: vec![account], ..Settings::default() };
        settings.journal.backend = if setup.files { Backend::Embedded } else { Backend::Memory };
        settings.journal.retention_age_max = millis(setup.retention);
        settings.journal.segment_bytes_max = 16 << 10;
        settings.journal.disk_headroom_bytes_min = HEADROOM_BYTES;
        settings.hub.ring_bytes_max = setup.ring_bytes;
        settings.hub.recovery_window = millis(setup.recovery_window);
        settings.hub.session_age_max = millis(setup.session_age);
        settings.ingest.recovery.window_max = millis(setup.request_max);
        settings.upstream.message_bytes_max = 4 << 10;
        settings
    }

    /// Starts it on a host whose clock is ahead of X's by so much.
    pub(super) fn start(&self, host_ahead: Ms) -> Gateway {
        self.start_with(self.settings(), host_ahead).expect("the log opens")
    }

    /// Starts it with these settings, of which the first account is opened.
    pub(super) fn start_with(&self, settings: Settings, host_ahead: Ms) -> anyhow::Result<Gateway> {
        self.x.note_start();
        let now = UnixMillis(self.x.now() + host_ahead);
        let metrics = Registry::new(now);
        let shared = OpenContext {
            settings,
            clock: Clock::of_runtime(now),
            metrics: metrics.clone(),
            keyring: Arc::new(Keyring::from_bytes(&[7; 32])),
            transport: Arc::new(Link(self.x.clone())),
            rule_transport: Arc::new(Link(self.x.clone())),
            disk: self.disk.clone(),
            replication: None,
            random,
        };
        let opened = account::open(&shared, &shared.settings.accounts[0])?;
        let (hub, account) = (opened.hub.clone(), opened.handle());
        let maintenance = maintain(opened.account_maintenance, self.x.clone(), self.setup.maintenance_interval);
        let FirstTurn::Leadership(leadership) = opened.first else { panic!("there are no replicas") };
        Ok(Gateway {
            hub,
            metrics,
            account,
            queue: leadership.queue.clone(),
            role: opened.role,
            maintenance: spawn_local(maintenance),
            running: RunningLeadership::start(*leadership),
        })
    }
}

impl RunningLeadership {
    fn start(leadership: Leadership) -> Self {
        let Leadership { sequencer, supervisors, recovery, queue } = leadership;
        let shared = queue.sequencer();
        // It is a sender of the queue.
        drop(queue);
        let end = Shutdown::new();
        let mut tasks: Vec<_> =
            supervisors.into_iter().map(|it| ("session", spawn_local(it.run(end.clone())))).collect();
        tasks.push(("recovery", spawn_local(recovery.run(end.clone()))));
        let sequencer = spawn_local(async move {
            let half = sequencer.write_shared(Shutdown::new(), &shared).await;
            half.expect("the ids are readable")
        });
        Self { end, sequencer, tasks }
    }

    /// Ends it as the role does.
    async fn end(self) -> Result<WriteHalf, String> {
        self.end.cancel();
        for (name, task) in self.tasks {
            task.await.map_err(|error| format!("{name}: {error}"))?;
        }
        self.sequencer.await.map_err(|error| format!("sequencer: {error}"))
    }
}

async fn maintain(mut account_maintenance: AccountMaintenance, x: Arc<X>, interval: Ms) {
    /// Once X behaves, nothing is killed that would need a recent checkpoint.
    const SETTLING_INTERVAL: Ms = 5 * SECOND;
    loop {
        let interval = if x.is_behaving() { interval.max(SETTLING_INTERVAL) } else { interval };
        tokio::time::sleep(millis(interval)).await;
        account_maintenance.step();
    }
}

impl Gateway {
    /// Ends it at once: nothing of it runs any more, and its files are closed. Returns why it would have ended by itself.
    pub(super) async fn kill(self) -> Result<(), String> {
        let RunningLeadership { sequencer, tasks, .. } = self.running;
        let mut ended = kill_task("sequencer", sequencer).await;
        for (name, task) in tasks.into_iter().chain([("maintenance", self.maintenance)]) {
            ended = ended.and(kill_task(name, task).await);
        }
        ended
    }

    /// Ends the leadership and begins another; sessions of subscribers stay.
    pub(super) async fn renew(self) -> Result<Self, String> {
        // It is a sender of the queue of the leadership that ends.
        drop(self.queue);
        let leadership = self.role.resume(self.running.end().await?);
        let queue = leadership.queue.clone();
        Ok(Self { queue, running: RunningLeadership::start(leadership), ..self })
    }

    /// Parts of this interval that GetCoverage calls complete.
    pub(super) fn complete(&self, from: Ms, to: Ms) -> Vec<(Ms, Ms)> {
        /// Length of a part.
        const PART: Ms = 4 * MINUTE;
        /// Bytes of the log that a question may read.
        const BYTES_MAX: u64 = 64 << 20;
        let parts = (from..to).step_by(PART as usize).map(|from| (from, to.min(from + PART)));
        let is_complete = |(from, to): &(Ms, Ms)| {
            let part = TimeRange::new(UnixMillis(*from), UnixMillis(*to));
            self.account.coverage(part, BYTES_MAX).is_ok_and(|coverage| coverage.is_complete())
        };
        parts.filter(is_complete).collect()
    }

    /// All counters, each the sum over its labels.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = HashMap::new();
        for line in self.metrics.encode().lines() {
            let Some((labelled, value)) = line.rsplit_once(' ') else { continue };
            let name = labelled.split('{').next().and_then(|name| name.strip_suffix("_total"));
            let name = name.and_then(|name| name.strip_prefix("powerstream_gateway_"));
            if let Some((name, value)) = name.zip(value.parse::<f64>().ok()) {
                *counters.entry(name.to_owned()).or_default() += value as u64;
            }
        }
        Counters(counters)
    }
}

async fn kill_task<T>(name: &str, task: JoinHandle<T>) -> Result<(), String> {
    let by_itself = task.is_finished();
    task.abort();
    match task.await {
        Err(error) if error.is_panic() => Err(format!("{name} panicked: {}", text(error.into_panic().as_ref()))),
        _ if by_itself => Err(format!("{name} ended by itself")),
        _ => Ok(()),
    }
}

/// Counters of a gateway by name.
pub(super) struct Counters(HashMap<String, u64>);

impl Counters {
    /// The counter of this name; 0 before its first series.
    pub(super) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// The message of a panic.
pub(super) fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no text").to_owned()
}
