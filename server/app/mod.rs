//! Assembles the gateway. This is the only module that imports every other module.
//!
//! Owns: opening the accounts, wiring components, binding the ports, and the order of shutdown (`shutdown`). Does not
//! own: any behavior of its own; every rule is in a lower module.
//!
//! Invariants and their tests (`tests/it`):
//! - No port is bound and no upstream connection is opened before the log of every account is open and locked, or has
//!   failed to open.
//! - A log is restored (post ids, ring buffer) before any session can subscribe to it.
//! - Shutdown takes at most `shutdown_timeout`, independent of clients and upstream (I16).
//! - An account that cannot be opened does not stop the others, unless no account can be opened.
//! - The failure of an essential task stops the process and is reported as the reason.

mod account;
mod account_rules;
mod account_tasks;
mod admin;
mod effective_config;
mod leadership_parts;
mod live_keys;
mod maintenance;
mod open_context;
mod opening;
mod reload;
mod replica_link;
mod replica_metrics;
mod replica_opening;
mod replica_role;
mod replica_status;
mod replication;
mod role;
mod rule_events;
mod shutdown;
mod status;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use self::account_tasks::{AccountTasks, LeadershipOrders};
use self::admin::{AdminRpc, ProcessOperator};
use self::effective_config::EffectiveConfig;
pub use self::live_keys::LIVE_KEYS;
use self::live_keys::LiveParts;
pub use self::reload::ConfigSource;
use self::reload::ReloadRequests;
use self::replication::Replication;
use self::status::RunningProcess;
use self::tls::TlsListeners;
use crate::access::jwt::KeyRefresher;
use crate::access::{Access, AccessControl, LimitMetrics};
use crate::clock::Clock;
use crate::config::{ConfigOrigins, Settings};
use crate::gateway::Gateway;
use crate::http::status_page::{StatusPage, StatusSource};
use crate::journal::SystemDisk;
use crate::model::AccountName;
use crate::quorum::MemoryCluster;
use crate::task::{ExitPolicy, Shutdown, TaskGroup};
use crate::telemetry::metrics::{ComputedGauge, Registry};
use crate::telemetry::{LogFilterOverride, stages};
use crate::xapi;
use crate::{grpc, http};

/// Options of a start.
#[derive(Default)]
pub struct StartOptions {
    /// An account that cannot be opened is an error.
    pub strict: bool,
    /// Reads the configuration again, and its file, if it has one. `None`: only files that the settings name are.
    pub source: Option<(ConfigSource, Option<PathBuf>)>,
    /// Layers that the values of the settings come from, if they are known.
    pub origins: Option<ConfigOrigins>,
    /// Shared logs of replicas in this process, in place of `replication.nats`. For tests.
    #[doc(hidden)]
    pub memory_cluster: Option<MemoryCluster>,
}

/// A running gateway.
pub struct App {
    settings: Settings,
    clock: Clock,
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    reload: Arc<ReloadRequests>,
    effective: Arc<EffectiveConfig>,
    process: Arc<RunningProcess>,
    metrics: Registry,
    tasks: TaskGroup,
    /// Upstream connections.
    sessions: TaskGroup,
    /// Sequencers and maintenance.
    writers: TaskGroup,
    stages: ShutdownStages,
    leaderships: LeadershipOrders,
    tls: TlsListeners,
    grpc_address: SocketAddr,
    admin_address: SocketAddr,
}

/// Components that shutdown stops one after the other.
struct ShutdownStages {
    upstream: Shutdown,
    /// Cancelled to make writers that still wait for the journal give up.
    giving_up: Shutdown,
    faces: Shutdown,
}

