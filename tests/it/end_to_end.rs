//! The main job.

use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{TestEnv, after, filters, latest};
use powerstream_gateway::proto::StartOutcome;

/// Posts of each part.
const PART: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_consumer_gets_exactly_missed_posts() {
    let mut env = TestEnv::new().await;
    let filter = filters::any(&["cats", "news/*"]);
    let mut all = env.subscribe(latest(&filters::all())).await;
    let mut first = env.subscribe(latest(&filter)).await;
    assert_eq!(first.start.outcome(), StartOutcome::Live);

    let before = env.post_mix(PART);
    first.posts(expected(&before, &filter).len() / 2).await;
    let token = first.token().to_owned();
    let mut delivered = std::mem::take(&mut first.got);
    drop(first);

    let missed = env.post_mix(PART);
    env.all_logged().await;
    assert!(!expected(&missed, &filter).is_empty(), "there is something to miss");
    let mut second = env.subscribe(after(&token, &filter)).await;
    assert_eq!(second.start.outcome(), StartOutcome::Exact);
    env.post_mix(PART);

    let truth = env.x.sent_posts();
    assert_eq!(truth.len(), 3 * PART);
    let wanted = expected(&truth, &filter);
    second.posts(wanted.len() - delivered.len()).await;
    delivered.append(&mut second.got);
    assert_exact("the killed one", &wanted, &delivered);
    all.posts(truth.len()).await;
    assert_exact("its neighbour", &truth, &all.got);
    assert_eq!((env.x.connections().live_max_ever, env.x.counters().too_many_connections), (1, 0));
}
