//! Three replicas of a gateway, each a process with a directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::ingest::replication::{Config, ReplicationBackend};
use rustix::process::Signal;

use crate::harness::process::Gateway;
use crate::harness::{TestEnv, eventually};
use crate::quorum::servers::Servers;

/// Shortest lease that the settings allow.
const LEASE_TTL: Duration = Duration::from_secs(5);
pub const REPLICAS: usize = 3;

/// Where the replicas listen; `None` while one does not run.
pub type Addresses = Arc<Mutex<[Option<SocketAddr>; REPLICAS]>>;

struct Replica {
    dir: PathBuf,
    settings: Settings,
    gateway: Option<Gateway>,
    /// It stands still: its log shows what it was before.
    is_frozen: bool,
}

/// The replicas, their upstream, and what they share.
pub struct Cluster {
    pub env: TestEnv,
    pub addresses: Addresses,
    replicas: Vec<Replica>,
    _servers: Servers,
}

impl Cluster {
    /// Starts all; `None` if there is no NATS server on this machine.
    pub async fn start(rate: f64) -> Option<Self> {
        let servers = Servers::start().await?;
        let env = TestEnv::without_gateway(Clock::system(), |config| config.rate = rate, tune);
        let key = env.dir().join("token.key");
        std::fs::write(&key, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef").expect("ours");
        let replica = |n: usize| {
            let dir = env.dir().join(format!("r{n}"));
            std::fs::create_dir(&dir).expect("the directory is ours");
            let mut settings = env.settings.clone();
            settings.data_dir = dir.join("data");
            settings.token_key_files = vec![key.clone()];
            settings.replication = Config {
                backend: ReplicationBackend::Nats,
                name: format!("r{n}"),
                nats: servers.config(),
                lease_ttl: LEASE_TTL,
                stream_bytes_max: 256 << 20,
                ..Config::default()
            };
            Replica { dir, settings, gateway: None, is_frozen: false }
        };
        let replicas = (0..REPLICAS).map(replica).collect();
        let mut cluster = Self { env, addresses: Addresses::default(), replicas, _servers: servers };
        for n in 0..REPLICAS {
            cluster.spawn(n);
        }
        for n in 0..REPLICAS {
            cluster.listening(n).await;
        }
        Some(cluster)
    }

    /// Starts a replica that does not run.
    pub async fn restart(&mut self, n: usize) {
        self.spawn(n);
        self.listening(n).await;
    }

    fn spawn(&mut self, n: usize) {
        let Replica { dir, settings, gateway, .. } = &mut self.replicas[n];
        *gateway = Some(Gateway::spawn(settings, dir));
    }

    async fn listening(&mut self, n: usize) {
        let gateway = self.replicas[n].gateway.as_mut().expect("it was started");
        gateway.listening().await;
        self.addresses.lock()[n] = Some(gateway.grpc());
    }

    pub fn gateway(&self, n: usize) -> &Gateway {
        self.replicas[n].gateway.as_ref().expect("it runs")
    }

    /// The replica that leads, and reads the upstream.
    fn leading(&self) -> Option<usize> {
        let leads = |replica: &Replica| {
            let gateway = replica.gateway.as_ref().filter(|_| !replica.is_frozen);
            let count = |message: &str| gateway.map_or(0, |gateway| gateway.messages(message).len());
            count("leadership began") > count("leadership ended")
        };
        let leading: Vec<_> = (0..REPLICAS).filter(|n| leads(&self.replicas[*n])).collect();
        leading.first().copied().filter(|_| leading.len() == 1)
    }

    /// Waits until one replica leads and reads the upstream.
    pub async fn leader(&self) -> usize {
        let mut leader = None;
        eventually("one replica leads and reads the upstream", async || {
            leader = self.leading().filter(|_| self.env.x.connections().live == 1);
            leader.is_some()
        })
        .await;
        leader.expect("it was found")
    }

    /// SIGKILL.
    pub async fn kill(&mut self, n: usize) {
        self.addresses.lock()[n] = None;
        self.replicas[n].gateway.take().expect("it runs").kill().await;
    }

    /// SIGTERM, and the wait for its end.
    pub async fn stop(&mut self, n: usize) {
        self.addresses.lock()[n] = None;
        let mut gateway = self.replicas[n].gateway.take().expect("it runs");
        gateway.terminate();
        assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
    }

    /// SIGSTOP.
    pub fn freeze(&mut self, n: usize) {
        self.gateway(n).signal(Signal::STOP);
        self.replicas[n].is_frozen = true;
    }

    /// SIGCONT.
    pub fn thaw(&mut self, n: usize) {
        self.gateway(n).signal(Signal::CONT);
        self.replicas[n].is_frozen = false;
    }
}

fn tune(settings: &mut Settings) {
    // X may hold the slot of the dead one for a moment.
    settings.upstream.rate_limit_backoff_step = Duration::from_millis(100);
    settings.upstream.http_backoff_step = Duration::from_millis(100);
}
