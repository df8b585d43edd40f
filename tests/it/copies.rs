//! Two redundant connections of which one is late: what one missed is covered by the other only once it has delivered it.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::{Origin, SubscribeRequest};
use powerstream_gateway::simulator::{CutKind, ErrorResponse, Flow, Repeat, Scope, SimulatorHandle};

use crate::harness::env::patient;
use crate::harness::eventually::DEADLINE;
use crate::harness::gaps::{Gaps, span};
use crate::harness::outage::give_a_past;
use crate::harness::watermarks::Watched;
use crate::harness::{ResumingConsumer, Subscriber, TestEnv, eventually, filters, latest};

/// Half a minute in a second.
const RATE: f64 = 30.0;
const POSTS: f64 = 4.0;

async fn pass(x: &SimulatorHandle, seconds: u64) {
    let until = x.now().plus(Duration::from_secs(seconds));
    eventually("time passes", async || x.now() >= until).await;
}

fn unavailable() -> ErrorResponse {
    ErrorResponse::named("unavailable").expect("it is known")
}

/// A gateway with two connections, the second one late by so many seconds, and a subscriber. Number of the last post
/// before.
async fn with_late_copy(lag: u64, stale: bool) -> (TestEnv, Subscriber, u64) {
    let upstream = |x: &mut powerstream_gateway::simulator::Config| x.live_connections_max = 3;
    let mut env = TestEnv::without_gateway(Clock::with_rate(RATE, None), upstream, |settings| {
        let stale_after = settings.upstream.stale_after;
        patient(settings);
        if stale {
            settings.upstream.stale_after = stale_after;
        }
        settings.upstream.http_backoff_step = Duration::from_secs(1);
        settings.upstream.http_backoff_max = Duration::from_secs(2);
        settings.accounts[0].connections = 2;
    });
    give_a_past(&env.x);
    env.x.lag_next(Duration::ZERO);
    env.x.lag_next(Duration::from_secs(lag));
    env.start_gateway().await;
    eventually("both are up", async || env.x.connections().live == 2).await;
    let heartbeat_interval = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let request = SubscribeRequest { heartbeat_interval, ..latest(&filters::all()) };
    let session = env.subscribe(request).await;
    let past = env.x.truth_len();
    env.x.set_rate(POSTS);
    pass(&env.x, 80 + lag).await;
    (env, session, past)
}

/// Reads until all is due and over, and verifies it.
async fn verify(label: &str, env: &TestEnv, mut session: Subscriber, past: u64) -> Watched {
    let x = &env.x;
    pass(x, 130).await;
    x.pause();
    pass(x, 60).await;
    let due = x.truth_since(past);
    let settled = |own: &Subscriber| own.got.len() >= due.len() && Gaps::of(own).are_over();
    // The verification names what did not arrive.
    let _ = Clock::system().timeout(DEADLINE, session.read_until(settled)).await;
    let beats = session.heartbeats.len();
    session.until("a heartbeat after it", |own| own.heartbeats.len() > beats).await;
    let mut watched = Watched::new(ResumingConsumer::new(x, filters::all()));
    watched.follow(&session);
    watched.verify(label, x, |_| true);
    eprintln!("{label}: {} posts, {:#?}", due.len(), watched.consumer.gaps.stories());
    watched
}

/// Fault 12, first case: the copy on time is disconnected and reconnects; then the late one is cut, before it has delivered what the
/// other one missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_copy_lost_before_gap_end_loses_nothing() {
    for lag in [5, 20, 28] {
        let (env, session, past) = with_late_copy(lag, false).await;
        let x = &env.x;
        x.refuse(&Scope::Live, Repeat::UntilCleared, unavailable());
        let cut = x.now();
        assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1);
        pass(x, 6).await;
        x.clear_refusals();
        eventually("it is back", async || x.connections().live == 2).await;
        let back = x.now();
        pass(x, 1).await;
        let passed_to = x.now().minus(Duration::from_secs(lag));
        assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1, "the late one is the older one now");
        let watched = verify(&format!("late by {lag} s"), &env, session, past).await;
        assert!(x.counters().late_posts > 100, "the copy was late: {:?}", x.counters());
        if passed_to < back {
            let reported = watched.consumer.gaps.last();
            assert!(reported.iter().any(|gap| span(gap).contains(cut) && span(gap).contains(back)), "{reported:?}");
        }
        let again = watched.consumer.got.iter().filter(|event| event.origin() != Origin::Live).count();
        assert!(again > 0 || passed_to >= back, "backfill or recovery delivered what was missed");
    }
}

/// Fault 12, second case: the late copy is beyond the allowed lateness, and both reconnect at once. Until then the low watermark waits
/// for what only the late one delivers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_beyond_lateness_loses_nothing() {
    let (env, session, past) = with_late_copy(120, false).await;
    let x = &env.x;
    x.refuse(&Scope::Live, Repeat::UntilCleared, unavailable());
    let cut = x.now();
    assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1);
    pass(x, 100).await;
    assert_eq!((x.connections().live, Gaps::of(&session).last().len()), (1, 0), "the late one is up");
    assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1);
    x.clear_refusals();
    eventually("both are back", async || x.connections().live == 2).await;
    let watched = verify("late by 120 s", &env, session, past).await;
    assert!(x.counters().late_posts > 100, "the copy was late: {:?}", x.counters());
    let reported = watched.consumer.gaps.last();
    assert!(reported.iter().any(|gap| span(gap).contains(cut)), "{reported:?}");
}

/// The late copy delivers what the other one missed before it ends: no gap, and nothing is asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_copy_that_passed_gap_covers_it() {
    let (env, session, past) = with_late_copy(20, false).await;
    let x = &env.x;
    x.refuse(&Scope::Live, Repeat::UntilCleared, unavailable());
    assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1);
    pass(x, 6).await;
    x.clear_refusals();
    eventually("it is back", async || x.connections().live == 2).await;
    pass(x, 100).await;
    assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1);
    eventually("both are up", async || x.connections().live == 2).await;
    let watched = verify("late by 20 s, past the gap", &env, session, past).await;
    assert!(x.counters().late_posts > 100, "the copy was late: {:?}", x.counters());
    assert_eq!(watched.consumer.gaps.last().len(), 0, "{:#?}", watched.consumer.gaps.stories());
}

/// Review R6: of two full copies one is dead without a word while the other is refused for 20 s. In that time nothing comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_copy_and_cut_copy_lose_nothing() {
    let (env, session, past) = with_late_copy(0, true).await;
    let x = &env.x;
    let stopped = x.now();
    assert_eq!(x.set_flow(&Scope::Connection(0), Flow::Stalled), 1);
    x.refuse(&Scope::Live, Repeat::UntilCleared, unavailable());
    assert_eq!(x.cut_of(&Scope::Connection(1), CutKind::Reset), 1);
    pass(x, 20).await;
    x.clear_refusals();
    eventually("one is back", async || x.counters().connects >= 3).await;
    let back = x.now();
    let watched = verify("one half open, one cut", &env, session, past).await;
    assert!(x.counters().stalls > 0 && x.counters().cuts_reset >= 1, "the faults fired: {:?}", x.counters());
    let reported = watched.consumer.gaps.last();
    assert!(reported.iter().any(|gap| span(gap).contains(stopped) && span(gap).contains(back)), "{reported:?}");
}
