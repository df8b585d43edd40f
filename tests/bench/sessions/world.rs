//! A gateway process that is fed by the simulator in this process, and its clients.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{SubscribeRequest, SubscribeResponse, TagFilter};
use powerstream_gateway::simulator::{Config, Simulator, SimulatorHandle};
use powerstream_gateway::task::TaskGroup;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// What differs between gateways of benchmarks. In the texts, `DIR` is the directory of the files.
pub struct WorldConfig<'c> {
    /// Names of accounts; the default one is the first.
    pub accounts: &'c [&'c str],
    /// More lines of configuration.
    pub more: &'c str,
    /// Files, by name.
    pub files: &'c [(&'c str, String)],
    /// True for a gRPC port with TLS.
    pub has_tls: bool,
}

impl Default for WorldConfig<'_> {
    fn default() -> Self {
        Self { accounts: &["main"], more: "", files: &[], has_tls: false }
    }
}

/// A gateway process, and the simulator that feeds it.
pub struct World {
    gateway: Child,
    grpc: String,
    admin: String,
    pub simulator: SimulatorHandle,
    /// Client settings of the gateway's TLS.
    tls: Option<ClientTlsConfig>,
    _dir: tempfile::TempDir,
    _tasks: TaskGroup,
}

impl World {
    pub async fn start(config: WorldConfig<'_>) -> Self {
        let WorldConfig { accounts, more, files, has_tls } = config;
        let (clock, tasks) = (Clock::system(), TaskGroup::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let simulated = Config { live_connections_max: accounts.len(), ..Config::default() };
        let simulator = Simulator::start(simulated, listener, clock, &tasks).expect("it starts");
        simulator.pause();
        let dir = tempfile::tempdir().expect("a directory");
        let [grpc, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        for name in accounts {
            std::fs::write(dir.path().join(format!("bearer-{name}")), format!("bench-{name}")).expect("written");
        }
        let tls = has_tls.then(|| write_certificate(dir.path()));
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        let own_tls = if has_tls { ", tls: { cert_file: DIR/cert.pem, key_file: DIR/key.pem }" } else { "" };
        let url = simulator.base_url();
        let account = |name: &&str| format!("{{ name: {name}, bearer: {{ file: DIR/bearer-{name} }}, url: '{url}' }}");
        let listed: Vec<_> = accounts.iter().map(account).collect();
        let config = format!(
            "data_dir: DIR/data\ngrpc: {{ address: '{grpc}'{own_tls} }}\nadmin: {{ address: '{admin}' }}\n\
             telemetry: {{ log_filter: warn }}\ndefault_account: {}\naccounts: [{}]\n{more}\n",
            accounts[0],
            listed.join(", "),
        );
        let config = config.replace("DIR", &dir.path().display().to_string());
        let file = dir.path().join("gateway.yaml");
        std::fs::write(&file, config).expect("written");
        let gateway = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let world = Self { gateway, grpc, admin, simulator, tls, _dir: dir, _tasks: tasks };
        wait("the gateway is connected", || world.simulator.connections().live == accounts.len()).await;
        world
    }

    pub async fn channel(&self) -> Channel {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.grpc)).expect("a URL");
        let endpoint = match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone()).expect("a good certificate"),
            None => endpoint,
        };
        endpoint.connect().await.expect("the gateway listens")
    }

    /// Returns the CPU time of the gateway so far.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.gateway.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("a name in brackets").split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|own| own.parse::<u64>().expect("a number")).sum();
        // Linux shows ticks of 10 ms to programs, whatever its own are.
        Duration::from_millis(10 * ticks)
    }

    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of that name");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    fn scrape(&self) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.admin).expect("the admin port");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n").expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        text
    }

    pub fn counter(&self, name: &str) -> f64 {
        let text = self.scrape();
        let name = format!("powerstream_gateway_{name}{{");
        let line = text.lines().find(|line| line.starts_with(&name)).expect("a metric of that name");
        line.rsplit(' ').next().expect("a value").parse().expect("a number")
    }

    /// Returns the sum of a metric over its labels.
    pub fn sum(&self, name: &str) -> f64 {
        let name = format!("powerstream_gateway_{name}{{");
        let values = self.scrape();
        let lines = values.lines().filter(|line| line.starts_with(&name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Publishes a post with this tag; gives its id.
    pub fn publish(&self, tag: &str) -> u64 {
        let text = "a post about nothing much, again and again ".repeat(60);
        let post = format!(r#"{{"text":"{text}","matching_rules":[{{"tag":"{tag}","id":1,"id_str":"1"}}]}}"#);
        self.simulator.publish(&post).expect("a post").post_id.0
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.gateway.kill().ok();
        self.gateway.wait().ok();
    }
}

/// Writes a certificate for localhost and its key; returns settings of clients that trust it.
fn write_certificate(dir: &Path) -> ClientTlsConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.cert.pem())).domain_name("localhost")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark waits on the real clock")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

pub async fn wait(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited a minute until {what}");
        pause(Duration::from_millis(10)).await;
    }
}

pub type Frames = tonic::Streaming<SubscribeResponse>;

/// Subscribes to one tag and reads up to `CaughtUp`.
pub async fn subscribe(channel: Channel, tag: String) -> Frames {
    let request = SubscribeRequest {
        filter: Some(TagFilter { any_of: vec![tag], ..TagFilter::default() }),
        heartbeat_interval: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..SubscribeRequest::default()
    };
    let response = StreamServiceClient::new(channel).subscribe(request).await.expect("subscribed");
    let mut frames = response.into_inner();
    loop {
        let frame = frames.message().await.expect("it continues").expect("it continues");
        if matches!(frame.frame, Some(Frame::CaughtUp(_))) {
            return frames;
        }
    }
}
