//! Which posts a subscriber receives over a replacement, while X applies rules late.

use powerstream_gateway::proto::SubscribeResponse;
use powerstream_gateway::proto::subscribe_response::Frame;

use super::*;
use crate::harness::{earliest, filters};

/// How late X applies an added rule.
const LATE: Duration = Duration::from_secs(3);
/// Time between two posts.
const PACE: Duration = Duration::from_millis(20);

/// Replaces a rule by a wider one while posts come that both match. Returns how many posts no rule matched.
async fn missed(effect_delay: Duration) -> usize {
    let tune = |settings: &mut Settings| {
        managed(settings);
        settings.rules.effect_delay = effect_delay;
    };
    let env = TestEnv::tuned(bare, tune).await;
    let mut client = client(&env).await;
    answered(&env.x, &client, 1).await;
    apply(&mut client, "pets", vec![rule("cats", "cat")]).await;
    env.x.update_config(|config| config.rules_delay = LATE);
    let clock = Clock::system();
    let post = |number: usize| env.x.publish(&format!(r#"{{"text": "cat {number}"}}"#)).expect("a post");
    let wider = try_apply(&mut client, "pets", vec![rule("cats", "cat OR kitten")], RuleChangeOptions::default());
    let operation = wider.await.expect("valid").operation;
    let mut posts = Vec::new();
    let mut ended = std::pin::pin!(ended(&mut client, operation));
    while clock.timeout(PACE, ended.as_mut()).await.is_err() {
        posts.push(post(posts.len()));
    }
    assert_eq!(values_at_x(&env.x), ["cat OR kitten"]);
    eventually("the new rule matches", async || {
        posts.push(post(posts.len()));
        posts.last().is_some_and(|post| !post.rules.is_empty())
    })
    .await;
    let methods: Vec<_> = env.x.rule_requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "POST", "POST", "DELETE"]);
    let matched: Vec<u64> = posts.iter().filter(|post| !post.rules.is_empty()).map(|post| post.post_id.0).collect();
    let mut subscriber = env.client().await;
    let stream = subscriber.subscribe(earliest(&filters::any(&["pets"]))).await.expect("it begins");
    assert_eq!(received(stream.into_inner(), matched.len()).await, matched, "all that X matched, once and in order");
    posts.len() - matched.len()
}

/// The ids of the first posts of a stream.
async fn received(mut stream: tonic::Streaming<SubscribeResponse>, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let frame = in_time("a frame", stream.message()).await.expect("it continues").expect("it does not end");
        if let Some(Frame::EventBatch(batch)) = frame.frame {
            ids.extend(batch.events.iter().map(|event| event.post_id));
        }
    }
    ids
}

/// X applies added rules late and deletions at once: without a wait between them, posts that the old rule and the new one
/// match are missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacement_misses_no_post_of_either() {
    let (without, with) = tokio::join!(missed(Duration::ZERO), missed(LATE + Duration::from_secs(1)));
    assert!(without > 0, "the fault is there");
    assert_eq!(with, 0);
}
