//! The gateway is killed or stopped again and again while it delivers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use powerstream_gateway::clock::Clock;
use powerstream_gateway::grpc::REASON_TRAILER;
use powerstream_gateway::proto::StartOutcome;
use powerstream_gateway::simulator::{
    BogusResponse, Config as Upstream, CutKind, ErrorResponse, Repeat, Scope, SentPost, SimulatorHandle,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::ground_truth::expected;
use crate::harness::process::Gateway;
use crate::harness::{ResumingConsumer, Subscriber, TestEnv, eventually, filters, probe, record};

/// How often it is killed, unless `KILLS` sets another number.
const KILLS: usize = 50;
/// The same where X fails too.
const KILLS_IN_OUTAGES: usize = 25;
/// How often it is stopped.
const STOPS: usize = 10;
/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 500.0;
/// Posts that X writes between two ends of the process, at most: a backfill and what is live.
const WRITES_PER_END: usize = 40_000;
/// Heartbeats, of a second, after which a consumer that misses something stops waiting for it.
const BEATS_MAX: usize = 45;
/// Seed of the moments of the kills.
const SEED: u64 = 50;

/// Waits until upstream has sent so many more posts.
async fn more_posts(env: &TestEnv, count: u64) {
    let until = env.x.truth_len() + count;
    eventually("posts continue", async || env.x.truth_len() >= until).await;
}

/// As often as the environment requests, for longer runs.
fn kills(usual: usize) -> usize {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// X fails in some way, or not.
fn fail(x: &SimulatorHandle, rng: &mut StdRng) {
    let kinds = [CutKind::CleanEnd, CutKind::Reset, CutKind::MidPost, CutKind::AfterBrace, CutKind::MidGzip];
    match rng.random_range(0..8) {
        number if number < kinds.len() => drop(x.cut(kinds[number])),
        5 => {
            x.refuse_next(rng.random_range(1..4), ErrorResponse::named("unavailable").expect("it is known"));
            x.cut(CutKind::Reset);
        }
        6 => x.answer_with(&Scope::Live, Repeat::Next(1), BogusResponse::Empty),
        _ => {}
    }
}

/// How the process is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Kill,
    Stop,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_records_survive_50_kills() {
    over_ends(kills(KILLS), By::Kill, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_upstream_failures_lose_nothing() {
    over_ends(kills(KILLS_IN_OUTAGES), By::Kill, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_records_survive_repeated_restart() {
    over_ends(STOPS, By::Stop, false).await;
}

async fn over_ends(times: usize, by: By, x_fails: bool) {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        // X may hold the slot of the dead one for a moment.
        settings.upstream.rate_limit_backoff_step = std::time::Duration::from_millis(100);
        settings.upstream.http_backoff_step = std::time::Duration::from_millis(100);
    };
    let x = |config: &mut Upstream| {
        config.rate = RATE;
        config.write_log_entries_max = record::WRITES_MAX.max(times * WRITES_PER_END);
    };
    let env = TestEnv::without_gateway(Clock::system(), x, tune);
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut consumers: Vec<_> = [filters::all(), filters::any(&["cats"]), filters::any_but(&["*"], &["links"])]
        .map(|filter| ResumingConsumer::new(&env.x, filter))
        .into();
    let mut announced = 0;
    for _ in 0..times {
        let known: Arc<HashSet<String>> =
            Arc::new(consumers.iter().flat_map(|own| &own.terms).map(|(_, term)| term.clone()).collect());
        // Some end while what others delivered is read, most once they have delivered something themselves.
        let counts_all = rng.random_bool(0.2);
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        let (mut reading, came) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
        for consumer in consumers.drain(..) {
            let (came, known) = (came.clone(), known.clone());
            let note = move |own: &Subscriber| {
                let is_counted = |term: &&String| counts_all || !known.contains(*term);
                came.fetch_max(own.terms.iter().rev().take_while(is_counted).count(), Ordering::Relaxed);
                false
            };
            reading.push(tokio::spawn(consumer.read(gateway.client().await, note)));
        }
        let enough = rng.random_range(usize::from(!counts_all)..100);
        eventually("so many posts came", async || came.load(Ordering::Relaxed) >= enough).await;
        if x_fails {
            fail(&env.x, &mut rng);
            let since = env.x.now();
            let moment = std::time::Duration::from_millis(rng.random_range(0..200));
            eventually("a moment passes", async || env.x.now().since(since) >= moment).await;
        }
        end(gateway, by).await;
        for consumer in reading {
            let consumer = consumer.await.expect("no rule of sessions was broken");
            announced += consumer.end.iter().filter(|end| end.metadata().contains_key(REASON_TRAILER)).count();
            consumers.push(consumer);
        }
    }
    match by {
        By::Kill => assert_eq!(announced, 0, "a killed process sends nothing"),
        By::Stop => assert!(announced > 2 * times, "open sessions are notified: {announced}"),
    }
    env.x.clear_refusals();
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    more_posts(&env, 10).await;
    env.x.pause();
    let truth = env.x.sent_posts();
    let mut caught_up = Vec::new();
    for consumer in consumers {
        caught_up.push(read_all(consumer, &gateway, &truth).await);
    }
    let whole = read_all(ResumingConsumer::new(&env.x, filters::all()), &gateway, &truth).await;
    let mut metrics = String::new();
    eventually("all that came in is accounted for", async || {
        metrics = probe::get(gateway.admin(), "/metrics").await.1;
        record::are_balanced(&record::tallies(&metrics))
    })
    .await;
    verify(&env, (&whole, &caught_up), (times, by), &metrics);
}

async fn end(mut gateway: Gateway, by: By) {
    if by == By::Kill {
        return gateway.kill().await;
    }
    gateway.terminate();
    assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
}

/// Reads until everything is there and heartbeats confirm that nothing more came, or for so many heartbeats: the gateway may
/// still be reading the last backfill, and the oracle reports what is missing then.
async fn read_all(consumer: ResumingConsumer, gateway: &Gateway, truth: &[SentPost]) -> ResumingConsumer {
    let due = expected(truth, &consumer.filter).len().saturating_sub(consumer.got.len());
    let is_whole = move |session: &Subscriber| {
        let beats = &session.heartbeats;
        let at_rest =
            beats.len() >= 2 && beats[beats.len() - 1].delivered_total == beats[beats.len() - 2].delivered_total;
        (at_rest && session.got.len() >= due) || beats.len() >= BEATS_MAX
    };
    consumer.read(gateway.client().await, is_whole).await
}

fn verify(
    env: &TestEnv,
    (whole, consumers): (&ResumingConsumer, &[ResumingConsumer]),
    (ends, by): (usize, By),
    metrics: &str,
) {
    let terms = oracle::Terms { is_killed: by == By::Kill, is_settled: false, ..oracle::Terms::new() };
    let all = [whole].into_iter().chain(consumers).enumerate();
    let subscriptions = all.map(|(number, consumer)| consumer.record(number)).collect();
    let mut history = record::history(&env.x, subscriptions, terms, |_| true);
    history.tallies = record::tallies(metrics);
    record::assert_sound("all over all ends, and one that reads the whole log", &history);
    let truth = env.x.sent_posts();
    for consumer in [whole].into_iter().chain(consumers) {
        let got: HashSet<u64> = consumer.got.iter().map(|event| event.post_id).collect();
        let due = expected(&truth, &consumer.filter);
        let missing: Vec<u64> = due.iter().map(|post| post.post_id.0).filter(|id| !got.contains(id)).collect();
        assert!(missing.is_empty(), "X sends all of it in time, so no gap excuses {missing:?}");
    }
    for consumer in consumers {
        assert!(consumer.outcomes.iter().all(|outcome| *outcome == StartOutcome::Exact), "nothing exposed is lost");
    }
    let terms: HashSet<_> = whole.terms.iter().collect();
    assert!(terms.len() > ends / 2, "most of the {} terms delivered something", terms.len());
    let posts = env.x.truth_len();
    assert!(posts > 20 * ends as u64, "{posts} posts");
}
