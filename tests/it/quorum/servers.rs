//! Real NATS servers as processes of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::AccountName;
use powerstream_gateway::quorum::{NatsConfig, NatsConnection, Quorum, StreamLimits};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::eventually::eventually;

/// Attempts with other ports, which another process may take between their choice and the start.
const STARTS_MAX: usize = 5;

/// Path of the server; `None`, and a report, if there is none.
pub fn nats_server() -> Option<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&dirs).map(|dir| dir.join("nats-server")).find(|path| path.is_file());
    let found = named.or_else(in_path);
    if found.is_none() {
        eprintln!("SKIPPED: nats-server is neither in PATH nor named by NATS_SERVER");
    }
    found
}

struct Node {
    process: Option<Child>,
    config: PathBuf,
    address: SocketAddr,
}

/// A cluster of three nodes; killed when dropped.
pub struct Servers {
    binary: PathBuf,
    nodes: Vec<Node>,
    /// Configurations and volumes.
    _dir: TempDir,
}

fn free_ports(count: usize) -> Vec<u16> {
    // All are bound at once, so that they differ.
    let bound: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    bound.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect()
}

impl Servers {
    /// Starts three nodes; `None` if there is no server on this machine.
    pub async fn start() -> Option<Self> {
        Self::start_with(3, "").await
    }

    /// Starts this many nodes with more lines of configuration.
    pub async fn start_with(nodes: usize, more: &str) -> Option<Self> {
        let binary = nats_server()?;
        for _ in 0..STARTS_MAX {
            let mut servers = Self::spawn(&binary, nodes, more);
            let mut is_up = false;
            eventually("the servers listen, or end", async || {
                is_up = servers.nodes.iter().all(|node| std::net::TcpStream::connect(node.address).is_ok());
                is_up || servers.has_ended()
            })
            .await;
            if is_up {
                return Some(servers);
            }
        }
        panic!("the servers do not start");
    }

    fn spawn(binary: &Path, count: usize, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (ports, routes) = (free_ports(count), free_ports(count));
        let urls: Vec<_> = routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let node = |n: usize| {
            let store = dir.path().join(format!("n{n}"));
            let cluster = match count {
                1 => String::new(),
                _ => format!(
                    "cluster {{ name: c, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                    routes[n],
                    urls.join(", ")
                ),
            };
            let text = format!(
                "server_name: n{n}\nlisten: \"127.0.0.1:{}\"\nmax_payload: 8MB\n\
                 jetstream {{ store_dir: \"{}\", max_file_store: 4GB, max_memory_store: 64MB }}\n{cluster}{more}\n",
                ports[n],
                store.display(),
            );
            let config = dir.path().join(format!("n{n}.conf"));
            std::fs::write(&config, text).expect("the directory is ours");
            let address = SocketAddr::from(([127, 0, 0, 1], ports[n]));
            Node { process: None, config, address }
        };
        let nodes = (0..count).map(node).collect();
        let mut servers = Self { binary: binary.to_owned(), nodes, _dir: dir };
        for n in 0..count {
            servers.restart(n);
        }
        servers
    }

    fn has_ended(&mut self) -> bool {
        let mut processes = self.nodes.iter_mut().filter_map(|node| node.process.as_mut());
        processes.any(|process| process.try_wait().expect("it is our child").is_some())
    }

