//! `demo`: simulator and gateway on loopback with two consumers. One is killed and resumed; the ground truth of the simulator
//! shows that it received exactly the posts that it missed.
//!
//! At the end a rule is added by RuleService (`new_rule`), and the first post that matches it is shown.
//!
//! Owns: the sequence of steps and its output. Does not own: the components, which are those of `serve`, `tail` and
//! `simulate`. The comparison (`delivery_log`) uses only post ids and tags, so that it shares no error with the gateway.

mod delivery_log;
mod new_rule;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use powerstream_consumer::proto::subscribe_response::Frame;
use powerstream_consumer::{Consumer, Content, Delivery, ResumeToken};

use self::delivery_log::{DeliveryLog, has};
use super::exit::Exit;
use super::tail::EventFormat;
use super::terminal::{print, print_status};
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
}

/// Rules at X from the start, and of the gateway's file.
const RULES: &str = include_str!("rules.yaml");
const TAGS: [&str; 2] = ["cats", "dogs"];
/// Timeout of each step.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// Poll interval of conditions.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
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
    let app = App::start(settings).await.context("try other ports: --listen, --admin, --simulator 127.0.0.1:0")?;
    let mut stage = Demo { clock, truth, app, seconds: args.seconds, dir };
    let exit = tokio::select! {
        exit = stage.play() => exit,
        _ = signals.next() => Ok(Exit::Done),
    };
    stage.truth.pause();
    tasks.shutdown().cancel();
    stage.app.stop().await.map_err(anyhow::Error::msg)?;
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
    clock: Clock,
    truth: SimulatorHandle,
    app: App,
    seconds: Option<u64>,
    dir: PathBuf,
}

/// A consumer with its deliveries.
struct DemoConsumer {
    tag: &'static str,
    consumer: Consumer,
    tracker: DeliveryLog,
}

impl Demo {
    async fn play(&mut self) -> anyhow::Result<Exit> {
        let began = self.clock.moment();
        let address = format!("http://{}", self.app.grpc_address());
        print_status(format_args!("simulator of X on {}, gateway on {address}", self.truth.base_url()));
        self.wait_until("the gateway is connected", |stage| stage.truth.connections().live == 1).await?;
        let [mut cats, mut dogs] = TAGS.map(|tag| DemoConsumer::new(tag, &address, None));
        self.pump_until([&mut cats, &mut dogs], |_, viewers| {
            viewers.iter().all(|viewer| viewer.consumer.token().is_some())
        })
        .await?;

        print_status(format_args!("\n1. Two consumers, one filter each: cats and dogs.\n"));
        self.truth.resume();
        self.pump_until([&mut cats, &mut dogs], |_, viewers| viewers.iter().all(|viewer| viewer.tracker.len() >= 5))
            .await?;

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
        self.attend_until(end, [&mut cats, &mut dogs]).await?;
        self.summary(cats, dogs, sound).await
    }

    /// Kills the first consumer, waits until it has missed posts, and resumes it with its token.
    async fn kill_and_resume(
        &mut self,
        address: &str,
        cats: &mut DemoConsumer,
        dogs: &mut DemoConsumer,
    ) -> anyhow::Result<bool> {
        let token = cats.consumer.token().context("it has one since its first frame")?.clone();
        let before = cats.tracker.len();
        let mut resumed = DemoConsumer::new(cats.tag, address, Some(token.clone()));
        resumed.tracker = std::mem::take(&mut cats.tracker);
        // The drop closes its stream, as a kill would. The new one connects when it is polled.
        *cats = resumed;
        print_status(format_args!("\n2. The consumer of cats is killed. Its last resume token:\n   {token}\n"));
        let missed = |stage: &Self| stage.due("cats") - before;
        self.pump_until([dogs], |stage, _| missed(stage) >= MISSED_MIN).await?;
        self.truth.pause();
        let due = self.due("cats");
        self.pump_until([cats], |_, viewers| viewers[0].tracker.len() >= due).await?;
        let comparison = cats.tracker.compare(&self.truth.sent_posts(), "cats");
        print_status(format_args!(
            "\n   Resumed with that token: missed {}, received {}, repeated {}",
            due - before,
            comparison.got as usize - before,
            comparison.repeated
        ));
        self.truth.resume();
        Ok(comparison.is_sound())
    }

    /// Disconnects the gateway from X while posts are sent: backfill recovers the posts that the gateway missed.
    async fn disconnect_and_recover(&mut self, cats: &mut DemoConsumer, dogs: &mut DemoConsumer) -> anyhow::Result<()> {
        let due = |stage: &Self| TAGS.map(|tag| stage.due(tag));
        let (before, began) = (due(self), self.clock.moment());
        print_status(format_args!("\n3. X disconnects the gateway and sends posts meanwhile.\n"));
        self.truth.cut(CutKind::Reset);
        let missed = |stage: &Self| due(stage).iter().sum::<usize>() - before.iter().sum::<usize>();
        let back = |stage: &Self, _: &[&mut DemoConsumer]| {
            stage.truth.connections().live == 1 && stage.truth.counters().connects > 1 && missed(stage) >= MISSED_MIN
        };
        self.pump_until([&mut *cats, &mut *dogs], back).await?;
        let (away, missed, after) = (self.clock.moment().since(began), missed(self), due(self));
        self.pump_until([cats, dogs], |_, viewers| {
            viewers.iter().zip(after).all(|(viewer, due)| viewer.tracker.len() >= due)
        })
        .await?;
        print_status(format_args!(
            "\n   Disconnected for {:.1} s: X sent {missed} posts of cats and dogs meanwhile; backfill recovered all of them",
            away.as_secs_f64()
        ));
        Ok(())
    }