impl App {
    /// Opens the accounts, binds the ports and connects. An account that cannot be opened is retried later. Must be
    /// called within a tokio runtime.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        Self::start_with(settings, StartOptions::default()).await
    }

    /// As [`App::start`], with options.
    pub async fn start_with(settings: Settings, options: StartOptions) -> anyhow::Result<Self> {
        let StartOptions { strict, source, origins, memory_cluster } = options;
        let access = load_access(&settings)?;
        let clock = settings.clock.clock();
        let metrics = Registry::new(clock.now());
        stages::register(&metrics);
        let tasks = TaskGroup::new();
        let keyring = Arc::new(reload::keyring(&settings.token_key_files, &settings.data_dir)?);
        let tls = TlsListeners::load(&settings, &clock, &metrics)?;
        let client = xapi::Client::new(&settings.upstream.client_options(), &clock)
            .context("invalid settings in section `upstream`")?;
        let parts = open_context::OpenContext {
            settings: settings.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            keyring: keyring.clone(),
            transport: Arc::new(client.clone()),
            rule_transport: Arc::new(client),
            disk: Arc::new(SystemDisk),
            replication: Replication::start(&settings, &clock, memory_cluster).await?,
            random: || rand::rng().random(),
        };
        let shared = parts.clone();
        let attempts = tokio::task::spawn_blocking(move || opening::open_all(&parts)).await?;
        let attempts = opening::failure(attempts, strict)?;
        let grpc_listener = grpc::bind(settings.grpc.address)
            .with_context(|| format!("cannot listen on {} (grpc.address)", settings.grpc.address))?;
        let admin_listener = TcpListener::bind(settings.admin.address)
            .await
            .with_context(|| format!("cannot listen on {} (admin.address)", settings.admin.address))?;
        let default_account = settings.default_account.as_deref().and_then(|name| AccountName::new(name).ok());
        let gateway = Arc::new(Gateway::new().with_default_account(default_account));
        let access = access_control(access, &settings, &clock, &metrics);
        register_draining(&gateway, &metrics);
        let listeners: Vec<_> = tls.all().cloned().collect();
        let effective = Arc::new(EffectiveConfig::new((settings.clone(), origins)));
        let read = (effective.clone(), access.clone(), listeners.clone());
        let process = Arc::new(RunningProcess::new(read, reload::ReloadMetrics::register(&metrics), clock.clone()));
        let reloads = (process.reloads.clone(), keyring, listeners);
        let (shown, own) = (effective.clone(), access.clone());
        let reloader = reload::Reloader::new(source, &settings, own, gateway.clone(), reloads, shown, clock.clone());
        let stages = ShutdownStages { upstream: Shutdown::new(), giving_up: Shutdown::new(), faces: Shutdown::new() };
        let app = Self {
            reload: reloader.requests(),
            effective,
            process,
            access,
            grpc_address: grpc_listener.local_addr()?,
            admin_address: admin_listener.local_addr()?,
            leaderships: LeadershipOrders::new(&stages.upstream),
            stages,
            sessions: tasks.group(),
            writers: tasks.group(),
            tls,
            settings,
            clock,
            gateway,
            metrics,
            tasks,
        };
        let runners = app.runners();
        let settle = |attempt: opening::AccountOpening| attempt.settle(&shared, &runners, &app.tasks);
        let opened: Vec<_> = attempts.into_iter().filter_map(settle).collect();
        let live = app.serve(grpc_listener, admin_listener);
        app.refresh_keys();
        app.tasks.spawn("reload", ExitPolicy::StopProcess, reloader.run(live, app.stages.faces.clone()));
        opened.into_iter().for_each(|account| account.spawn(&runners));
        app.gateway.set_ready(true);
        Ok(app)
    }

    fn refresh_keys(&self) {
        let gateway = self.gateway.clone();
        let wake = move || gateway.accounts().iter().for_each(|account| account.hub.registry().wake_all());
        let keys = KeyRefresher::new(self.access.clone(), self.clock.clone(), &self.metrics, wake);
        self.tasks.spawn("key sets", ExitPolicy::StopProcess, keys.run(self.stages.faces.clone()));
    }

    fn runners(&self) -> AccountTasks {
        AccountTasks {
            gateway: self.gateway.clone(),
            sessions: self.sessions.clone(),
            writers: self.writers.clone(),
            upstream: self.stages.upstream.clone(),
            giving_up: self.stages.giving_up.clone(),
            leaderships: self.leaderships.clone(),
            runtime: Handle::current(),
        }
    }

    fn serve(&self, grpc_listener: TcpListener, admin_listener: TcpListener) -> LiveParts {
        let (config, access) = (self.settings.grpc.clone(), self.access.clone());
        let calls = grpc::Metrics::register(&self.metrics);
        let transport = (self.tls.grpc.clone(), calls.clone());
        let server = grpc::GrpcServer::new(config, self.gateway.clone(), access, transport, self.clock.clone());
        let connections = server.spawn(grpc_listener, &self.tasks, self.stages.faces.clone());
        let log_filter = Arc::new(LogFilterOverride::new(&self.settings.telemetry.log_filter, self.clock.clone()));
        let site = http::AdminState {
            status: Some(self.status_page()),
            probe: Arc::new(GatewayReadiness(self.gateway.clone())),
            metrics: self.metrics.clone(),
            rpc: Some(self.admin_rpc(calls, log_filter.clone())),
        };
        let runtime =
            http::Runtime { tasks: self.tasks.clone(), clock: self.clock.clone(), tls: self.tls.admin.clone() };
        let admin = http::serve(admin_listener, self.settings.admin.clone(), site, runtime, self.stages.faces.clone());
        self.tasks.spawn("admin port", ExitPolicy::StopProcess, admin);
        self.tls.spawn_looks(self.settings.reload.interval, &self.tasks);
        tracing::info!(grpc = %self.grpc_address, admin = %self.admin_address, "listening");
        LiveParts { gateway: self.gateway.clone(), connections, log_filter }
    }

    fn status_page(&self) -> Arc<StatusPage> {
        let source = StatusSource {
            gateway: self.gateway.clone(),
            access: self.access.clone(),
            process: self.process.clone(),
            probe: Arc::new(GatewayReadiness(self.gateway.clone())),
        };
        let is_loopback = self.admin_address.ip().to_canonical().is_loopback();
        let (config, shutdown) = (&self.settings.admin, self.stages.faces.clone());
        Arc::new(StatusPage::new(config, source, is_loopback, self.clock.clone(), shutdown))
    }

    fn admin_rpc(&self, calls: grpc::Metrics, log_filter: Arc<LogFilterOverride>) -> Arc<AdminRpc> {
        let (filter, shutdown) = (log_filter.clone(), self.stages.faces.clone());
        self.tasks.spawn("log filter", ExitPolicy::StopProcess, async move {
            shutdown.run_until_cancelled(filter.run()).await;
        });
        let (config, reloads, shutdown) = (self.effective.clone(), self.reload.clone(), self.tasks.shutdown().clone());
        let operator = Arc::new(ProcessOperator { config, reloads, log_filter, shutdown });
        let (address, shared) = (self.admin_address.ip(), (self.gateway.clone(), self.access.clone(), calls));
        let runtime = (self.clock.clone(), self.tasks.clone());
        Arc::new(AdminRpc(grpc::AdminServer::new(&self.settings.grpc, address, shared, operator, runtime)))
    }

    /// Returns the address of the gRPC server.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Returns the address of the admin server (probes and metrics).
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Reloads the configuration. The outcome is logged and counted.
    pub fn reload(&self) {
        self.reload.request();
    }

    /// Ends the leadership of every account and begins another: a restart of all accounts that no subscriber notices.
    /// For tests; no operator needs it.
    #[doc(hidden)]
    pub fn renew_leaderships(&self) {
        self.leaderships.end_all();
    }

    /// Returns the accounts.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Returns all metrics in text format.
    pub fn metrics(&self) -> String {
        self.metrics.encode()
    }

    /// Cancelled when an essential task has failed.
    pub fn failed(&self) -> Shutdown {
        self.tasks.shutdown().clone()
    }
}

