//! Random mixtures of everything that goes wrong: each seed is a timeline of faults of X, ends of the gateway, and
//! subscribers that come, drop and resume. In the end all is repaired, and every subscription has every post exactly once.
//!
//! `just seeds 500` plays that many; `SEED=7` plays one. A seed that failed becomes a test with a name.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oracle::Terms;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::{Rule, TimeRange};
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::{GapState, TagFilter};
use powerstream_gateway::simulator::{
    Backfill, BogusResponse, CutKind, ErrorResponse, Flow, Gzip, JobFault, Repeat, Scope, SimulatorHandle, StreamError,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::harness::env::patient;
use crate::harness::process::Gateway;
use crate::harness::{ResumingConsumer, Subscriber, TestEnv, eventually, filters, probe, record};

/// A minute in a second: the allowed lateness is half a second then, more than a busy machine is late by.
const RATE: f64 = 60.0;
/// Posts drawn per second.
const POSTS: f64 = 1.0;
/// Number of seeds that are played by default.
const SEEDS: u64 = 20;
/// How many at a time: most of a timeline is waiting.
const AT_A_TIME: usize = 3;
/// What is due has come by then, in time of the machine: one that stands still for 0.2 s ends a connection, at this rate.
const SETTLED: Duration = Duration::from_secs(240);
/// What a seed is mixed with for what was added to the timelines later.
const MORE: u64 = 0x6d6f_7265;
/// Posts are late by less than this: within what X is allowed.
const LAG_MAX_SECONDS: u64 = 26;
/// Of so many posts some come again.
const RECENT: u64 = 20;
/// Steps of a timeline.
const STEPS: usize = 10;

/// One timeline.
struct Timeline {
    rng: StdRng,
    /// What was added to the timelines later is drawn from this one, so that a seed keeps its play.
    more: StdRng,
    env: TestEnv,
    gateway: Option<Gateway>,
    skew_seconds: i64,
    /// What was done, for the analysis of a seed that failed.
    done: Vec<String>,
}

fn tune(settings: &mut Settings) {
    let stale_after = settings.upstream.stale_after;
    patient(settings);
    settings.upstream.stale_after = stale_after;
    settings.upstream.http_backoff_step = Duration::from_secs(1);
    settings.upstream.http_backoff_max = Duration::from_secs(4);
    settings.upstream.rate_limit_backoff_step = Duration::from_secs(2);
    settings.upstream.rate_limit_backoff_max = Duration::from_secs(8);
    // A fixed port, so that subscribers find the next process as they found the one before.
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    settings.grpc.address = free.local_addr().expect("it is bound");
}

impl Timeline {
    async fn begin(seed: u64) -> Self {
        let mut more = StdRng::seed_from_u64(seed ^ MORE);
        let gzip = if more.random() { Gzip::Required } else { Gzip::Off };
        let env = TestEnv::without_gateway(Clock::with_rate(RATE, None), |x| x.gzip = gzip, tune);
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        env.connected().await;
        env.x.set_rate(POSTS);
        let rng = StdRng::seed_from_u64(seed);
        let done = vec![format!("compression {gzip:?}")];
        let timeline = Self { rng, more, env, gateway: Some(gateway), skew_seconds: 0, done };
        // What is before the log's beginning is not for sessions that start there.
        timeline.pass(75).await;
        timeline
    }

    async fn pass(&self, seconds: u64) {
        let until = self.env.x.now().plus(Duration::from_secs(seconds));
        eventually("time passes", async || self.env.x.now() >= until).await;
    }

    async fn step(&mut self) {
        let (x, seconds) = (self.env.x.clone(), self.rng.random_range(0..60));
        let what = match self.rng.random_range(0..10) {
            0..=2 => self.cut(&x),
            3 => self.refuse(&x),
            4 => self.hollow(&x),
            5 => self.backfill(&x),
            6 => self.job_fault(&x),
            7 => self.stall(&x).await,
            8 => self.away(&x).await,
            _ => self.restart().await,
        };
        let more = self.more();
        self.done.push(format!("{what}, {seconds} s{more}"));
        self.pass(seconds).await;
    }

    /// Posts come late, and some come again under further rules.
    fn more(&mut self) -> String {
        let x = &self.env.x;
        match self.more.random_range(0..4) {
            0 => {
                let lag = Duration::from_secs(self.more.random_range(0..LAG_MAX_SECONDS));
                x.lag_next(lag);
                format!(", the next connection is late by {lag:?}")
            }
            1 | 2 => {
                let (truth, rules) = (x.truth_after(x.truth_len().saturating_sub(RECENT), RECENT as usize), x.rules());
                let again = self.more.random_range(1..6);
                for _ in 0..again {
                    let Some(post) = truth.get(self.more.random_range(0..RECENT as usize)) else { continue };
                    let rule = &rules[self.more.random_range(0..rules.len())];
                    let rule = Rule { id: Some(rule.id), tag: rule.tag.clone() };
                    x.redeliver(post.post_id, &[rule]).expect("it was sent");
                }
                format!(", up to {again} posts come again under further rules")
            }
            _ => String::new(),
        }
    }

    fn cut(&mut self, x: &SimulatorHandle) -> String {
        let kinds = [
            CutKind::CleanEnd,
            CutKind::Reset,
            CutKind::MidMessage,
            CutKind::MidPost,
            CutKind::AfterBrace,
            CutKind::MidGzip,
        ];
        match self.rng.random_range(0..kinds.len() + 2) {
            number if number < kinds.len() => format!("cut {:?}: {}", kinds[number], x.cut(kinds[number])),
            number => {
                let reported = number == kinds.len();
                format!("slow reader, reported {reported}: {}", x.cut_slow_reader(&Scope::Live, reported))
            }
        }
    }

    fn refuse(&mut self, x: &SimulatorHandle) -> String {
        let names = ["unavailable", "too_many_connections", "html", "unauthorized", "rate_limited"];
        let name = names[self.rng.random_range(0..names.len())];
        let scope = if self.rng.random() { Scope::All } else { Scope::Live };
        let times = Repeat::Next(self.rng.random_range(1..6));
        x.refuse(&scope, times, ErrorResponse::named(name).expect("it is known"));
        format!("refuse {name} {times:?} of {scope:?}, cut {}", x.cut(CutKind::Reset))
    }

    fn hollow(&mut self, x: &SimulatorHandle) -> String {
        let kinds = [
            BogusResponse::Empty,
            BogusResponse::Html,
            BogusResponse::Error(StreamError::OperationalDisconnect),
            BogusResponse::Error(StreamError::TooManyConnections),
            BogusResponse::Garbage { every: Duration::from_secs(3) },
            BogusResponse::Silence,
        ];
        let hollow = kinds[self.rng.random_range(0..kinds.len())];
        x.answer_with(&Scope::Live, Repeat::Next(self.rng.random_range(1..3)), hollow);
        format!("hollow {hollow:?}, cut {}", x.cut(CutKind::CleanEnd))
    }

    fn backfill(&mut self, x: &SimulatorHandle) -> String {
        let modes = [Backfill::OlderFirst, Backfill::NewestFirst, Backfill::Ignored, Backfill::Refused];
        let mode = modes[self.rng.random_range(0..modes.len())];
        let (doubled, interleaved) = (self.rng.random_range(0..100), self.rng.random());
        x.update_config(|config| {
            config.backfill = mode;
            config.backfill_doubled_percent = doubled;
            config.backfill_interleaved = interleaved;
        });
        format!("backfill {mode:?}, {doubled} % doubled, interleaved {interleaved}, cut {}", x.cut(CutKind::Reset))
    }

    fn job_fault(&mut self, x: &SimulatorHandle) -> String {
        let minute = self.rng.random_range(0..5);
        // No clean end in the middle: twice in a row it cannot be distinguished from a job that is done (contract, 6).
        let faults = [
            JobFault::Dies { minute, how: CutKind::Reset },
            JobFault::Dies { minute, how: CutKind::MidPost },
            JobFault::MinutesFailed(vec![minute]),
            JobFault::Unprocessed { minute },
            JobFault::Silent,
        ];
        let fault = faults[self.rng.random_range(0..faults.len())].clone();
        x.fail_jobs(self.rng.random_range(1..3), fault.clone());
        format!("{fault:?}, jobs cut {}", x.cut_recovery(CutKind::Reset))
    }

    async fn stall(&mut self, x: &SimulatorHandle) -> String {
        let seconds = self.rng.random_range(5..60);
        x.set_flow(&Scope::Live, Flow::Stalled);
        self.pass(seconds).await;
        x.set_flow(&Scope::Live, Flow::Open);
        format!("stalled for {seconds} s")
    }

    /// Hours or minutes pass for X, in which the line is down.
    async fn away(&mut self, x: &SimulatorHandle) -> String {
        let seconds = self.rng.random_range(60..9_000);
        x.answer_with(&Scope::Live, Repeat::UntilCleared, BogusResponse::Empty);
        let cut = x.cut(CutKind::Reset);
        eventually("the line is down", async || x.connections().live == 0).await;
        let from = x.now();
        self.skew_seconds += seconds;
        x.set_skew_seconds(self.skew_seconds);
        let made = x.history(TimeRange::new(from, x.now().minus(Duration::from_secs(1))), 0.05);
        let empty = x.counters().empty_answers;
        eventually("the gateway knows the time", async || x.counters().empty_answers >= empty + 2).await;
        x.clear_refusals_of(&Scope::Live);
        format!("away for {seconds} s, {made} posts, cut {cut}")
    }

    async fn restart(&mut self) -> String {
        let mut gateway = self.gateway.take().expect("it runs");
        let kill: bool = self.rng.random();
        if kill {
            gateway.kill().await;
        } else {
            gateway.terminate();
            assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
        }
        let down = self.rng.random_range(0..90);
        self.pass(down).await;
        self.gateway = Some(Gateway::start(&self.env.settings, self.env.dir()).await);
        format!("killed {kill}, down for {down} s")
    }

    /// A filter of each kind that the timeline does not have yet.
    fn filters(&self) -> Vec<TagFilter> {
        let rules = self.env.x.rules();
        let ids: Vec<u64> = rules.iter().take(2).map(|rule| rule.id).collect();
        vec![filters::rules(&ids), filters::every(&["links", "retweets"]), filters::any_but(&["ca*"], &["japanese"])]
    }

    /// What the last process counts, once all that came in is accounted for.
    async fn balanced(&self) -> String {
        let admin = self.gateway.as_ref().expect("it runs").admin();
        let mut metrics = String::new();
        eventually("all that came in is accounted for", async || {
            metrics = probe::get(admin, "/metrics").await.1;
            record::are_balanced(&record::tallies(&metrics))
        })
        .await;
        metrics
    }

    /// Everything works again.
    async fn repair(&mut self) {
        let x = &self.env.x;
        x.clear_refusals();
        x.clear_job_faults();
        x.set_flow(&Scope::All, Flow::Open);
        x.update_config(|config| config.backfill = Backfill::OlderFirst);
        x.set_lag(&Scope::Live, Duration::ZERO);
        self.pass(60).await;
        self.env.connected().await;
        self.pass(60).await;
        self.env.x.pause();
    }
}

/// A subscriber that drops after so many frames at most, and comes again, until it has all that there is.
async fn subscriber(
    filter: TagFilter,
    address: String,
    seed: u64,
    over: Arc<AtomicBool>,
    x: SimulatorHandle,
) -> ResumingConsumer {
    let (mut rng, mut consumer, clock) =
        (StdRng::seed_from_u64(seed), ResumingConsumer::new(&x, filter), Clock::system());
    let mut late = None;
    loop {
        let frames = rng.random_range(1..200);
        let Ok(client) = StreamServiceClient::connect(address.clone()).await else {
            // The gateway is down.
            tokio::task::yield_now().await;
            continue;
        };
        let before = consumer.clone();
        let whole = |own: &Subscriber| {
            // Posts whose every arrival matches: the others are verified at the end.
            let (mut due, mut not_due) = (HashSet::new(), HashSet::new());
            for post in x.sent_posts() {
                let takes = filters::takes(&before.filter, &post.rules);
                if takes {
                    due.insert(post.post_id.0)
                } else {
                    not_due.insert(post.post_id.0)
                };
            }
            due.retain(|id| !not_due.contains(id));
            for event in before.got.iter().chain(&own.got) {
                due.remove(&event.post_id);
            }
            due.is_empty() && before.gaps.with(own).are_over()
        };
        let mut done = false;
        let mut enough = |own: &Subscriber| {
            if !over.load(Ordering::Relaxed) {
                return own.tokens.len() >= frames;
            }
            let since = *late.get_or_insert_with(|| clock.moment());
            done = whole(own) || clock.moment().since(since) > SETTLED;
            done
        };
        consumer = consumer.read(client.max_decoding_message_size(2 << 20), &mut enough).await;
        if done {
            return consumer;
        }
    }
}

async fn play(seed: u64) {
    let mut timeline = Timeline::begin(seed).await;
    let over = Arc::new(AtomicBool::new(false));
    let address = format!("http://{}", timeline.env.settings.grpc.address);
    let mut subscribers = JoinSet::new();
    let asked = [filters::all(), filters::all(), filters::any(&["cats"]), filters::any_but(&["*"], &["links", "dogs"])];
    let seeds: Vec<u64> = asked.iter().map(|_| timeline.rng.random()).collect();
    let more = timeline.filters();
    let more_seeds: Vec<u64> = more.iter().map(|_| timeline.more.random()).collect();
    for (filter, seed) in asked.into_iter().chain(more).zip(seeds.into_iter().chain(more_seeds)) {
        subscribers.spawn(subscriber(filter, address.clone(), seed, over.clone(), timeline.env.x.clone()));
    }
    for _ in 0..STEPS {
        timeline.step().await;
    }
    timeline.repair().await;
    over.store(true, Ordering::Relaxed);
    let consumers = subscribers.join_all().await;
    let metrics = timeline.balanced().await;
    verify(&timeline, seed, &metrics, &consumers);
}

fn verify(timeline: &Timeline, seed: u64, metrics: &str, consumers: &[ResumingConsumer]) {
    let label = format!("seed {seed} after\n  {}\n", timeline.done.join("\n  "));
    let terms = Terms { is_killed: true, ..Terms::new() };
    let subscriptions = consumers.iter().enumerate().map(|(number, consumer)| consumer.record(number)).collect();
    let mut history = record::history(&timeline.env.x, subscriptions, terms, |_| true);
    history.tallies = record::tallies(metrics);
    record::assert_sound(&label, &history);
    for consumer in consumers {
        let lost = consumer.gaps.spans(&[GapState::Unrecoverable]);
        assert!(lost.is_empty(), "{label} nothing was out of reach: {:?}", consumer.gaps.last());
    }
}

/// Plays these, some at a time, each in a runtime of its own, and names the seeds that failed.
fn play_all(seeds: std::ops::RangeInclusive<u64>) {
    let next = AtomicU64::new(*seeds.start());
    let failed = std::thread::scope(|scope| {
        let player = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return failed;
                }
                if std::panic::catch_unwind(|| play_alone(seed)).is_err() {
                    eprintln!("seed {seed} failed: SEED={seed} plays it alone");
                    failed.push(seed);
                }
            }
        };
        let players: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(player)).collect();
        let joined = players.into_iter().map(|player| player.join().expect("it catches what panics"));
        joined.flatten().collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

fn play_alone(seed: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(play(seed));
}

#[test]
fn random_faults_lose_and_repeat_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => play_alone(seed),
        None => play_all(1..=number("SEEDS").unwrap_or(SEEDS)),
    }
}