    /// Adds a rule while posts are sent, and waits for the first post that matches it.
    async fn add_rule(
        &mut self,
        address: &str,
        cats: &mut DemoConsumer,
        dogs: &mut DemoConsumer,
    ) -> anyhow::Result<()> {
        print_status(format_args!("\n4. A rule is added at X, with the tag {}.\n", new_rule::TAG));
        let mut own = DemoConsumer::new(new_rule::TAG, address, None);
        self.pump_until([&mut own], |_, viewers| viewers[0].consumer.token().is_some()).await?;
        new_rule::add(address).await?;
        self.pump_until([cats, dogs, &mut own], |_, viewers| viewers[2].tracker.len() >= 1).await?;
        print_status(format_args!("\n   The first post that matches it has arrived."));
        Ok(())
    }

    async fn summary(
        &mut self,
        mut cats: DemoConsumer,
        mut dogs: DemoConsumer,
        mut sound: bool,
    ) -> anyhow::Result<Exit> {
        self.truth.pause();
        let due = TAGS.map(|tag| self.due(tag));
        let all = |_: &Self, viewers: &[&mut DemoConsumer]| {
            viewers.iter().zip(due).all(|(viewer, due)| viewer.tracker.len() >= due)
        };
        if self.pump_until([&mut cats, &mut dogs], all).await.is_err() {
            sound = false;
        }
        let truth = self.truth.sent_posts();
        print_status(format_args!("\nSummary:"));
        for viewer in [&cats, &dogs] {
            let comparison = viewer.tracker.compare(&truth, viewer.tag);
            sound &= comparison.is_sound();
            print_status(format_args!(
                "  {}: sent {}, received {}, repeated {}, not requested {}",
                viewer.tag, comparison.due, comparison.got, comparison.repeated, comparison.foreign
            ));
        }
        Ok(if sound { Exit::Done } else { Exit::ContractViolated })
    }

    /// Returns the number of posts with this tag that the simulator has sent.
    fn due(&self, tag: &str) -> usize {
        self.truth.sent_posts().iter().filter(|post| has(post, tag)).count()
    }

    async fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = self.clock.moment().plus(WAIT_TIMEOUT);
        while !condition(self) {
            if self.clock.moment() >= deadline {
                bail!("waited {WAIT_TIMEOUT:?} until {what}");
            }
            self.clock.sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Polls these consumers until the condition is true.
    async fn pump_until<const N: usize>(
        &self,
        mut viewers: [&mut DemoConsumer; N],
        done: impl Fn(&Self, &[&mut DemoConsumer]) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = self.clock.moment().plus(WAIT_TIMEOUT);
        while !done(self, &viewers) {
            if self.clock.moment() >= deadline {
                bail!("waited {WAIT_TIMEOUT:?} for posts");
            }
            self.look(&mut viewers).await?;
        }
        Ok(())
    }

    async fn attend_until(&self, end: crate::clock::Moment, mut viewers: [&mut DemoConsumer; 2]) -> anyhow::Result<()> {
        while self.clock.moment() < end {
            self.look(&mut viewers).await?;
        }
        Ok(())
    }

    /// Processes the frames that are available.
    async fn look(&self, viewers: &mut [&mut DemoConsumer]) -> anyhow::Result<()> {
        for viewer in viewers {
            while let Ok(step) = self.clock.timeout(POLL_INTERVAL, viewer.consumer.next()).await {
                viewer.take(&step?);
            }
        }
        Ok(())
    }

    fn commands(&self, address: &str) -> String {
        let target = address.trim_start_matches("http://");
        let admin = self.app.admin_address();
        let simulator = self.truth.base_url();
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

impl DemoConsumer {
    fn new(tag: &'static str, address: &str, token: Option<ResumeToken>) -> Self {
        let mut builder = Consumer::builder(address).consumer(format!("demo-{tag}")).any_of([tag]).violations_max(1);
        if let Some(token) = token {
            builder = builder.resume_from(token);
        }
        let consumer = builder.build().expect("the address is the gateway's own");
        Self { tag, consumer, tracker: DeliveryLog::default() }
    }

    fn take(&mut self, delivery: &Delivery) {
        match &delivery.content {
            Content::Events(batch) => {
                for event in &batch.events {
                    self.tracker.note(event.post_id);
                    let mut line = Vec::new();
                    EventFormat::Human { width: 110 }.event(event, &mut line);
                    print(&format!("{:>5} │ {}", self.tag, String::from_utf8_lossy(&line)));
                }
            }
            Content::Gap(_) | Content::Missing(_) | Content::Skipped(_) | Content::Notice(Frame::StreamNotice(_)) => {
                delivery.describe().iter().for_each(|line| print(&format!("{:>5} ┃ {line}\n", self.tag)));
            }
            Content::Disconnected(_) => {
                delivery.describe().iter().for_each(|line| print_status(format_args!("{}: {line}", self.tag)));
            }
            Content::Notice(_) | Content::Unknown => {}
        }
    }
}
