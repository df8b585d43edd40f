//! Sessions that come and go while posts come in.

use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{Event, SubscribeRequest, TagFilter};
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{Subscriber, TestEnv, after, earliest, eventually, filters, latest, posts};

/// Posts drawn per second; about half of them match a rule.
const RATE: f64 = 3_000.0;
/// Sessions of each subscription.
const SESSIONS: usize = 60;

/// A consumer over many sessions.
struct ResumingConsumer {
    filter: TagFilter,
    last: Subscriber,
    got: Vec<Event>,
}

/// Reconnects again and again after a few frames, with any of its tokens.
async fn come_and_go(env: &TestEnv, filter: TagFilter, seed: u64) -> ResumingConsumer {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut last = env.subscribe(earliest(&filter)).await;
    let mut got = Vec::new();
    for _ in 0..SESSIONS {
        for _ in 0..rng.random_range(0..6) {
            last.read().await;
        }
        // Any token of the session, not only the last: what came behind it comes again and is not counted.
        let at = rng.random_range(0..last.tokens.len());
        let (had, token) = last.tokens[at].clone();
        last.got.truncate(had);
        got.append(&mut last.got);
        let request = SubscribeRequest { max_batch_events: rng.random_range(1..100), ..after(&token, &filter) };
        last = env.subscribe(request).await;
    }
    ResumingConsumer { filter, last, got }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_loss_at_replay_live_handover() {
    let small = |settings: &mut powerstream_gateway::config::Settings| settings.hub.ring_bytes_max = 100 << 10;
    let env = TestEnv::tuned(|_| (), small).await;
    env.x.set_rate(RATE);
    let requested = [filters::all(), filters::any(&["cats"]), filters::any_but(&["*"], &["links", "retweets"])];
    let [all, cats, rest] = requested;
    let (all, cats, rest) =
        tokio::join!(come_and_go(&env, all, 1), come_and_go(&env, cats, 2), come_and_go(&env, rest, 3));
    env.x.pause();
    env.all_logged().await;
    let truth = env.x.sent_posts();
    for ResumingConsumer { filter, mut last, mut got } in [all, cats, rest] {
        let wanted = expected(&truth, &filter);
        last.posts(wanted.len() - got.len()).await;
        got.append(&mut last.got);
        assert_exact("one that comes and goes", &wanted, &got);
        assert!(got.len() > 100, "{} posts", got.len());
    }
    assert!(env.metric("cold_reads_total") > 0.0, "some were behind the ring");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_cancelled_sessions_leak_nothing() {
    let mut env = TestEnv::new().await;
    let mut neighbour = env.subscribe(latest(&filters::all())).await;
    let mut client = env.client().await;
    for round in 0..1_000 {
        let stream = client.subscribe(latest(&filters::any(&["cats"]))).await.expect("it begins");
        if round % 2 == 0 {
            stream.into_inner().message().await.expect("a frame");
        }
    }
    eventually("all have gone", async || env.metric("sessions") == 1.0).await;
    let truth = env.post_mix(20);
    neighbour.posts(20).await;
    assert_exact("the neighbour", &truth, &neighbour.got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_keep_bounds_that_were_asked_for() {
    const BYTES_MAX: u32 = 20 << 10;
    let env = TestEnv::new().await;
    for number in 0..200 {
        env.x.publish(&posts::large_post(number, 1 + number * 50)).expect("a post");
    }
    let one_large = env.x.publish(&posts::large_post(7, 500 << 10)).expect("a post");
    env.all_logged().await;
    let request = SubscribeRequest { max_batch_events: 5, max_batch_bytes: BYTES_MAX, ..earliest(&filters::all()) };
    let mut stream = env.ask(request).await.expect("it begins");
    let (mut seen, mut fullest) = (0, 0);
    while seen < 201 {
        let response = crate::harness::in_time("a frame", stream.message()).await.expect("no error").expect("no end");
        let Some(Frame::EventBatch(batch)) = response.frame else { continue };
        let bytes: usize = batch.events.iter().map(Message::encoded_len).sum();
        let alone = batch.events.len() == 1;
        assert!(batch.events.len() <= 5 && (alone || bytes <= BYTES_MAX as usize), "{} {bytes}", batch.events.len());
        assert!(batch.events[0].post_id != one_large.post_id.0 || alone, "the large one goes alone");
        seen += batch.events.len();
        fullest = fullest.max(batch.events.len());
    }
    assert_eq!(fullest, 5, "batches were filled");
}
