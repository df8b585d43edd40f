use super::*;

#[tokio::test]
async fn excess_connection_is_rejected_until_slot_frees() {
    let bench = Bench::start(quiet());
    let first = bench.get("/2/powerstream").await;
    let second = bench.get("/2/powerstream").await;
    assert_eq!(second.status(), 429);
    assert!(second.head.contains("x-rate-limit-remaining: 48"));
    assert_eq!(second.json().await["connection_issue"], "TooManyConnections");
    drop(first);
    bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
    assert_eq!(bench.get("/2/powerstream").await.status(), 200);
    let counters = bench.sim.counters();
    assert_eq!((counters.too_many_connections, counters.left_by_client, counters.connects), (1, 1, 2));
    assert_eq!(bench.sim.connections().live_max_ever, 1);
}

#[tokio::test]
async fn excess_connection_is_tolerated_for_grace() {
    for (excess, gone) in
        [(ConnectionLimitPolicy::NewestKilledAfterGrace, 1), (ConnectionLimitPolicy::OldestKilledAfterGrace, 0)]
    {
        let bench = Bench::at_rate(Config { excess, ..quiet() }, 200.0);
        let mut clients = [bench.get("/2/powerstream").await, bench.get("/2/powerstream").await];
        assert_eq!(bench.sim.connections().live, 2);
        clients[gone].read_to_end().await;
        assert!(clients[gone].chunks().1);
        assert!(
            clients[gone].lines()[0].contains("Forced Disconnect: Too many connections. (Allowed Connections = 1)")
        );
        bench.eventually("one is left", |sim| sim.connections().live == 1).await;
        assert_eq!(bench.sim.counters().excess_ended, 1);
    }
}

#[tokio::test]
async fn refusals_are_xs_and_are_counted() {
    let config = Config { bearer: Some("other".into()), gzip: Gzip::Required, rules: vec![], ..quiet() };
    let bench = Bench::start(Config { rules_required: true, ..config.clone() });
    assert_eq!(bench.get("/2/powerstream").await.status(), 401);
    let bench = Bench::start(Config { bearer: Some("t".into()), rules_required: true, ..config });
    assert_eq!(bench.get("/2/powerstream").await.status(), 406);
    let gzip = "accept-encoding: deflate, gzip\r\n";
    assert_eq!(bench.ask("GET", "/2/powerstream", gzip, "").await.status(), 409);
    let bench = Bench::start(quiet());
    assert_eq!(bench.get("/2/powerstream?backfillMinutes=9").await.status(), 400);
    assert_eq!(bench.get("/2/elsewhere").await.status(), 404);
    bench.sim.refuse_next(1, ErrorResponse::usage_capped());
    bench.sim.refuse_until_cleared(ErrorResponse::html());
    let capped = bench.get("/2/powerstream").await;
    assert_eq!((capped.status(), capped.json().await["title"].as_str()), (429, Some("UsageCapExceeded")));
    for _ in 0..3 {
        assert_eq!(bench.get("/2/powerstream").await.status(), 403);
    }
    bench.sim.clear_refusals();
    assert_eq!(bench.get("/2/powerstream").await.status(), 200);
    let counters = bench.sim.counters();
    assert_eq!((counters.refused, counters.bad_requests, counters.connects), (4, 1, 1));
    let requests = bench.sim.requests();
    assert_eq!(requests.iter().map(|line| line.status).collect::<Vec<_>>(), [400, 404, 429, 403, 403, 403, 200]);
    assert_eq!(requests[0].target, "/2/powerstream?backfillMinutes=9");
    assert!(requests.iter().all(|line| line.headers.iter().all(|(name, _)| name != "authorization")));
}

#[tokio::test]
async fn control_api_serves_truth_and_faults() {
    let bench = Bench::start(quiet());
    let mut client = bench.get("/2/powerstream").await;
    let published = bench.ask("POST", "/simulator/publish", "", &cat(1)).await.json().await;
    assert_eq!(published["ordinal"], 1);
    bench.ask("POST", "/simulator/inject", "", "{\"warn\":1}\r\n").await;
    assert_eq!(client.read_lines(2).await[1], "{\"warn\":1}");
    let line = bench.get("/simulator/truth?after=0&limit=5&payload=1").await.json().await;
    assert_eq!((&line["post_id"], &line["rules"][0]["tag"]), (&published["post_id"], &"cats".into()));
    assert_eq!(line["json"].as_str(), Some(&*payloads(&bench.sim.sent_posts())[0]));
    assert_eq!(line["sha256"].as_str().map(str::len), Some(64));
    for target in ["stall?on=true", "stall?on=false", "rate?value=0", "pause?on=true", "refuse?kind=no_rules&times=1"] {
        assert_eq!(bench.ask("POST", &format!("/simulator/{target}"), "", "").await.status(), 200, "{target}");
    }
    for target in ["stall?on=2", "rate", "cut?kind=half", "refuse?kind=none", "nothing"] {
        assert_eq!(bench.ask("POST", &format!("/simulator/{target}"), "", "").await.status(), 400, "{target}");
    }
    let cut = bench.ask("POST", "/simulator/cut?kind=clean_end", "", "").await.json().await;
    assert_eq!(cut["cut"], 1);
    client.read_to_end().await;
    assert_eq!(bench.get("/2/powerstream").await.status(), 409);
    let state = bench.get("/simulator/state").await.json().await;
    assert_eq!((&state["counters"]["cuts_clean_end"], &state["truth"]["posts"]), (&1.into(), &1.into()));
    assert_eq!(state["requests"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn rules_changed_over_http_match_later_posts() {
    let bench = Bench::start(quiet());
    let body = r#"{"rules":[{"value":"from:ada","tag":"ada"}]}"#;
    let added = bench.ask("POST", "/2/powerstream/rules", "", body).await;
    assert_eq!(added.status(), 201);
    assert!(added.head.contains("x-rate-limit-remaining: 49"));
    let truth = bench.sim.publish(&cat(1)).expect("an object");
    assert_eq!(truth.rules.iter().filter_map(|rule| rule.tag.as_deref()).collect::<Vec<_>>(), ["cats", "ada"]);
    let deleted = bench.ask("DELETE", "/2/powerstream/rules", "", body).await;
    assert_eq!(deleted.json().await["data"]["deleted"], 1);
    assert_eq!(bench.sim.publish(&cat(2)).expect("an object").rules.len(), 1);
    let listed = bench.get("/2/powerstream/rules").await.json().await;
    assert_eq!(listed["data"]["rules"].as_array().map(Vec::len), Some(5));
}
