use std::time::{Duration, Instant};

use super::*;
use crate::model::{Rule, TimeRange};

#[tokio::test]
async fn backfill_precedes_live_without_loss() {
    for (backfill, expected) in [
        (Backfill::OlderFirst, vec![0, 1, 2, 3, 4]),
        (Backfill::NewestFirst, vec![3, 2, 1, 0, 4]),
        (Backfill::Ignored, vec![4]),
    ] {
        let bench = Bench::start(Config { backfill, ..quiet() });
        for n in 0..4 {
            bench.sim.publish(&cat(n)).expect("an object");
        }
        bench.sim.inject(&b"{\"info\":1}\r\n"[..]);
        let mut client = bench.get("/2/powerstream?backfillMinutes=2").await;
        bench.sim.publish(&cat(4)).expect("an object");
        let truth = payloads(&bench.sim.sent_posts());
        let expected: Vec<_> = expected.into_iter().map(|n: usize| truth[n].clone()).collect();
        assert_eq!(client.read_lines(expected.len()).await, expected, "{backfill:?}");
    }
    let bench = Bench::start(Config { backfill: Backfill::Refused, ..quiet() });
    assert_eq!(bench.get("/2/powerstream?backfillMinutes=2").await.status(), 400);
    assert_eq!(bench.sim.counters().backfills_refused, 1);
}

#[tokio::test]
async fn backfill_reaches_as_far_back_as_asked() {
    let bench = Bench::at_rate(quiet(), 200.0);
    bench.sim.publish(&cat(0)).expect("an object");
    bench.clock.sleep(Duration::from_secs(90)).await;
    bench.sim.publish(&cat(1)).expect("an object");
    let mut client = bench.get("/2/powerstream?backfillMinutes=1").await;
    assert_eq!(client.read_lines(1).await, payloads(&bench.sim.sent_posts())[1..]);
}