    /// Starts a node that was killed, on its volume.
    pub fn restart(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let log = std::fs::File::create(node.config.with_extension("log")).expect("the directory is ours");
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(&node.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        node.process = Some(command.spawn().expect("it is a program"));
    }

    /// SIGKILL.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.nodes[n].process.take() {
            process.kill().expect("it runs");
            process.wait().expect("it is our child");
        }
    }

    /// Copies the volumes of all nodes, which are killed.
    pub fn copy_volumes(&self) {
        for n in 0..self.nodes.len() {
            replace(&self.volume(n), &self.copy(n));
        }
    }

    /// Restores the volumes of all nodes, which are killed, from the copies.
    pub fn restore_volumes(&self) {
        for n in 0..self.nodes.len() {
            replace(&self.copy(n), &self.volume(n));
        }
    }

    fn volume(&self, n: usize) -> PathBuf {
        self.nodes[n].config.with_extension("")
    }

    fn copy(&self, n: usize) -> PathBuf {
        self.nodes[n].config.with_extension("copy")
    }

    /// SIGSTOP and SIGCONT.
    pub fn freeze(&self, n: usize) {
        self.signal(n, Signal::STOP);
    }

    pub fn thaw(&self, n: usize) {
        self.signal(n, Signal::CONT);
    }

    fn signal(&self, n: usize, signal: Signal) {
        let process = self.nodes[n].process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it is our child");
    }

    pub fn address(&self, n: usize) -> SocketAddr {
        self.nodes[n].address
    }

    /// Settings of a client of all nodes.
    pub fn config(&self) -> NatsConfig {
        config(self.nodes.iter().map(|node| node.address))
    }

    /// Connects a replica to all nodes.
    pub async fn replica(&self, name: &str, account: &str) -> Quorum {
        replica(&self.config(), name, account, self.nodes.len()).await
    }

    /// A client of its own, for what an operator does.
    pub async fn operator(&self) -> async_nats::Client {
        self.connect().await.expect("the servers listen")
    }

    async fn connect(&self) -> Option<async_nats::Client> {
        let urls: Vec<_> = self.nodes.iter().map(|node| format!("nats://{}", node.address)).collect();
        async_nats::connect(urls).await.ok()
    }

    /// Sends a request to the API of JetStream, and returns the answer.
    pub async fn api(&self, subject: &str, request: serde_json::Value) -> serde_json::Value {
        let payload = if request.is_null() { String::new() } else { request.to_string() };
        let answer = self.operator().await.request(format!("$JS.API.{subject}"), payload.into()).await;
        serde_json::from_slice(&answer.expect("a leader answers").payload).expect("it is JSON")
    }

    /// The same for a request without a body; `None` while no leader answers.
    pub async fn try_api(&self, subject: &str) -> Option<serde_json::Value> {
        let answer = self.connect().await?.request(format!("$JS.API.{subject}"), "".into()).await;
        serde_json::from_slice(&answer.ok()?.payload).ok()
    }

    /// Waits until every node has all of a stream.
    pub async fn are_current(&self, stream: &str) {
        let client = self.operator().await;
        eventually("all nodes are current", async || {
            let Ok(answer) = client.request(format!("$JS.API.STREAM.INFO.{stream}"), "".into()).await else {
                return false;
            };
            let info: serde_json::Value = serde_json::from_slice(&answer.payload).expect("it is JSON");
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            let is_current = |node: &serde_json::Value| node["current"] == true && node["offline"] != true;
            replicas.len() == self.nodes.len() - 1 && replicas.iter().all(is_current)
        })
        .await;
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for n in 0..self.nodes.len() {
            self.kill(n);
        }
    }
}

/// Replaces a directory by a copy of another one.
fn replace(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).ok();
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is a program");
    assert!(copied.success(), "{} is copied to {}", from.display(), to.display());
}

/// Settings of a client of these servers only.
pub fn config(servers: impl IntoIterator<Item = SocketAddr>) -> NatsConfig {
    let url = |address: SocketAddr| format!("nats://{address}").parse().expect("it is an URL");
    let servers = servers.into_iter().map(url).collect();
    NatsConfig { servers, ignore_discovered_servers: true, ..NatsConfig::default() }
}

/// Connects a replica.
pub async fn replica(config: &NatsConfig, name: &str, account: &str, copies: usize) -> Quorum {
    let connection = NatsConnection::start(config, name, &Clock::system()).await.expect("the settings are good");
    let limits = StreamLimits { age_max: Duration::from_secs(3600), bytes_max: 64 << 20, replicas: copies };
    connection.account(&AccountName::new(account).expect("it is a name"), limits)
}
