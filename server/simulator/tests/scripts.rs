use std::time::Duration;

use super::*;

/// Each post is awaited, and few are due in the longest burst: a slow machine has the same outcome.
#[tokio::test]
async fn script_is_played_by_clock() {
    let bench = Bench::at_rate(quiet(), 100.0);
    let mut client = bench.get("/2/powerstream").await;
    let mut applied = Vec::new();
    let mut play = async |steps: &str| {
        let script = Script::parse(steps, &bench.sim.config()).expect("it is right");
        let started = bench.clock.moment();
        script.play(&bench.sim, |step, done| applied.push((step.at.as_secs(), done.to_owned()))).await;
        bench.clock.moment().since(started)
    };
    assert!(play("steps: [{at: 10s, rate: 1}]").await >= Duration::from_secs(10));
    let posts = client.read_lines(10).await;
    assert_eq!(posts, payloads(&bench.sim.sent_posts())[..posts.len()]);
    let rest = "
steps:
  - {at: 40s, cut: {kind: clean_end}}
  - {at: 20s, pause: true}
  - {at: 30s, refuse: {with: unavailable, times: 1}}
  - {at: 30s, history: {from: 2h, to: 1h, rate: 1}}
";
    assert!(play(rest).await >= Duration::from_secs(40));
    let expected = [
        (10, "done"),
        (20, "done"),
        (30, "refuses with unavailable"),
        (30, "put 3600 posts into the past"),
        (40, "cut 1 streams"),
    ];
    assert_eq!(applied, expected.map(|(at, done)| (at, done.to_owned())));
    client.read_to_end().await;
    assert_eq!(bench.get("/2/powerstream").await.status(), 503);
    let counters = bench.sim.counters();
    assert_eq!((counters.refused, counters.cuts_clean_end, counters.past), (1, 1, 3_600));
}

#[tokio::test]
async fn control_api_supports_every_script_action() {
    let bench = Bench::start(quiet());
    let act = async |body: &str| bench.ask("POST", "/simulator/do", "", body).await;
    let settings = r#"{"set":{"backfill":"forbidden","recovery_freshness":"30m"}}"#;
    assert_eq!(act(settings).await.json().await["done"], "done");
    assert_eq!(bench.get("/2/powerstream?backfillMinutes=2").await.status(), 403);
    assert_eq!(bench.sim.config().recovery_freshness, Duration::from_secs(1_800));
    let mut client = bench.get("/2/powerstream").await;
    assert_eq!(act(r#"{"end_with":{"error":"internal_error"}}"#).await.json().await["done"], "ended 1 streams");
    client.read_to_end().await;
    assert_eq!(client.lines(), [StreamError::InternalError.json()]);
    for wrong in ["", "{}", r#"{"set":{"rate":1}}"#, r#"{"cut":{}}"#, r#"{"pause":true,"rate":1}"#] {
        assert_eq!(act(wrong).await.status(), 400, "{wrong}");
    }
}
