//! The gateway and its upstream in this process, on free ports, with a directory of their own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use powerstream_gateway::app::App;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::{AccountSettings, Settings};
use powerstream_gateway::hub::Hub;
use powerstream_gateway::hub::status::upstream_status::UpstreamState;
use powerstream_gateway::model::AccountName;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::{SubscribeRequest, SubscribeResponse};
use powerstream_gateway::secret;
use powerstream_gateway::simulator::{Config as Upstream, SentPost, Simulator, SimulatorHandle};
use powerstream_gateway::task::TaskGroup;
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Status, Streaming};

use super::pki::{Authority, Identity};
use super::{Subscriber, eventually, in_time, posts, record};

/// Bearer token that the simulator accepts. The gateway must never print it.
pub const BEARER: &str = "AAAAbearerThatIsSecret";

/// A client of StreamService.
pub type Client = StreamServiceClient<Channel>;

/// Upstream simulators; stopped when dropped.
pub struct Upstreams {
    tasks: TaskGroup,
    clock: Clock,
}

/// A gateway with one account, `main`, and its upstream.
pub struct TestEnv {
    /// The upstream of `main`.
    pub x: SimulatorHandle,
    /// Further upstreams can be started.
    pub upstreams: Upstreams,
    /// Settings of the next start of the gateway.
    pub settings: Settings,
    app: Option<App>,
    dir: TempDir,
    posted: usize,
}

impl Upstreams {
    /// Creates an empty set.
    pub fn new(clock: Clock) -> Self {
        Self { tasks: TaskGroup::new(), clock }
    }

    /// Starts one on a free port.
    pub fn start(&self, tune: impl FnOnce(&mut Upstream)) -> SimulatorHandle {
        let mut config = Upstream {
            rate: 0.0,
            bearer: Some(BEARER.into()),
            write_log_entries_max: record::WRITES_MAX,
            ..Upstream::default()
        };
        tune(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Simulator::start(config, listener, self.clock.clone(), &self.tasks).expect("the simulator starts")
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}

/// An account that reads from this upstream.
pub fn account(name: &str, x: &SimulatorHandle, bearer: &Path) -> AccountSettings {
    let mut account =
        AccountSettings::new(AccountName::new(name).expect("a name"), secret::SecretSource::File(bearer.into()));
    account.url = x.base_url().parse().expect("a URL");
    account
}

/// Settings for free ports and this directory, with one account.
pub fn settings(x: &SimulatorHandle, dir: &Path) -> Settings {
    let bearer = dir.join("bearer");
    std::fs::write(&bearer, BEARER).expect("the directory is ours");
    let mut settings = Settings { data_dir: dir.join("data"), ..Settings::default() };
    settings.grpc.address = "127.0.0.1:0".parse().expect("an address");
    settings.admin.address = settings.grpc.address;
    settings.accounts = vec![account("main", x, &bearer)];
    settings
}

/// What has to do with real connections must not run out only because the clock is fast.
pub fn patient(settings: &mut Settings) {
    let long = Duration::from_secs(24 * 3_600);
    settings.upstream.stale_after = long;
    settings.upstream.connect_timeout = long;
    settings.upstream.response_timeout = long;
    settings.grpc.preface_timeout = long;
    settings.grpc.ping_interval = long;
    settings.grpc.ping_timeout = long;
    settings.grpc.unary_timeout = long;
    settings.grpc.idle_timeout = long;
    settings.grpc.send_timeout = long;
    settings.ingest.gaps.reader_stall_min = long;
    settings.rules.request_timeout = long;
    settings.shutdown_timeout = Duration::from_secs(3_600);
}

/// A client of the gateway that listens there.
pub async fn client(address: std::net::SocketAddr) -> Client {
    let connecting = Client::connect(format!("http://{address}"));
    in_time("a connection to the gateway", connecting).await.expect("it listens").max_decoding_message_size(2 << 20)
}

/// A client that trusts this authority, and presents a certificate if there is one.
pub async fn tls_client(
    address: std::net::SocketAddr,
    servers: &Authority,
    identity: Option<&Identity>,
) -> Result<Client, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(servers.pem())).domain_name("localhost");
    if let Some(own) = identity {
        tls = tls.identity(tonic::transport::Identity::from_pem(&own.certificate, &own.key));
    }
    let endpoint = Channel::from_shared(format!("https://{address}")).expect("a URI").tls_config(tls)?;
    in_time("a connection, or its end", endpoint.connect()).await.map(Client::new)
}

impl TestEnv {
    /// With the defaults.
    pub async fn new() -> Self {
        Self::tuned(|_| (), |_| ()).await
    }

    /// With these changes, and connected to its upstream.
    pub async fn tuned(upstream: impl FnOnce(&mut Upstream), tune: impl FnOnce(&mut Settings)) -> Self {
        let env = Self::starting(Clock::system(), upstream, tune).await;
        env.connected().await;
        env
    }

    /// With these changes; the clock is the upstream's, and the settings' own is set to it.
    pub async fn starting(
        clock: Clock,
        upstream: impl FnOnce(&mut Upstream),
        tune: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut env = Self::without_gateway(clock, upstream, tune);
        env.start_gateway().await;
        env
    }

