//! `demo`: simulator and gateway on loopback with two consumers. One is killed and resumed; the ground truth of the simulator
//! shows that it received exactly the posts that it missed.
//!
//! At the end a rule is added by RuleService (`new_rule`), and the first post that matches it is shown.
//!
//! Owns: the sequence of steps and its output. Does not own: the components, which are those of `serve`, `tail` and
//! `simulate`. The comparison (`delivery_log`) uses only post ids and tags, so that it shares no error with the gateway.

mod delivery_log;
mod new_rule;
mod replicas;
mod stage;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use self::stage::{DemoConsumer, DemoStage, TAGS, has_all, have_begun};
use super::exit::Exit;
use super::terminal::print_status;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{AccountSettings, Settings};
use crate::model::AccountName;
use crate::rules::Mode;
use crate::secret::SecretSource;
use crate::simulator::{self, CutKind, Simulator, SimulatorHandle};
use crate::task::{Signals, TaskGroup};
use crate::{state_file, telemetry};

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exit after this many seconds, with a summary; exit code 3 if a post was missing or repeated.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: Option<u64>,
    /// Generated posts per second; about a third match one of the two filters.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Address of the gateway's gRPC port.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Address of the gateway's admin port.
    #[arg(long, default_value = "127.0.0.1:9600")]
    admin: SocketAddr,
    /// Address of the simulator.
    #[arg(long, default_value = "127.0.0.1:8099")]
    simulator: SocketAddr,
    /// Data directory of the gateway; by default a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Run so many gateways as processes over three NATS servers, and kill the one that reads X. The gateways listen on free
    /// ports.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=5),
          conflicts_with_all = ["listen", "admin", "data_dir"])]
    replicas: Option<u8>,
    /// Program of the NATS servers.
    #[arg(long, value_name = "FILE", default_value = "nats-server", requires = "replicas")]
    nats_server: PathBuf,
}

/// Rules at X from the start, and of the gateway's file.
const RULES: &str = include_str!("rules.yaml");
/// Posts that the killed consumer misses.
const MISSED_MIN: usize = 5;
/// Bearer token of the simulator.
const BEARER: &str = "demo-bearer";

/// Runs the demo.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let exit = runtime.block_on(demo(args));
    runtime.shutdown_timeout(Duration::from_millis(200));
    exit
}

async fn demo(args: &Args) -> anyhow::Result<Exit> {
    let (clock, tasks) = (Clock::system(), TaskGroup::new());
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let temporary = tempfile::tempdir().context("no temporary directory")?;
    let dir = args.data_dir.clone().unwrap_or_else(|| temporary.path().join("data"));
    let truth = start_simulator(args, &clock, &tasks)?;
    let settings = settings(args, &truth, temporary.path(), dir.clone())?;
    let _guard = telemetry::init(&settings.telemetry)?;
    let stage = DemoStage { clock, truth };
    if let Some(count) = args.replicas {
        let playing =
            replicas::play(stage, &settings, temporary.path(), (count.into(), &args.nats_server), args.seconds);
        let exit = tokio::select! {
            exit = playing => exit,
            _ = signals.next() => Ok(Exit::Done),
        };
        tasks.shutdown().cancel();
        return exit;
    }
    let app = App::start(settings).await.context("try other ports: --listen, --admin, --simulator 127.0.0.1:0")?;
    let demo = Demo { stage, app, seconds: args.seconds, dir };
    let exit = tokio::select! {
        exit = demo.play() => exit,
        _ = signals.next() => Ok(Exit::Done),
    };
    demo.stage.truth.pause();
    tasks.shutdown().cancel();
    demo.app.stop().await.map_err(anyhow::Error::msg)?;
    exit
}

fn start_simulator(args: &Args, clock: &Clock, tasks: &TaskGroup) -> anyhow::Result<SimulatorHandle> {
    let listener = TcpListener::bind(args.simulator)
        .with_context(|| format!("cannot listen on {} (--simulator)", args.simulator))?;
    let config = simulator::Config {
        bearer: Some(BEARER.into()),
        rate: args.rate,
        rules: simulator::parse_rules(RULES).context("the rules of the demo cannot be used")?,
        ..simulator::Config::default()
    };
    let handle = Simulator::start(config, listener, clock.clone(), tasks)?;
    // Paused until both consumers are connected, so that they receive all posts.
    handle.pause();
    Ok(handle)
}

fn settings(args: &Args, truth: &SimulatorHandle, secrets: &Path, dir: PathBuf) -> anyhow::Result<Settings> {
    let bearer = secrets.join("bearer");
    state_file::write_atomic(&bearer, BEARER.as_bytes()).context("cannot write the bearer of the demo")?;
    let mut account = AccountSettings::new(AccountName::new("main")?, SecretSource::File(bearer));
    account.url = truth.base_url().parse()?;
    account.tags = TAGS.map(String::from).into();
    let rules = secrets.join("rules.yaml");
    std::fs::write(&rules, RULES).context("cannot write the rules of the demo")?;
    account.rules.files = vec![rules];
    account.rules.mode = Mode::Manage;
    let mut settings = Settings { data_dir: dir, accounts: vec![account], ..Settings::default() };
    settings.grpc.address = args.listen;
    settings.admin.address = args.admin;
    settings.telemetry.log_filter = "warn".into();
    // The demo waits for nothing that it does not show.
    settings.rules.coalesce_interval = Duration::ZERO;
    settings.rules.coalesce_max = Duration::ZERO;
    settings.validate()?;
    Ok(settings)
}

struct Demo {
    stage: DemoStage,
    app: App,
    seconds: Option<u64>,
    dir: PathBuf,
}

