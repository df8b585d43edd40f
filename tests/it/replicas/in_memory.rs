//! Three gateways in this process over a shared log in memory.

use std::sync::Arc;
use std::time::Duration;

use powerstream_gateway::app::{App, StartOptions};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::hub::Hub;
use powerstream_gateway::ingest::replication::{Config, ReplicationBackend};
use powerstream_gateway::quorum::{MemoryCluster, MemoryConfig};
use powerstream_gateway::simulator::SimulatorHandle;

use super::cluster::{Addresses, REPLICAS};
use crate::harness::{TestEnv, eventually};

/// The replicas, their upstream, and the shared log.
pub struct MemoryReplicas {
    pub env: TestEnv,
    pub shared: MemoryCluster,
    pub addresses: Addresses,
    apps: Vec<App>,
}

pub fn name(n: usize) -> String {
    format!("r{n}")
}

impl MemoryReplicas {
    /// Starts all, with these changes of their settings.
    pub async fn start(rate: f64, tune: impl Fn(&mut Settings)) -> Self {
        Self::start_after(rate, tune, |_| ()).await
    }

    /// The same, after something happened at X.
    pub async fn start_after(rate: f64, tune: impl Fn(&mut Settings), before: impl FnOnce(&SimulatorHandle)) -> Self {
        let clock = Clock::system();
        let env = TestEnv::without_gateway(clock.clone(), |config| config.rate = rate, |_| ());
        before(&env.x);
        let key = env.dir().join("token.key");
        std::fs::write(&key, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef").expect("ours");
        let shared = MemoryCluster::new(MemoryConfig::default(), clock);
        let mut replicas = Self { env, shared, addresses: Addresses::default(), apps: Vec::new() };
        for n in 0..REPLICAS {
            let mut settings = replicas.env.settings.clone();
            settings.data_dir = replicas.env.dir().join(name(n));
            settings.token_key_files = vec![key.clone()];
            settings.upstream.rate_limit_backoff_step = Duration::from_millis(100);
            settings.upstream.http_backoff_step = Duration::from_millis(100);
            settings.replication = Config {
                backend: ReplicationBackend::Nats,
                name: name(n),
                lease_ttl: Duration::from_secs(5),
                ..Config::default()
            };
            tune(&mut settings);
            let options = StartOptions { memory_cluster: Some(replicas.shared.clone()), ..StartOptions::default() };
            let app = App::start_with(settings, options).await.expect("it starts");
            replicas.addresses.lock()[n] = Some(app.grpc_address());
            replicas.apps.push(app);
        }
        replicas
    }

    pub fn app(&self, n: usize) -> &App {
        &self.apps[n]
    }

    pub fn hub(&self, n: usize) -> Arc<Hub> {
        self.apps[n].gateway().accounts()[0].hub.clone()
    }

    /// The replica that leads; `None` if several do, or none.
    pub fn leading(&self) -> Option<usize> {
        let mut leading = (0..REPLICAS).filter(|n| !self.hub(*n).upstream().is_following());
        leading.next().filter(|_| leading.next().is_none())
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

    /// Waits until X has sent so many posts more.
    pub async fn more_posts(&self, count: u64) {
        let until = self.env.x.truth_len() + count;
        eventually("posts continue", async || self.env.x.truth_len() >= until).await;
    }

    /// Stops all in order.
    pub async fn stop(self) {
        for app in self.apps {
            app.stop().await.expect("it stops in order");
        }
    }
}
