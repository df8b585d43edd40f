//! The same post again, and posts without rules.

use powerstream_gateway::proto::{Event, TagFilter};
use serde_json::json;

use crate::harness::posts::rule_id;
use crate::harness::{Subscriber, TestEnv, earliest, filters, in_time, latest};

/// A post with an id of its own, under rules with these tags.
fn arrival(id: u64, likes: u32, tags: &[&str]) -> String {
    let rules: Vec<_> = tags.iter().map(|tag| json!({"tag": tag, "id": rule_id(tag)})).collect();
    json!({"id": id, "id_str": id.to_string(), "favorite_count": likes, "matching_rules": rules}).to_string()
}

/// Id, whether it is a delta, tags.
type Shown<'a> = (u64, bool, Vec<&'a str>);

fn shown(events: &[Event]) -> Vec<Shown<'_>> {
    events.iter().map(|event| (event.post_id, event.delta, event.tags.iter().map(String::as_str).collect())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delta_reaches_only_newly_matching_subscribers() {
    let env = TestEnv::new().await;
    let requested: [(TagFilter, Vec<Shown>); 5] = [
        (filters::all(), vec![(7, false, vec!["cats"]), (8, false, vec!["end"])]),
        (filters::any(&["cats"]), vec![(7, false, vec!["cats"])]),
        (filters::any(&["dogs"]), vec![(7, true, vec!["cats", "dogs"])]),
        (filters::every(&["cats", "dogs"]), vec![(7, true, vec!["cats", "dogs"])]),
        (filters::any_but(&["*"], &["dogs"]), vec![(7, false, vec!["cats"]), (8, false, vec!["end"])]),
    ];
    let mut live = Vec::new();
    for (filter, _) in &requested {
        live.push(env.subscribe(latest(filter)).await);
    }
    for post in [
        arrival(7, 1, &["cats"]),
        arrival(7, 2, &["cats", "dogs"]),
        arrival(7, 3, &["dogs"]),
        arrival(7, 4, &["cats"]),
        arrival(8, 1, &["end"]),
    ] {
        env.x.publish(&post).expect("a post");
    }
    let mut all = env.subscribe(earliest(&filters::all())).await;
    all.posts(2).await;
    for ((filter, expected), mut live) in requested.into_iter().zip(live) {
        let mut replayed = env.subscribe(earliest(&filter)).await;
        for session in [&mut live, &mut replayed] {
            let reported = |own: &Subscriber| own.heartbeats.last().is_some_and(|beat| beat.lag_records == 0);
            in_time("a heartbeat at the tip", session.until("a heartbeat", reported)).await;
            assert_eq!(shown(&session.got), expected, "{filter:?}");
        }
        assert_eq!(live.got, replayed.got, "replay is live");
    }
    let counts = ["posts_appended_total", "deltas_total", "duplicates_total"].map(|name| env.metric(name));
    assert_eq!(counts, [2.0, 1.0, 2.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_without_rules_reach_unfiltered_subscribers() {
    let mut env = TestEnv::tuned(|upstream| upstream.rules.clear(), |_| ()).await;
    let mut all = env.subscribe(latest(&filters::all())).await;
    let mut tagged = env.subscribe(latest(&filters::any(&["*"]))).await;
    let bare = env.x.publish("{\"text\":\"no rules\"}").expect("a post");
    assert!(!String::from_utf8_lossy(&bare.json).contains("matching_rules"));
    let with_rules = env.post(&[&["cats"]]);
    all.posts(2).await;
    tagged.posts(1).await;
    let ids = |session: &Subscriber| session.got.iter().map(|event| event.post_id).collect::<Vec<_>>();
    assert_eq!(ids(&all), [bare.post_id.0, with_rules[0].post_id.0]);
    assert_eq!(ids(&tagged), [with_rules[0].post_id.0]);
    assert_eq!((all.got[0].json.as_bytes(), all.got[0].rules.len()), (&bare.json[..], 0));
    env.counts("ingest_posts_without_rules_total", 1.0).await;
}
