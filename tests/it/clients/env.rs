//! An example, the wire, the gateway as a process with TLS and credentials, and X.

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::TagFilter;
use powerstream_gateway::telemetry::LogFormat;

use super::example::Example;
use super::language::Language;
use super::network::Network;
use super::printed::{assert_printed, is_whole};
use super::security::{Presents, Security};
use crate::harness::env::sum;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, after, eventually, filters, probe};

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 300.0;
/// What the example asks for: about two thirds of what is sent.
pub const TAGS: [&str; 2] = ["links", "ca*"];
/// The longest wait between attempts to connect to X: it may hold the slot of a dead one for a moment.
const UPSTREAM_WAIT: std::time::Duration = std::time::Duration::from_millis(100);

/// An example that reads everything with these tags, from the beginning of the log.
pub struct Stage {
    /// The example.
    pub example: Example,
    /// The wire.
    pub network: Network,
    /// X.
    pub env: TestEnv,
    /// TLS and credentials.
    pub security: Security,
    gateway: Option<Gateway>,
    /// Where each life of the example found the token when it began; 0 without a token.
    stored: Vec<u64>,
}

/// Waits of the gateway for a test.
pub fn tune(settings: &mut Settings) {
    settings.upstream.rate_limit_backoff_step = UPSTREAM_WAIT;
    settings.upstream.http_backoff_step = UPSTREAM_WAIT;
}

/// What the example asks for.
pub fn filter() -> TagFilter {
    filters::any(&TAGS)
}

impl Stage {
    /// All runs but the example; posts flow.
    pub async fn new(language: Language) -> Self {
        Self::with(language, |_| ()).await
    }

    /// The same, with settings of the gateway that are not the default.
    pub async fn with(language: Language, settings: impl FnOnce(&mut Settings)) -> Self {
        Self::presenting(language, Presents::Token, settings).await
    }

    /// The same, with what the example presents.
    pub async fn presenting(language: Language, presents: Presents, settings: impl FnOnce(&mut Settings)) -> Self {
        let tune = |all: &mut Settings| {
            tune(all);
            settings(all);
        };
        let mut env = TestEnv::without_gateway(Clock::system(), |config| config.rate = RATE, tune);
        let dir = env.dir().to_owned();
        let security = Security::write(&dir, &mut env.settings, presents);
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        env.connected().await;
        let network = Network::start(gateway.grpc()).await;
        let addr = format!("127.0.0.1:{}", network.port());
        let flags = security.flags();
        let example = Example::new(language, env.dir(), &addr)
            .with(&["--start", "earliest", "--any-of", &TAGS.join(",")])
            .with(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        Self { example, network, env, security, gateway: Some(gateway), stored: Vec::new() }
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    /// Starts a life of the example.
    pub async fn start(&mut self) {
        let stored = self.stored().await;
        self.stored.push(stored);
        self.example.start();
    }

    /// The sequence of the stored token; 0 without one.
    pub async fn stored(&self) -> u64 {
        let Some(token) = self.example.cursor() else { return 0 };
        let start = self.security.begin(self.gateway().grpc(), after(&token, &filter())).await;
        start.position.expect("it has one").sequence
    }

    /// Lines that the last life printed after the token that is stored: at most what one batch holds.
    pub async fn printed_and_not_stored(&mut self) -> usize {
        let stored = self.stored().await;
        let lines = self.example.life().all_lines();
        let open: Vec<_> = lines.iter().filter(|line| line.sequence() > stored).collect();
        let bytes: usize = open.iter().map(|line| line.json.len()).sum();
        assert!(open.len() <= 10_000 && bytes <= 2 << 20, "{} lines, {bytes} bytes are no batch", open.len());
        open.len()
    }

    /// The gateway is ended in order, or killed.
    pub async fn end_gateway(&mut self, in_order: bool) {
        let mut gateway = self.gateway.take().expect("it runs");
        if in_order {
            gateway.terminate();
            assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
        } else {
            gateway.kill().await;
        }
    }

    /// The gateway starts again, at another address.
    pub async fn start_gateway(&mut self) {
        let gateway = Gateway::start(&self.env.settings, self.env.dir()).await;
        self.network.point_to(gateway.grpc());
        self.gateway = Some(gateway);
        self.env.connected().await;
    }

    /// The gateway loads changed settings while it runs.
    pub async fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        let metrics = async || probe::get(self.gateway().admin(), "/metrics").await.1;
        let loaded = async || sum(&metrics().await, "config_reloads_total{outcome=\"ok\"}");
        let before = loaded().await;
        let mut settings = self.env.settings.clone();
        change(&mut settings);
        settings.telemetry.log_format = LogFormat::Json;
        std::fs::write(self.env.dir().join("gateway.yaml"), settings.render()).expect("the directory is ours");
        eventually("the configuration is loaded", async || loaded().await > before).await;
        self.env.settings = settings;
    }

    /// Waits until upstream has sent so many more posts.
    pub async fn more_posts(&self, count: u64) {
        let until = self.env.x.truth_len() + count;
        eventually("posts continue", async || self.env.x.truth_len() >= until).await;
    }

    /// Stops the posts until all are printed, and verifies them; then the posts continue.
    pub async fn verify(&mut self, after: &str) {
        let x = self.env.x.clone();
        x.pause();
        let sent = x.truth_len();
        assert!(sent > 0, "there was something to print");
        let lives = &mut self.example.lives;
        let whole = async {
            loop {
                // One that was under way when they stopped may come late.
                let truth = x.sent_posts();
                eventually("all is printed", async || is_whole(lives, &truth, &filter())).await;
                if x.truth_len() == truth.len() as u64 {
                    return truth;
                }
            }
        };
        let truth = whole.await;
        assert_printed(
            &format!("{} {after}", self.example.name()),
            &mut self.example.lives,
            &self.stored,
            &truth,
            &filter(),
        );
        x.resume();
    }
}
