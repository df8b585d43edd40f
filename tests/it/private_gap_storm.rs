//! Many subscriptions whose positions are older than the log, each at a position of its own: all are served, and share
//! what X is asked for. `PRIVATE_SUBSCRIPTIONS=2000` sets how many.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::{TimeRange, UnixMillis};
use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::{GapCause, StartOutcome, SubscribeRequest};
use powerstream_gateway::simulator::{SentPost, SimulatorHandle};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::harness::clock_jump::Consumer;
use crate::harness::env::{Client, patient, sum};
use crate::harness::process::Gateway;
use crate::harness::subscriber::asking;
use crate::harness::{Absence, Subscriber, filters, probe};

/// Subscriptions, unless `PRIVATE_SUBSCRIPTIONS` sets another number.
const SUBSCRIPTIONS: usize = 200;
/// Time before the log, in seconds.
const MISSING: i64 = 7_200;
/// Posts a second in it: about 360.
const POSTS: f64 = 0.05;
/// Posts but for the first and last seconds of it.
const BUT: (u64, u64) = (90, 1);
/// How much earlier than its subscription began a post may have been created that a subscription receives.
const ALLOWED_LATENESS: Duration = Duration::from_secs(30);
/// Streams of one connection.
const STREAMS: usize = 100;
/// Requests to X, however many subscriptions there are: most of them share one, and what the first of them asked for, and
/// what its neighbours add, is at most a few windows. The first connection's end of the log adds another.
const REQUESTS_MAX: usize = 12;

/// As many as the environment requests, for longer runs.
fn subscriptions() -> usize {
    let asked = std::env::var("PRIVATE_SUBSCRIPTIONS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(SUBSCRIPTIONS)
}

/// How the positions of a crowd follow each other.
#[derive(Clone, Copy, Debug)]
enum Order {
    OldestFirst,
    NewestFirst,
    Mixed,
}

impl Order {
    /// The position of a subscription: no two have the same.
    fn position(self, number: usize, count: usize, passed: TimeRange) -> UnixMillis {
        let place = match self {
            Self::OldestFirst => number,
            Self::NewestFirst => count - 1 - number,
            // A prime that divides no count below it.
            Self::Mixed => number * 7_919 % count,
        };
        // The last tenth is left to the first backfill.
        let reach = (MISSING as usize * 900 * place / count) as u64;
        passed.from.plus(Duration::from_millis(reach))
    }
}

/// What the gateway has used.
#[derive(Debug)]
struct Usage {
    cpu: f64,
    resident_mib: f64,
    reads: f64,
}

async fn usage(gateway: &Gateway) -> Usage {
    let (_, metrics) = probe::get(gateway.admin(), "/metrics").await;
    let process = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("it is exported");
        line.trim().parse::<f64>().expect("a number")
    };
    Usage {
        cpu: process("process_cpu_seconds_total "),
        resident_mib: process("process_resident_memory_bytes ") / f64::from(1 << 20),
        reads: sum(&metrics, "cold_reads_total") + sum(&metrics, "page_cache_hits_total"),
    }
}

fn request(from: UnixMillis) -> SubscribeRequest {
    let nanos = i32::try_from(from.0.rem_euclid(1_000) * 1_000_000).expect("below a second");
    let start = prost_types::Timestamp { seconds: from.0.div_euclid(1_000), nanos };
    // A minute is a second of the machine.
    let heartbeat_interval = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    SubscribeRequest { heartbeat_interval, ..asking(&filters::all(), Start::StartTime(start)) }
}

/// Resident memory of the gateway at its peak.
fn peak_mib(gateway: &Gateway) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1_024.0
}

