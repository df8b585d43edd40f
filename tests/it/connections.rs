//! More than one connection: full copies, of which one is enough, and one for each datacenter, which all are needed.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::{Datacenter, Settings};
use powerstream_gateway::proto::{GapState, Origin};
use powerstream_gateway::simulator::{CutKind, ErrorResponse, Repeat, Scope, SimulatorHandle};

use crate::harness::env::patient;
use crate::harness::gaps::{ALLOWED_LATENESS, Gaps, span};
use crate::harness::outage::give_a_past;
use crate::harness::{ResumingConsumer, Subscriber, TestEnv, eventually, filters, latest};

/// A minute in a second.
const RATE: f64 = 60.0;
const POSTS: f64 = 4.0;

async fn pass(x: &SimulatorHandle, time: Duration) {
    let until = x.now().plus(time);
    eventually("time passes", async || x.now() >= until).await;
}

/// With two connections up, posts on their way, and a subscriber.
async fn with_two(tune: impl FnOnce(&SimulatorHandle, &mut Settings)) -> (TestEnv, Subscriber, u64) {
    let upstream = |x: &mut powerstream_gateway::simulator::Config| x.live_connections_max = 2;
    let mut env = TestEnv::without_gateway(Clock::with_rate(RATE, None), upstream, patient);
    tune(&env.x.clone(), &mut env.settings);
    give_a_past(&env.x);
    let past = env.x.truth_len();
    env.start_gateway().await;
    eventually("both are up", async || env.x.connections().live == 2).await;
    let session = env.subscribe(latest(&filters::all())).await;
    env.x.set_rate(POSTS);
    // Until the log knows where it begins.
    pass(&env.x, Duration::from_secs(75)).await;
    (env, session, past)
}

async fn settle(env: &TestEnv, session: &mut Subscriber, past: u64) -> ResumingConsumer {
    env.x.pause();
    let due = env.x.truth_since(past).len();
    session.until("all came, and gaps are over", |own| own.got.len() >= due && Gaps::of(own).are_over()).await;
    let mut consumer = ResumingConsumer::new(&env.x, filters::all());
    consumer.follow(session);
    consumer.assert_whole("the one that takes all", 2);
    assert_eq!(env.x.connections().live_max_ever, 2);
    consumer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gap_opens_only_when_both_copies_are_down() {
    let (env, mut session, past) = with_two(|_, settings| settings.accounts[0].connections = 2).await;
    let x = &env.x;
    x.refuse(&Scope::Live, Repeat::UntilCleared, ErrorResponse::html());
    assert_eq!(x.cut_of(&Scope::Connection(0), CutKind::Reset), 1);
    pass(x, Duration::from_secs(60)).await;
    assert_eq!((x.connections().live, Gaps::of(&session).last().len()), (1, 0), "one is enough");
    x.clear_refusals();
    eventually("both are up again", async || x.connections().live == 2).await;
    pass(x, Duration::from_secs(35)).await;
    let one_was_down = settle(&env, &mut session, past).await;
    assert_eq!(one_was_down.gaps.last().len(), 0, "no gap while one was up");
    assert_eq!(one_was_down.got.iter().filter(|event| event.origin() == Origin::Recovery).count(), 0);

    x.resume();
    pass(x, Duration::from_secs(5)).await;
    x.refuse(&Scope::Live, Repeat::UntilCleared, ErrorResponse::html());
    assert_eq!(x.cut(CutKind::CleanEnd), 2);
    pass(x, Duration::from_secs(60)).await;
    x.clear_refusals();
    eventually("both are up again", async || x.connections().live == 2).await;
    pass(x, Duration::from_secs(35)).await;
    let consumer = settle(&env, &mut session, past).await;
    assert_eq!(consumer.gaps.histories(), [[GapState::Detected, GapState::Backfilled]]);
    consumer.assert_whole("the one that takes all", 2);
    let metrics = env.app().metrics();
    let first: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("powerstream_gateway_upstream_posts_first_seen_total"))
        .collect();
    let counted = env.metric("upstream_posts_first_seen_total");
    assert!(
        first.len() == 2 && counted > consumer.got.len() as f64 * 0.9,
        "{counted} of {}: {first:?}",
        consumer.got.len()
    );
    assert!(env.metric("duplicates_total") > x.sent_posts().len() as f64 / 4.0, "both delivered most of it");
    assert_eq!((x.counters().cuts_reset, x.counters().cuts_clean_end), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datacenter_connections_have_own_gaps() {
    let (env, mut session, past) = with_two(|x, settings| {
        let datacenter =
            |name: &str| Datacenter { name: name.into(), url: x.base_url_of(name).parse().expect("a URL") };
        settings.accounts[0].datacenters = vec![datacenter("atla"), datacenter("pdxa")];
    })
    .await;
    let (x, west) = (&env.x, Scope::Datacenter("pdxa".into()));
    let cut = x.now();
    x.refuse(&west, Repeat::UntilCleared, ErrorResponse::html());
    assert_eq!(x.cut_of(&west, CutKind::Reset), 1);
    pass(x, Duration::from_secs(100)).await;
    let back = x.now();
    x.clear_refusals();
    eventually("both are up again", async || x.connections().live == 2).await;
    pass(x, Duration::from_secs(35)).await;
    let consumer = settle(&env, &mut session, past).await;
    let truth = x.truth_since(past);
    consumer.assert_whole("the one that takes all", 2);
    // On a busy machine a log may begin with a gap.
    let gaps = consumer.gaps.since(cut);
    assert_eq!(gaps.histories(), [[GapState::Detected, GapState::Backfilled]]);
    let gap = span(gaps.last()[0]);
    assert!(
        gap.from <= cut.minus(ALLOWED_LATENESS / 2) && gap.to >= back.plus(ALLOWED_LATENESS),
        "{gap:?} for {cut} to {back}"
    );
    for post in truth.iter().filter(|post| post.created > cut.plus(ALLOWED_LATENESS / 2) && post.created < back) {
        let event = consumer.got.iter().find(|event| event.post_id == post.post_id.0).expect("it came");
        let origin = if post.datacenter == 0 { Origin::Live } else { Origin::Backfill };
        assert_eq!(event.origin(), origin, "of datacenter {}", post.datacenter);
    }
    assert!(x.requests().iter().all(|request| request.target.contains("localDcOnly=true")));
}
