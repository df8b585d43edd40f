use std::time::Duration;

use super::*;

/// One answer of 200 that is no stream of posts.
async fn hollow(hollow: BogusResponse) -> (Bench, Client) {
    let bench = Bench::at_rate(quiet(), 100.0);
    bench.sim.answer_with(&Scope::Live, Repeat::Next(1), hollow);
    let client = bench.get("/2/powerstream?backfillMinutes=2").await;
    assert_eq!(client.status(), 200);
    (bench, client)
}

#[tokio::test]
async fn stream_errors_can_follow_status_200() {
    for error in StreamError::ALL {
        let (bench, mut client) = hollow(BogusResponse::Error(error)).await;
        client.read_to_end().await;
        assert_eq!((client.lines(), client.chunks().1), (vec![error.json()], true));
        let sent: Value = serde_json::from_str(&error.json()).expect("JSON");
        assert!(sent.is_object() && sent.get("id").is_none());
        bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
        let mut client = bench.get("/2/powerstream").await;
        bench.sim.publish(&cat(1)).expect("an object");
        client.read_lines(1).await;
        assert_eq!(bench.sim.end_with(&Scope::Live, error), 1);
        client.read_to_end().await;
        assert_eq!((&client.lines()[1], client.chunks().1), (&error.json(), true));
        assert_eq!(bench.sim.counters().in_stream_errors, 2);
    }
}

#[tokio::test]
async fn status_200_can_carry_bogus_body() {
    let (bench, mut client) = hollow(BogusResponse::Html).await;
    client.read_to_end().await;
    assert!(client.head.contains("content-type: text/html") && client.body().starts_with(b"<html>"));
    assert_eq!((client.chunks().1, bench.sim.counters().html_answers), (true, 1));
    let (bench, mut client) = hollow(BogusResponse::Empty).await;
    client.read_to_end().await;
    assert_eq!((client.body().len(), client.chunks().1, bench.sim.counters().empty_answers), (0, true, 1));
    assert_eq!(bench.sim.counters().backfills, 0);
}

#[tokio::test]
async fn injected_response_waits_for_admitted_request() {
    let bench = Bench::start(quiet());
    let mut client = bench.get("/2/powerstream").await;
    bench.sim.answer_with(&Scope::Live, Repeat::Next(1), BogusResponse::Html);
    assert_eq!(bench.get("/2/powerstream").await.status(), 429, "the slot is taken");
    assert_eq!(bench.get("/2/powerstream?backfillMinutes=7").await.status(), 400);
    bench.sim.cut(CutKind::CleanEnd);
    let mut page = bench.get("/2/powerstream").await;
    page.read_to_end().await;
    assert!(page.body().starts_with(b"<html>") && bench.sim.counters().html_answers == 1);
    client.read_to_end().await;
    assert!(bench.get("/2/powerstream").await.head.contains("application/json"), "once");
}

#[tokio::test]
async fn endless_garbage_ends_with_its_connection() {
    let (bench, mut client) = hollow(BogusResponse::Garbage { every: Duration::from_secs(1) }).await;
    client.read_until(|client| client.lines().len() >= 20).await;
    bench.sim.publish(&cat(1)).expect("an object");
    assert!(client.lines().iter().all(|line| serde_json::from_str::<Value>(line).is_err()));
    assert!(bench.sim.counters().garbage_lines >= 20);
    drop(client);
    bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
    let mut client = bench.get("/2/powerstream?backfillMinutes=5").await;
    assert_eq!(client.read_lines(1).await, payloads(&bench.sim.sent_posts()));
}

#[tokio::test]
async fn slow_message_ends_with_its_fault() {
    let bench = Bench::at_rate(quiet(), 100.0);
    let mut client = bench.get("/2/powerstream").await;
    bench.sim.set_flow(&Scope::Live, Flow::Trickle { every: Duration::from_secs(1) });
    bench.sim.publish(&cat(1)).expect("an object");
    client.read_until(|client| client.body().len() >= 60).await;
    assert!(client.body().starts_with(b"{\"text\":\"xxxx") && !client.body().contains(&b'\n'));
    assert_eq!(bench.sim.counters().heartbeats, 0, "there are 50 s of it");
    bench.sim.stall(false);
    let lines = client.read_lines(2).await;
    assert_eq!(lines[1..], payloads(&bench.sim.sent_posts()));
    assert!(serde_json::from_str::<Value>(&lines[0]).is_ok() && bench.sim.counters().trickled_bytes >= 40);
}