#[tokio::test]
async fn redelivered_post_may_have_new_counts() {
    let bench = Bench::start(Config { replay_changes_counts: true, ..quiet() });
    bench.sim.publish(r#"{"text":"cat","favorite_count":1,"user":{"favorite_count":5}}"#).expect("an object");
    let mut client = bench.get("/2/powerstream?backfillMinutes=1").await;
    let live = payloads(&bench.sim.sent_posts())[0].clone();
    assert_eq!(client.read_lines(1).await, [live.replace(r#""favorite_count":1"#, r#""favorite_count":2"#)]);
}

#[tokio::test]
async fn slow_reader_is_dropped_without_backfill() {
    let bench = Bench::start(Config { slow_reader_bytes_max: 256 << 10, ..quiet() });
    let mut client = bench.get("/2/powerstream").await;
    let long = format!(r#"{{"text":"cat {}"}}"#, "x".repeat(100_000));
    let started = Instant::now();
    while bench.sim.counters().slow_readers == 0 {
        assert!(started.elapsed() < DEADLINE, "{:?}", bench.sim.counters());
        bench.sim.publish(&long).expect("an object");
        tokio::task::yield_now().await;
    }
    client.read_to_end().await;
    bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
    let mut again = bench.get("/2/powerstream?backfillMinutes=5").await;
    bench.sim.publish(&cat(1)).expect("an object");
    assert!(again.read_lines(1).await[0].contains("number 1"));
    let counters = bench.sim.counters();
    assert_eq!((counters.backfills, counters.backfills_refused, counters.backfill_posts), (0, 1, 0));
}

#[tokio::test]
async fn backfill_can_be_doubled_interleaved_and_reversed() {
    let bench = Bench::start(Config {
        backfill: Backfill::NewestFirst,
        backfill_doubled_percent: 30,
        backfill_interleaved: true,
        ..quiet()
    });
    for n in 0..1_000 {
        bench.sim.publish(&cat(n)).expect("an object");
    }
    // What is live comes while all of the backfill is still to come.
    bench.sim.stall(true);
    let mut client = bench.get("/2/powerstream?backfillMinutes=5").await;
    for n in 1_000..1_100 {
        bench.sim.publish(&cat(n)).expect("an object");
    }
    bench.sim.stall(false);
    let lines = client.read_lines(1_400).await;
    let truth = payloads(&bench.sim.sent_posts());
    let place = |line: &String| truth.iter().position(|json| json == line).expect("it is in the truth");
    let places: Vec<_> = lines.iter().map(place).collect();
    let (live, old): (Vec<usize>, Vec<usize>) = places.iter().partition(|place| **place >= 1_000);
    assert_eq!(live, (1_000..1_100).collect::<Vec<_>>());
    assert!(old.windows(2).all(|pair| pair[0] >= pair[1]) && old.len() == 1_300, "newest first");
    assert_eq!(old.iter().collect::<std::collections::BTreeSet<_>>().len(), 1_000);
    assert!(*places.last().expect("some") < 1_000, "live did not wait for the end of the backfill");
    let counters = bench.sim.counters();
    assert_eq!((counters.backfill_posts, counters.backfill_repeats, counters.live_posts), (1_300, 300, 100));
    assert!(counters.backfill_interleaved > 0);
}

#[tokio::test]
async fn backfill_begins_exactly_where_it_was_asked_to() {
    // An hour of the past, a post each second; the clock hardly moves while it is read.
    let bench = Bench::start(quiet());
    let now = bench.sim.now();
    assert_eq!(bench.sim.history(TimeRange::new(now.minus(Duration::from_secs(3_600)), now), 1.0), 3_600);
    for minutes in [1, 3, 5] {
        let before = bench.sim.now();
        let mut client = bench.get(&format!("/2/powerstream?backfillMinutes={minutes}")).await;
        let after = bench.sim.now();
        let last = bench.sim.publish(&cat(1)).expect("an object");
        let end = payloads(std::slice::from_ref(&last)).remove(0);
        client.read_until(|client| client.lines().contains(&end)).await;
        let lines = client.lines();
        let reach = Duration::from_secs(60 * minutes);
        let mut truth = bench.sim.sent_posts();
        truth.retain(|post| post.ordinal <= last.ordinal);
        truth.sort_by_key(|post| (post.created, post.ordinal));
        let least = truth.iter().filter(|post| post.created >= after.minus(reach)).count();
        let most = truth.iter().filter(|post| post.created >= before.minus(reach)).count();
        assert!((least..=most).contains(&lines.len()), "{minutes}: {} of {least} to {most}", lines.len());
        assert_eq!(lines, payloads(&truth[truth.len() - lines.len()..]));
        drop(client);
        bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
    }
}

#[tokio::test]
async fn history_is_sent_only_on_request() {
    let bench = Bench::start(quiet());
    let mut client = bench.get("/2/powerstream").await;
    let now = bench.sim.now();
    let span = TimeRange::new(now.minus(Duration::from_secs(30 * 3_600)), now.minus(Duration::from_secs(60)));
    let made = bench.sim.history(span, 1.0);
    assert_eq!(made, 30 * 3_600 - 60);
    let live = bench.sim.publish(&cat(1)).expect("an object");
    assert_eq!(client.read_lines(1).await, payloads(&[live]));
    let truth = bench.sim.sent_posts();
    let mut ids = std::collections::HashSet::new();
    for (n, post) in truth[..truth.len() - 1].iter().enumerate() {
        assert_eq!((post.created.0 - span.from.0, post.published), (n as i64 * 1_000, post.created));
        assert!(post.post_id.created_at() == Some(post.created) && ids.insert(post.post_id) && !post.rules.is_empty());
    }
    let post: Value = serde_json::from_slice(&truth[70_000].json).expect("JSON");
    assert_eq!(post["id_str"], truth[70_000].post_id.0.to_string());
    assert_eq!(post["matching_rules"].as_array().map(Vec::len), Some(truth[70_000].rules.len()));
    assert_eq!((bench.sim.counters().past, bench.sim.counters().live_posts), (made, 1));
    bench.sim.rules().iter().for_each(|rule| assert!(bench.sim.remove_rule(&rule.value)));
    assert_eq!(bench.sim.history(span, 1.0), 0, "nothing matches");
}

#[tokio::test]
async fn redelivery_with_new_rule_is_in_truth() {
    let bench = Bench::start(quiet());
    let mut client = bench.get("/2/powerstream").await;
    let first = bench.sim.publish(&cat(1)).expect("an object");
    let more = Rule { id: Some(77), tag: Some("late".into()) };
    let second = bench.sim.redeliver(first.post_id, std::slice::from_ref(&more)).expect("it is in the truth");
    assert_eq!((second.post_id, second.created, second.ordinal), (first.post_id, first.created, 2));
    assert_eq!(second.rules[..], [&first.rules[..], &[more]].concat());
    let lines = client.read_lines(2).await;
    assert_eq!(lines, payloads(&bench.sim.sent_posts()));
    let second: Value = serde_json::from_str(&lines[1]).expect("JSON");
    assert_eq!((&second["matching_rules"][1]["tag"], &second["matching_rules"][1]["id"]), (&"late".into(), &77.into()));
    assert!(bench.sim.redeliver(crate::model::PostId(5), &[]).is_err());
    assert_eq!(bench.sim.counters().redelivered, 1);
}
