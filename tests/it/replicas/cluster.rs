//! Three replicas of a gateway, each a process with a directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::ingest::replication::{Config, ReplicationBackend};
use powerstream_gateway::proto::GetStreamRequest;
use rustix::process::Signal;

use crate::harness::env::Client;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, eventually};
use crate::quorum::link::{Held, Link};
use crate::quorum::servers::{Servers, config as nats_config};

/// Shortest lease that the settings allow.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// Nodes of NATS.
pub const NODES: usize = 3;
/// Where a process writes its log.
const LOG: &str = "gateway.log";
pub const REPLICAS: usize = 3;

/// A number from the environment.
pub fn count(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Where the replicas listen; `None` while one does not run.
pub type Addresses = Arc<Mutex<[Option<SocketAddr>; REPLICAS]>>;

struct Replica {
    dir: PathBuf,
    settings: Settings,
    gateway: Option<Gateway>,
    /// It stands still: its log shows what it was before.
    is_frozen: bool,
    starts: usize,
    /// Its links to the nodes, if it has no direct connections.
    links: Vec<Link>,
}

/// The replicas, their upstream, and what they share.
pub struct Cluster {
    pub env: TestEnv,
    pub addresses: Addresses,
    pub servers: Servers,
    replicas: Vec<Replica>,
}

impl Cluster {
    /// Starts all; `None` if there is no NATS server on this machine.
    pub async fn start(rate: f64) -> Option<Self> {
        Self::start_with(rate, false).await
    }

    /// The same; `linked`: each replica reaches the nodes through links of its own.
    pub async fn start_with(rate: f64, linked: bool) -> Option<Self> {
        let mut cluster = Self::prepare(rate, linked).await?;
        for n in 0..REPLICAS {
            cluster.spawn(n);
        }
        for n in 0..REPLICAS {
            cluster.listening(n).await;
        }
        Some(cluster)
    }

    /// Starts NATS and the upstream only.
    pub async fn prepare(rate: f64, linked: bool) -> Option<Self> {
        let servers = Servers::start().await?;
        let env = TestEnv::without_gateway(Clock::system(), |config| config.rate = rate, tune);
        let key = env.dir().join("token.key");
        std::fs::write(&key, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef").expect("ours");
        let mut replicas = Vec::new();
        for n in 0..REPLICAS {
            let mut links = Vec::new();
            for node in (0..NODES).filter(|_| linked) {
                links.push(Link::start(servers.address(node)).await);
            }
            let nats = if linked { nats_config(links.iter().map(|link| link.address)) } else { servers.config() };
            let dir = env.dir().join(format!("r{n}"));
            std::fs::create_dir(&dir).expect("the directory is ours");
            let mut settings = env.settings.clone();
            settings.data_dir = dir.join("data");
            settings.token_key_files = vec![key.clone()];
            settings.replication = Config {
                backend: ReplicationBackend::Nats,
                name: format!("r{n}"),
                nats,
                lease_ttl: LEASE_TTL,
                stream_bytes_max: 256 << 20,
                ..Config::default()
            };
            replicas.push(Replica { dir, settings, gateway: None, is_frozen: false, starts: 0, links });
        }
        Some(Self { env, addresses: Addresses::default(), servers, replicas })
    }

    /// Starts a process without replicas in the directory of this one.
    pub async fn start_alone(&self, n: usize) -> Gateway {
        let Replica { dir, settings, .. } = &self.replicas[n];
        Gateway::start(&alone(settings), dir).await
    }

    /// The same for one that does not start. Returns what it printed.
    pub async fn try_alone(&self, n: usize) -> String {
        let Replica { dir, settings, .. } = &self.replicas[n];
        Gateway::try_start(&alone(settings), dir).await.map(drop).expect_err("it is refused")
    }

    /// SIGTERM, and the wait for its end.
    pub async fn end(&self, mut gateway: Gateway) {
        gateway.terminate();
        assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
    }

    /// Starts a replica that does not run.
    pub async fn restart(&mut self, n: usize) {
        self.spawn(n);
        self.listening(n).await;
    }

    fn spawn(&mut self, n: usize) {
        let Replica { dir, settings, gateway, starts, .. } = &mut self.replicas[n];
        if *starts > 0 {
            std::fs::rename(dir.join(LOG), dir.join(format!("{LOG}.{starts}"))).expect("it wrote a log");
        }
        *starts += 1;
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

    /// Waits until X has sent so many posts more.
    pub async fn more_posts(&self, count: u64) {
        let until = self.env.x.truth_len() + count;
        eventually("posts continue", async || self.env.x.truth_len() >= until).await;
    }

    /// Holds back everything between a replica and the nodes, or delivers it.
    pub fn hold(&self, n: usize, held: Held) {
        self.replicas[n].links.iter().for_each(|link| link.hold(held));
    }

    /// Bytes between a replica and the nodes that were held back so far.
    pub fn held_bytes(&self, n: usize) -> usize {
        self.replicas[n].links.iter().map(Link::held_bytes).sum()
    }

    /// Times a line was logged by the processes that run.
    pub fn logged(&self, message: &str) -> usize {
        let gateways = self.replicas.iter().filter_map(|replica| replica.gateway.as_ref());
        gateways.map(|gateway| gateway.messages(message).len()).sum()
    }

    /// The newest record of a replica.
    async fn newest(client: &mut Client) -> u64 {
        let stream = client.get_stream(GetStreamRequest::default()).await.expect("it answers").into_inner().stream;
        stream.and_then(|stream| stream.newest).map_or(0, |newest| newest.sequence)
    }

    /// Waits until every replica has so many records more.
    pub async fn log_continues(&self, records: u64) {
        let mut clients = Vec::new();
        for n in 0..REPLICAS {
            clients.push(self.gateway(n).client().await);
        }
        let mut until = 0;
        for client in &mut clients {
            until = Self::newest(client).await.max(until);
        }
        for client in &mut clients {
            eventually("the log of a replica continues", async || Self::newest(client).await >= until + records).await;
        }
    }

    /// Waits until all replicas have the same newest record.
    pub async fn are_equal(&self) {
        let mut clients = Vec::new();
        for n in 0..REPLICAS {
            clients.push(self.gateway(n).client().await);
        }
        let mut before = Vec::new();
        eventually("all replicas have the same records", async || {
            let mut newest = Vec::new();
            for client in &mut clients {
                newest.push(Self::newest(client).await);
            }
            let is_equal = newest.iter().all(|own| *own == newest[0]) && newest == before;
            before = newest;
            is_equal
        })
        .await;
    }

    /// Directory with the accounts of a replica.
    pub fn accounts_dir(&self, n: usize) -> PathBuf {
        self.replicas[n].settings.data_dir.join("accounts")
    }

    /// The replica that leads, and reads the upstream.
    fn leading(&self) -> Option<usize> {
        let leads = |replica: &Replica| {
            let gateway = replica.gateway.as_ref().filter(|_| !replica.is_frozen);
            // One that was fenced at its first append ends without a beginning.
            let newest = gateway.and_then(|gateway| gateway.newest_of(&["leadership began", "leadership ended"]));
            newest.as_deref() == Some("leadership began")
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
        let gateway = self.replicas[n].gateway.take().expect("it runs");
        self.end(gateway).await;
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

impl Drop for Cluster {
    /// A failed test shows the logs of all replicas, also of processes that have ended.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (n, replica) in self.replicas.iter().enumerate() {
            let earlier = (1..replica.starts).map(|start| replica.dir.join(format!("{LOG}.{start}")));
            for path in earlier.chain([replica.dir.join(LOG)]) {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                eprintln!("replica {n}, {}:", path.display());
                log.lines().filter(|line| is_of_interest(line)).for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// False for the lines of sessions that began and ended as usual.
fn is_of_interest(line: &str) -> bool {
    !["session began", "session ended", "\"subscribe\""].iter().any(|usual| line.contains(usual))
}

/// The settings of a process without replicas.
fn alone(settings: &Settings) -> Settings {
    Settings { replication: Config::default(), ..settings.clone() }
}

fn tune(settings: &mut Settings) {
    // X may hold the slot of the dead one for a moment.
    settings.upstream.rate_limit_backoff_step = Duration::from_millis(100);
    settings.upstream.http_backoff_step = Duration::from_millis(100);
}