#[tokio::test]
async fn stall_is_counted_when_applied() {
    let (bench, client) = hollow(BogusResponse::Silence).await;
    bench.eventually("it is met", |sim| sim.counters().stalls == 1).await;
    assert_eq!(client.body().len(), 0);
    let bench = Bench::start(quiet());
    bench.sim.stall(true);
    bench.sim.stall(false);
    assert_eq!(bench.sim.counters().stalls, 0, "no connection was open");
}

#[tokio::test]
async fn heartbeats_can_be_delayed_or_skipped() {
    let config = Config { heartbeat_jitter: Duration::from_millis(1_500), ..quiet() };
    let bench = Bench::at_rate(config, 100.0);
    let (mut client, started) = (bench.get("/2/powerstream").await, bench.clock.moment());
    client.read_until(|client| client.body().len() >= 10).await;
    let took = bench.clock.moment().since(started);
    assert!(took >= Duration::from_secs(5 * 20) && bench.sim.counters().heartbeats_late >= 4, "{took:?}");
    bench.sim.skip_heartbeats(2);
    let before = bench.sim.counters().heartbeats;
    bench.eventually("two are left out", |sim| sim.counters().heartbeats_skipped == 2).await;
    assert!(bench.sim.counters().heartbeats <= before + 1);
    client.read_until(|client| client.body().len() >= 14).await;
}

#[tokio::test]
async fn pending_cut_hits_next_post_kept_in_truth() {
    for headers in ["", "accept-encoding: gzip\r\n"] {
        for kind in [CutKind::MidPost, CutKind::AfterBrace, CutKind::MidGzip] {
            let bench = Bench::start(quiet());
            let mut client = bench.ask("GET", "/2/powerstream", headers, "").await;
            bench.sim.publish(&cat(1)).expect("an object");
            client.read_lines(1).await;
            assert_eq!(bench.sim.cut(kind), 1);
            let fired = || {
                let counters = bench.sim.counters();
                counters.cuts_mid_post + counters.cuts_after_brace + counters.cuts_mid_gzip
            };
            assert_eq!((fired(), bench.sim.connections().live), (0, 1), "it waits");
            let cut = payloads(&[bench.sim.publish(&cat(2)).expect("an object")]).remove(0);
            client.read_to_end().await;
            assert_eq!((client.chunks().1, fired()), (false, 1));
            let body = client.body();
            let tail = body.rsplit(|b| *b == b'\n').next().expect("a tail");
            match kind {
                CutKind::AfterBrace => assert_eq!(tail, cut.as_bytes()),
                CutKind::MidPost => assert_eq!(tail, &cut.as_bytes()[..cut.len() / 2]),
                // A decoder may give some of it.
                _ => assert!(cut.as_bytes().starts_with(tail) && tail.len() < cut.len()),
            }
            bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
            let mut client = bench.get("/2/powerstream?backfillMinutes=1").await;
            assert_eq!(client.read_lines(2).await[1], cut, "backfill sends it");
            assert_eq!(bench.sim.counters().left_by_client, 0);
        }
    }
}

#[tokio::test]
async fn forced_slow_reader_drop_denies_backfill() {
    for (message, slow_reader_backfill, status) in
        [(true, AfterOverflow::Withheld, 200), (false, AfterOverflow::Refused, 400)]
    {
        let bench = Bench::start(Config { slow_reader_backfill, ..quiet() });
        let mut client = bench.get("/2/powerstream").await;
        bench.sim.publish(&cat(1)).expect("an object");
        client.read_lines(1).await;
        assert_eq!(bench.sim.cut_slow_reader(&Scope::Live, message), 1);
        client.read_to_end().await;
        assert_eq!(client.lines().iter().any(|line| *line == StreamError::SlowReader.json()), message);
        bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
        for _ in 0..2 {
            let client = bench.get("/2/powerstream?backfillMinutes=5").await;
            assert_eq!(client.status(), status);
            if status == 200 {
                break;
            }
        }
        let counters = bench.sim.counters();
        assert_eq!((counters.slow_readers, counters.backfills), (1, 0));
        assert!(counters.backfills_refused >= 1);
    }
}

#[tokio::test]
async fn same_seed_gives_same_bytes() {
    let bytes = async || {
        let config = Config { chunking: Chunking::Anywhere, framing: Framing::Mixed, ..quiet() };
        let bench = Bench::start(config);
        let mut client = bench.get("/2/powerstream").await;
        for n in 1..50 {
            let post = format!(r#"{{"id":{n},"text":"a cat","matching_rules":[]}}"#);
            bench.sim.publish(&post).expect("an object");
        }
        bench.sim.cut(CutKind::MidPost);
        bench.sim.publish(r#"{"id":50,"matching_rules":[]}"#).expect("an object");
        client.read_to_end().await;
        client.body()
    };
    assert_eq!(bytes().await, bytes().await);
}
