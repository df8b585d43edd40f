//! TestRule: posts of the log that a rule matches.

use powerstream_gateway::proto::{TestRuleRequest, TimeInterval};

use super::*;

fn test(value: &str) -> TestRuleRequest {
    TestRuleRequest { value: value.to_owned(), ..TestRuleRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_is_tested_on_logged_posts() {
    let (mut env, mut client) = start().await;
    // Of each six posts one has the word `plain`.
    let sent: Vec<u64> = env.post_mix(60).iter().map(|post| post.post_id.0).collect();
    env.all_logged().await;
    let found = client.test_rule(test("plain")).await.expect("served").into_inner();
    assert_eq!((found.posts, found.matches, found.samples.len(), found.truncated), (60, 10, 10, false));
    assert!(found.interval.is_some());
    let samples: Vec<_> = found.samples.iter().map(|sample| sample.post_id).collect();
    let mut expected: Vec<_> = sent.iter().skip(5).step_by(6).copied().collect();
    expected.reverse();
    assert_eq!(samples, expected, "the newest first");
    assert!(found.samples.iter().all(|sample| sample.json.contains("plain ")), "{found:?}");
    let few = client.test_rule(TestRuleRequest { samples_max: 3, ..test("plain OR quote") }).await;
    let few = few.expect("served").into_inner();
    assert_eq!((few.matches, few.samples.len()), (20, 3));
    let nothing = client.test_rule(test("zebra")).await.expect("served").into_inner();
    assert_eq!((nothing.posts, nothing.matches), (60, 0));
    refused(client.test_rule(test("fish AND bird")).await, Code::InvalidArgument, "RULE_INVALID");
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let of = |start, end| Some(TimeInterval { start_time: time(start), end_time: time(end) });
    let future = TestRuleRequest { interval: of(1, 9_000_000_000), ..test("plain") };
    refused(client.test_rule(future).await, Code::OutOfRange, "POSITION_IN_FUTURE");
    let long = TestRuleRequest { interval: of(1, 1_700_000_000), ..test("plain") };
    refused(client.test_rule(long).await, Code::InvalidArgument, "START_INVALID");
    assert_eq!(env.x.rule_requests().len(), 1);
}
