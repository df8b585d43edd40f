//! Resume from any place: at every frame, at random, long after, two at once, over a restart.

use powerstream_gateway::proto::{StartOutcome, SubscribeRequest, TagFilter, WarningCode};
use powerstream_gateway::simulator::SentPost;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{Subscriber, TestEnv, after, earliest, filters, posts};

/// Posts of a run.
const POSTS: usize = 2_000;
/// Posts of a ring of 64 KiB are about 200: most of a run is read from the journal.
const RING_BYTES: usize = 64 << 10;

/// Filters from 'all' to 'matches nothing'.
fn filters_of_all_kinds() -> Vec<TagFilter> {
    vec![
        filters::all(),
        filters::any(&["cats"]),
        filters::any(&["news/*"]),
        filters::any_but(&["cats", "dogs"], &["news*"]),
        filters::rules(&[posts::rule_id("dogs"), posts::rule_id("rare")]),
        filters::every(&["cats", "dogs", "news/jp"]),
        filters::any(&["nothing"]),
    ]
}

async fn run_of_posts() -> (TestEnv, Vec<SentPost>) {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.hub.ring_bytes_max = RING_BYTES).await;
    let truth = env.post_mix(POSTS);
    env.all_logged().await;
    (env, truth)
}

/// In batches this small there are many frames.
fn in_batches(request: SubscribeRequest, max: u32) -> SubscribeRequest {
    SubscribeRequest { max_batch_events: max, ..request }
}

/// Reads all that is there.
async fn read_all(env: &TestEnv, request: SubscribeRequest) -> Subscriber {
    let mut subscriber = env.subscribe(request).await;
    subscriber.caught_up().await;
    subscriber
}

/// With a token from where `had` of the posts had come: the rest, exactly.
async fn resumed_exactly(env: &TestEnv, token: &str, filter: &TagFilter, rest: &[SentPost]) {
    let resumed = read_all(env, after(token, filter)).await;
    assert_eq!(resumed.start.outcome(), StartOutcome::Exact);
    assert_exact("the resumed one", rest, &resumed.got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_at_any_frame_delivers_each_post_once() {
    let (env, truth) = run_of_posts().await;
    for (filter, batch) in
        [(filters::any(&["rare"]), 1), (filters::every(&["cats", "news/uk"]), 1), (filters::all(), 50)]
    {
        let wanted = expected(&truth, &filter);
        let mut token = None;
        let mut got = Vec::new();
        let mut sessions = 0;
        loop {
            // Each session takes one frame after the first, and dies.
            let request = token.as_ref().map_or_else(|| earliest(&filter), |token: &String| after(token, &filter));
            let mut session = env.subscribe(in_batches(request, batch)).await;
            session.read().await;
            sessions += 1;
            let passed_nothing = session.got.is_empty();
            token = Some(session.token().to_owned());
            got.append(&mut session.got);
            if passed_nothing {
                break;
            }
        }
        assert_exact("the one killed at every frame", &wanted, &got);
        assert!(sessions > wanted.len() / batch as usize, "it was killed {sessions} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_token_of_any_frame_resumes_long_after() {
    let (env, truth) = run_of_posts().await;
    let mut rng = StdRng::seed_from_u64(1);
    let mut resumed = 0;
    for filter in filters_of_all_kinds() {
        let wanted = expected(&truth, &filter);
        let whole = read_all(&env, in_batches(earliest(&filter), 7)).await;
        assert_exact("the one that was not killed", &wanted, &whole.got);
        for _ in 0..30 {
            let (had, token) = &whole.tokens[rng.random_range(0..whole.tokens.len())];
            resumed_exactly(&env, token, &filter, &wanted[*had..]).await;
            resumed += 1;
        }
    }
    assert_eq!(resumed, 210);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_serves_two_clients_at_once() {
    let (env, truth) = run_of_posts().await;
    let filter = filters::any(&["dogs"]);
    let wanted = expected(&truth, &filter);
    let whole = read_all(&env, in_batches(earliest(&filter), 10)).await;
    let (had, token) = &whole.tokens[whole.tokens.len() / 3];
    let rest = &wanted[*had..];
    tokio::join!(resumed_exactly(&env, token, &filter, rest), resumed_exactly(&env, token, &filter, rest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_restart_with_journal() {
    let (mut env, truth) = run_of_posts().await;
    let filter = filters::any(&["cats"]);
    let before = read_all(&env, in_batches(earliest(&filter), 20)).await;
    env.restart_gateway().await;
    assert_eq!(env.x.counters().too_many_connections, 0, "the old one was closed first");
    env.post_mix(POSTS / 4);
    env.all_logged_since(POSTS).await;
    let wanted = expected(&env.x.sent_posts(), &filter);
    assert_eq!(expected(&truth, &filter), wanted[..before.got.len()]);
    for (had, token) in before.tokens.iter().step_by(10) {
        let resumed = read_all(&env, after(token, &filter)).await;
        assert_eq!((resumed.start.outcome(), &resumed.start.epoch), (StartOutcome::Exact, &before.start.epoch));
        assert_exact("the one from before the restart", &wanted[*had..], &resumed.got);
        assert_ne!(resumed.terms.last(), before.terms.last(), "a start is a new term");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_filter_is_taken_with_warning() {
    let (env, truth) = run_of_posts().await;
    let (cats, dogs) = (filters::any(&["cats"]), filters::any(&["dogs"]));
    let whole = read_all(&env, in_batches(earliest(&cats), 50)).await;
    let (had, token) = &whole.tokens[10];
    let resumed = read_all(&env, after(token, &dogs)).await;
    let warned: Vec<_> = resumed.start.warnings.iter().map(|warning| warning.code()).collect();
    assert_eq!(warned, [WarningCode::FilterChanged]);
    let last = &whole.got[had - 1];
    let at = truth.iter().position(|post| post.post_id.0 == last.post_id).expect("it was sent");
    assert_exact("the one with another filter", &expected(&truth[at + 1..], &dogs), &resumed.got);
}