/// Registers a gauge of whether sessions are being sent away.
fn register_draining(gateway: &Arc<Gateway>, metrics: &Registry) {
    let gateway = Arc::downgrade(gateway);
    let is_draining = |gateway: Arc<Gateway>| {
        gateway.accounts().iter().any(|account| account.hub.registry().closing().borrow().is_some())
    };
    let gauge = ComputedGauge::new(move || f64::from(u8::from(gateway.upgrade().is_some_and(is_draining))));
    metrics.process(|part| part.register("draining", "Whether the gateway refuses new sessions (1) or not (0)", gauge));
}

fn load_access(settings: &Settings) -> anyhow::Result<Access> {
    Access::load(&settings.access()).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", faults.join("\n"))
    })
}

fn access_control(access: Access, settings: &Settings, clock: &Clock, metrics: &Registry) -> Arc<AccessControl> {
    let limits = metrics.process(LimitMetrics::register);
    let control = AccessControl::new(access, clock.clone(), limits).with_refusals_max(settings.admin.refusals_max);
    let control = Arc::new(control);
    metrics.process(|part| crate::access::metrics::register(&control, part));
    control
}

struct GatewayReadiness(Arc<Gateway>);

impl http::ReadinessProbe for GatewayReadiness {
    fn readiness(&self) -> Result<(), Vec<String>> {
        self.0.unready_reason().map_or(Ok(()), |reason| Err(vec![reason.into()]))
    }
}
