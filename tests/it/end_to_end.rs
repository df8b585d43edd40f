//! The main job.

use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{World, after, filters, latest};
use powerstream_gateway::proto::StartOutcome;

/// Posts of each part.
const PART: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_killed_gets_exactly_what_it_missed() {
    let mut world = World::new().await;
    let filter = filters::any(&["cats", "news/*"]);
    let mut all = world.subscribe(latest(&filters::all())).await;
    let mut first = world.subscribe(latest(&filter)).await;
    assert_eq!(first.start.outcome(), StartOutcome::Live);

    let before = world.post_mix(PART);
    first.posts(expected(&before, &filter).len() / 2).await;
    let token = first.token().to_owned();
    let mut delivered = std::mem::take(&mut first.got);
    drop(first);

    let missed = world.post_mix(PART);
    world.all_logged().await;
    assert!(!expected(&missed, &filter).is_empty(), "there is something to miss");
    let mut second = world.subscribe(after(&token, &filter)).await;
    assert_eq!(second.start.outcome(), StartOutcome::Exact);
    world.post_mix(PART);

    let truth = world.x.truth();
    assert_eq!(truth.len(), 3 * PART);
    let wanted = expected(&truth, &filter);
    second.posts(wanted.len() - delivered.len()).await;
    delivered.append(&mut second.got);
    assert_exact("the killed one", &wanted, &delivered);
    all.posts(truth.len()).await;
    assert_exact("its neighbour", &truth, &all.got);
    assert_eq!((world.x.connections().live_max_ever, world.x.counters().too_many_connections), (1, 0));
}