impl Demo {
    async fn play(&self) -> anyhow::Result<Exit> {
        let began = self.stage.clock.moment();
        let address = format!("http://{}", self.app.grpc_address());
        print_status(format_args!("simulator of X on {}, gateway on {address}", self.stage.truth.base_url()));
        let truth = &self.stage.truth;
        self.stage.wait_until("the gateway is connected", async || truth.connections().live == 1).await?;
        let [mut cats, mut dogs] = TAGS.map(|tag| DemoConsumer::new(tag, &address, None));
        self.stage.pump_until([&mut cats, &mut dogs], have_begun).await?;

        print_status(format_args!("\n1. Two consumers, one filter each: cats and dogs.\n"));
        self.stage.truth.resume();
        self.stage.pump_until([&mut cats, &mut dogs], |viewers| has_all(viewers, [5; 2])).await?;

        let sound = self.kill_and_resume(&address, &mut cats, &mut dogs).await?;
        self.disconnect_and_recover(&mut cats, &mut dogs).await?;
        self.add_rule(&address, &mut cats, &mut dogs).await?;
        print_status(format_args!("\n5. Try it yourself:\n{}", self.commands(&address)));
        let Some(seconds) = self.seconds else {
            // Consumers that are not polled would count as stalled.
            drop((cats, dogs));
            print_status(format_args!("Running until Ctrl-C."));
            return std::future::pending().await;
        };
        let end = began.plus(Duration::from_secs(seconds));
        self.stage.attend_until(end, [&mut cats, &mut dogs]).await?;
        self.stage.summary(cats, dogs, sound).await
    }

    /// Kills the first consumer, waits until it has missed posts, and resumes it with its token.
    async fn kill_and_resume(
        &self,
        address: &str,
        cats: &mut DemoConsumer,
        dogs: &mut DemoConsumer,
    ) -> anyhow::Result<bool> {
        let before = cats.tracker.len();
        let token = cats.resume_at(address)?;
        print_status(format_args!("\n2. The consumer of cats is killed. Its last resume token:\n   {token}\n"));
        self.stage.pump_until([dogs], |_| self.stage.due("cats") - before >= MISSED_MIN).await?;
        self.stage.truth.pause();
        let due = self.stage.due("cats");
        self.stage.pump_until([cats], |viewers| viewers[0].tracker.len() >= due).await?;
        let comparison = cats.tracker.compare(&self.stage.truth.sent_posts(), "cats");
        print_status(format_args!(
            "\n   Resumed with that token: missed {}, received {}, repeated {}",
            due - before,
            comparison.got as usize - before,
            comparison.repeated
        ));
        self.stage.truth.resume();
        Ok(comparison.is_sound())
    }

    /// Disconnects the gateway from X while posts are sent: backfill recovers the posts that the gateway missed.
    async fn disconnect_and_recover(&self, cats: &mut DemoConsumer, dogs: &mut DemoConsumer) -> anyhow::Result<()> {
        let DemoStage { clock, truth, .. } = &self.stage;
        let due = || TAGS.map(|tag| self.stage.due(tag));
        let (before, began) = (due(), clock.moment());
        print_status(format_args!("\n3. X disconnects the gateway and sends posts meanwhile.\n"));
        truth.cut(CutKind::Reset);
        let missed = || due().iter().sum::<usize>() - before.iter().sum::<usize>();
        let is_back = || truth.connections().live == 1 && truth.counters().connects > 1;
        self.stage.pump_until([&mut *cats, &mut *dogs], |_| is_back() && missed() >= MISSED_MIN).await?;
        let (away, missed, after) = (clock.moment().since(began), missed(), due());
        self.stage.pump_until([cats, dogs], |viewers| has_all(viewers, after)).await?;
        print_status(format_args!(
            "\n   Disconnected for {:.1} s: X sent {missed} posts of cats and dogs meanwhile; backfill recovered all of them",
            away.as_secs_f64()
        ));
        Ok(())
    }

    /// Adds a rule while posts are sent, and waits for the first post that matches it.
    async fn add_rule(&self, address: &str, cats: &mut DemoConsumer, dogs: &mut DemoConsumer) -> anyhow::Result<()> {
        print_status(format_args!("\n4. A rule is added at X, with the tag {}.\n", new_rule::TAG));
        let mut own = DemoConsumer::new(new_rule::TAG, address, None);
        self.stage.pump_until([&mut own], have_begun).await?;
        new_rule::add(address).await?;
        self.stage.pump_until([cats, dogs, &mut own], |viewers| viewers[2].tracker.len() >= 1).await?;
        print_status(format_args!("\n   The first post that matches it has arrived."));
        Ok(())
    }

    fn commands(&self, address: &str) -> String {
        let target = address.trim_start_matches("http://");
        let admin = self.app.admin_address();
        let simulator = self.stage.truth.base_url();
        let data = self.dir.display();
        format!(
            "   grpcurl -plaintext {target} list\n   \
             grpcurl -plaintext -d '{{\"filter\":{{\"any_of\":[\"cats\"]}},\"earliest\":{{}}}}' {target} \
             powerstream.gateway.v1.StreamService/Subscribe\n   \
             powerstream-gateway tail --addr {address} --any-of dogs --start earliest\n   \
             powerstream-gateway rules list --addr {address}\n   \
             powerstream-gateway journal verify {data}/accounts/main\n   \
             curl -s {admin}/metrics | grep powerstream_gateway_posts_appended\n   \
             curl -s '{simulator}/simulator/truth?after=0&limit=3'\n"
        )
    }
}