    /// Only the upstream and the settings: for a gateway in a process of its own.
    pub fn without_gateway(
        clock: Clock,
        upstream: impl FnOnce(&mut Upstream),
        tune: impl FnOnce(&mut Settings),
    ) -> Self {
        let dir = TempDir::new().expect("a directory");
        let upstreams = Upstreams::new(clock.clone());
        let x = upstreams.start(upstream);
        let mut settings = settings(&x, dir.path());
        settings.clock.rate = clock.rate();
        settings.clock.origin_ms = Some(clock.origin().0);
        tune(&mut settings);
        Self { x, upstreams, settings, app: None, dir, posted: 0 }
    }

    /// Starts the gateway again, over what it left.
    pub async fn start_gateway(&mut self) {
        assert!(self.app.is_none(), "it runs");
        let settings = &self.settings;
        let app = &mut self.app;
        // A stream of the gateway before may still be ending, and holds the lock of the journal until then.
        eventually("the gateway starts", async || match App::start(settings.clone()).await {
            Ok(started) => {
                *app = Some(started);
                true
            }
            Err(error) if format!("{error:#}").contains("is in use by another process") => false,
            Err(error) => panic!("the gateway starts: {error:?}"),
        })
        .await;
    }

    /// The same, for settings with which it may refuse to start.
    pub async fn try_start_gateway(&mut self) -> anyhow::Result<()> {
        self.app = Some(App::start(self.settings.clone()).await?);
        Ok(())
    }

    /// Stops the gateway in order.
    pub async fn stop_gateway(&mut self) {
        let app = self.app.take().expect("it runs");
        app.stop().await.expect("it stops in order");
        self.left().await;
    }

    /// Stops and starts the gateway, and waits for its upstream.
    pub async fn restart_gateway(&mut self) {
        self.stop_gateway().await;
        self.start_gateway().await;
        self.connected().await;
    }

    /// Waits for the upstream connection: what is sent from now on reaches the gateway, and a gateway in this process
    /// reports it as connected.
    pub async fn connected(&self) {
        let is_up = |hub: &Hub| hub.upstream().watch().borrow().state == UpstreamState::Connected;
        let is_reported = || self.app.iter().all(|app| app.gateway().accounts().iter().any(|own| is_up(&own.hub)));
        eventually("the upstream connection is up", async || self.x.connections().live == 1 && is_reported()).await;
    }

    /// Waits until no connection to the upstream is open: the slot of the gateway that ended is free.
    pub async fn left(&self) {
        eventually("upstream is left", async || self.x.connections().live == 0).await;
    }

    /// The gateway.
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("the gateway runs")
    }

    /// Where the log of an account is kept.
    pub fn log_dir(&self, account: &str) -> PathBuf {
        self.settings.data_dir.join("accounts").join(account)
    }

    /// A directory for whatever a test needs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file of the bearer.
    pub fn bearer_file(&self) -> PathBuf {
        self.dir.path().join("bearer")
    }

    /// A client of the gateway.
    pub async fn client(&self) -> Client {
        client(self.app().grpc_address()).await
    }

    /// A session.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Subscriber {
        Subscriber::watching(Some(&self.x), &mut self.client().await, request).await.expect("the session begins")
    }

    /// Returns the raw stream of a session, or the error.
    pub async fn ask(&self, request: SubscribeRequest) -> Result<Streaming<SubscribeResponse>, Status> {
        in_time("an answer", self.client().await.subscribe(request)).await.map(tonic::Response::into_inner)
    }

    /// Sends a post for each list of tags. Returns the sent posts.
    pub fn post(&mut self, posts: &[&[&str]]) -> Vec<SentPost> {
        let send = |tags: &&[&str]| {
            self.posted += 1;
            self.x.publish(&posts::post(self.posted, tags)).expect("a post")
        };
        posts.iter().map(send).collect()
    }

    /// Sends so many posts with the mix of tags of all tests.
    pub fn post_mix(&mut self, count: usize) -> Vec<SentPost> {
        let mixed: Vec<Vec<&str>> = (self.posted + 1..=self.posted + count).map(posts::tags).collect();
        self.post(&mixed.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Waits until all that was sent is in the log.
    pub async fn all_logged(&self) {
        self.all_logged_since(0).await;
    }

    /// The same where the gateway has not counted the first posts: it was started later.
    pub async fn all_logged_since(&self, before: usize) {
        let sent = self.x.truth_len() as f64 - before as f64;
        eventually("all is in the log", async || self.metric("posts_appended_total") >= sent).await;
    }

    /// Waits until a metric has this value: what a subscriber has seen may be counted a moment later.
    pub async fn counts(&self, name: &str, value: f64) {
        let what = format!("{name} is {value}");
        eventually(&what, async || self.metric(name) == value).await;
    }

    /// Sum of a metric's samples.
    pub fn metric(&self, name: &str) -> f64 {
        sum(&self.app().metrics(), name)
    }
}

impl Drop for TestEnv {
    /// Each scenario ends with a stop in order, unless it failed.
    fn drop(&mut self) {
        if let Some(app) = self.app.take().filter(|_| !std::thread::panicking()) {
            let stopped = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(app.stop()));
            stopped.expect("it stops in order");
        }
    }
}

/// Sum of the samples of one of the gateway's metrics in such a text.
pub fn sum(metrics: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix("powerstream_gateway_")?.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    metrics.lines().filter_map(value).sum()
}