/// Begins, waits until all others have begun, reads until all posts from its position on have come and its gap has ended,
/// and verifies them. Returns how many of them came out of the side log.
async fn read(
    mut client: Client,
    from: UnixMillis,
    (x, truth): (SimulatorHandle, Arc<[SentPost]>),
    all_open: Arc<Barrier>,
) -> usize {
    let due = truth.iter().filter(|post| post.created >= from).count();
    let session = Subscriber::watching(Some(&x), &mut client, request(from)).await.expect("the session begins");
    all_open.wait().await;
    assert_eq!(session.start.outcome(), StartOutcome::TimeBounded);
    let mut consumer = Consumer::of(session);
    let came = |own: &Consumer| own.got.iter().filter(|event| UnixMillis(event.event_time_ms) >= from).count();
    while came(&consumer) < due || !consumer.is_healed() {
        assert!(consumer.read().await, "it ended before");
    }
    // X is asked for whole minutes. What no subscription misses of them is for subscriptions that began up to the allowed lateness later.
    let got: HashSet<u64> = consumer.got.iter().map(|event| event.post_id).collect();
    let is_near = |post: &SentPost| post.created >= from.minus(ALLOWED_LATENESS) && got.contains(&post.post_id.0);
    let whole: Vec<_> = truth.iter().filter(|post| post.created >= from || is_near(post)).cloned().collect();
    consumer.assert_whole("one of many", &x, &[], &whole);
    assert!(consumer.own_gaps.iter().all(|gap| gap.cause() == GapCause::LogLost), "{:?}", consumer.own_gaps);
    assert_eq!(consumer.got.len(), whole.len(), "none comes twice");
    consumer.recovered()
}

#[expect(clippy::print_stdout, reason = "figures of longer runs")]
async fn serve(order: Order) {
    let (count, clock) = (subscriptions(), Clock::system());
    let mut own = Absence::before_the_gateway(
        |x| x.recovery_rate = 2.0,
        |settings| {
            patient(settings);
            // All are of one caller, and how many of their demands meet one that runs depends on the machine.
            settings.hub.private_gaps.demands_per_hour_per_caller_max = 100_000;
        },
    );
    let passed = own.pass_at_once(MISSING);
    own.history(passed, BUT, POSTS);
    let env = &own.env;
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let (truth, before, began) = (Arc::<[_]>::from(env.x.sent_posts()), usage(&gateway).await, clock.moment());
    let mut clients = Vec::new();
    for _ in 0..count.div_ceil(STREAMS) {
        clients.push(gateway.client().await);
    }
    let mut reading = JoinSet::new();
    let (mut due_in_all, all_open) = (0, Arc::new(Barrier::new(count)));
    for number in 0..count {
        let from = order.position(number, count, passed);
        due_in_all += truth.iter().filter(|post| post.created >= from).count();
        reading.spawn(read(clients[number / STREAMS].clone(), from, (env.x.clone(), truth.clone()), all_open.clone()));
    }
    let mut recovered = 0;
    while let Some(served) = reading.join_next().await {
        recovered += served.expect("each is served");
    }
    let (took, after, requests) = (clock.moment().since(began), usage(&gateway).await, own.windows(0).len());
    println!(
        "{count} subscriptions, {order:?}: {requests} requests to X, {took:.1?}, {:.1} s of CPU",
        after.cpu - before.cpu
    );
    println!("{:.0} MiB at first, {:.0} MiB at most, {} reads", before.resident_mib, peak_mib(&gateway), after.reads);
    assert!(recovered > due_in_all / 2, "the side log delivered {recovered} of {due_in_all}");
    assert!(requests <= REQUESTS_MAX, "positions within one window share their requests: {:?}", own.windows(0));
    // A session reads on once for each batch of the side log, and a batch has a post at least; one that goes round would read
    // without end.
    let reads_max = 2 * count * truth.len();
    assert!(after.reads <= reads_max as f64, "{after:?}");
    let (open, counters) = (env.x.connections(), env.x.counters());
    assert!(open.live_max_ever == 1 && open.recovery_max_ever <= 2, "{open:?}");
    assert_eq!((counters.too_many_connections, counters.bad_requests), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_gaps_of_many_mixed_positions_are_served() {
    serve(Order::Mixed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_gaps_newest_first_share_requests() {
    serve(Order::NewestFirst).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_gaps_oldest_first_are_served() {
    serve(Order::OldestFirst).await;
}
