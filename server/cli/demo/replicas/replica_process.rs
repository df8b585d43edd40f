//! A gateway of the demo: a process with a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use url::Url;

use super::child_process::ChildProcess;
use crate::cli::demo::stage::DemoStage;
use crate::clock::Clock;
use crate::config::Settings;
use crate::ingest::replication::{Config, ReplicationBackend};
use crate::proto::stream_service_client::StreamServiceClient;
use crate::proto::{GetStreamRequest, StreamReplica};
use crate::quorum::NatsConfig;
use crate::telemetry::LogFormat;

/// Shortest lease that the settings allow: the demo waits for its end.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// Size of the shared log.
const LOG_BYTES: u64 = 256 << 20;
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A gateway, which may not run.
pub(super) struct ReplicaProcess {
    pub(super) name: String,
    config: PathBuf,
    log: PathBuf,
    process: Option<ChildProcess>,
    /// Port of gRPC of the process, and that of administration.
    ports: Option<(SocketAddr, SocketAddr)>,
}

impl ReplicaProcess {
    /// Prepares a replica with these servers of NATS.
    pub(super) fn new(n: usize, settings: &Settings, dir: &Path, nats: &[SocketAddr]) -> anyhow::Result<Self> {
        let name = format!("gateway-{n}");
        let url = |address: &SocketAddr| format!("nats://{address}").parse::<Url>();
        let servers = nats.iter().map(url).collect::<Result<_, _>>()?;
        let mut settings = settings.clone();
        settings.data_dir = dir.join(&name);
        settings.grpc.address = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.admin.address = settings.grpc.address;
        settings.telemetry.log_filter = "info".into();
        settings.telemetry.log_format = LogFormat::Json;
        settings.token_key_files = vec![dir.join("token.key")];
        settings.replication = Config {
            backend: ReplicationBackend::Nats,
            name: name.clone(),
            nats: NatsConfig { servers, ..NatsConfig::default() },
            lease_ttl: LEASE_TTL,
            stream_bytes_max: LOG_BYTES,
            ..Config::default()
        };
        settings.validate()?;
        let config = dir.join(format!("{name}.yaml"));
        std::fs::write(&config, settings.render()).with_context(|| format!("cannot write {}", config.display()))?;
        Ok(Self { log: dir.join(format!("{name}.log")), name, config, process: None, ports: None })
    }

    /// Starts its process.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
        command.args(["serve", "--config"]).arg(&self.config).stdout(Stdio::null());
        self.process = Some(ChildProcess::spawn(command, self.log.clone())?);
        Ok(())
    }

    /// Waits until it listens.
    pub(super) async fn listening(&mut self, stage: &DemoStage) -> anyhow::Result<()> {
        let (name, process) = (&self.name, self.process.as_mut().context("it was started")?);
        let mut found = Ok(None);
        let listens = async || {
            found = process.log().map(|log| log.lines().find_map(ports));
            !matches!(found, Ok(None))
        };
        stage.wait_until(&format!("{name} listens"), listens).await?;
        self.ports = found?;
        Ok(())
    }

    /// Kills its process, as the loss of its machine would.
    pub(super) fn kill(&mut self) {
        (self.process, self.ports) = (None, None);
    }

    /// Sends SIGTERM to its process.
    pub(super) fn terminate(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), ChildProcess::terminate)
    }

    /// True if its process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(ChildProcess::has_ended)
    }

    /// URL of its gRPC port; empty if it does not run.
    pub(super) fn address(&self) -> String {
        self.ports.map(|(grpc, _)| format!("http://{grpc}")).unwrap_or_default()
    }

    /// Address of its admin port, and id of its process.
    pub(super) fn admin_and_pid(&self) -> Option<(SocketAddr, u32)> {
        Some((self.ports?.1, self.process.as_ref()?.id()))
    }

    /// Returns what it reports about itself; `None` without an answer.
    pub(super) async fn info(&self, clock: &Clock) -> Option<StreamReplica> {
        let asking = async {
            let mut client = StreamServiceClient::connect(self.address()).await.ok()?;
            client.get_stream(GetStreamRequest::default()).await.ok()?.into_inner().stream?.replica
        };
        clock.timeout(ANSWER_TIMEOUT, asking).await.ok().flatten()
    }
}

/// The ports of gRPC and administration, if this line of the log has them.
fn ports(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |key: &str| line[key].as_str()?.parse().ok();
    Some((address("grpc")?, address("admin")?)).filter(|_| line["message"] == "listening")
}
