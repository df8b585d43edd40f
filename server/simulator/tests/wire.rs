use std::time::Duration;

use serde_json::Value;

use super::*;

#[tokio::test]
async fn what_client_reads_is_truth() {
    for (chunking, headers) in [
        (Chunking::Message, ""),
        (Chunking::Anywhere, ""),
        (Chunking::Message, "accept-encoding: gzip\r\n"),
        (Chunking::Anywhere, "accept-encoding: gzip\r\n"),
    ] {
        let bench = Bench::start(Config { chunking, ..busy() });
        let mut client = bench.ask("GET", "/2/powerstream", headers, "").await;
        assert_eq!(client.head.contains("content-encoding: gzip"), !headers.is_empty());
        let lines = client.read_lines(100).await;
        let truth = payloads(&bench.sim.sent_posts());
        let start = truth.iter().position(|json| *json == lines[0]).expect("the first line is in the truth");
        assert_eq!(lines[..], truth[start..start + lines.len()], "{chunking:?} {headers}");
        let post: Value = serde_json::from_str(&lines[0]).expect("JSON");
        let rule = &bench.sim.sent_posts()[start].rules[0];
        assert_eq!(post["matching_rules"][0]["id"].as_u64(), rule.id);
        assert_eq!(post["matching_rules"][0]["tag"].as_str(), rule.tag.as_deref());
    }
}

#[tokio::test]
async fn framing_and_shape_of_rules_are_settings() {
    for (framing, wire) in [
        (Framing::Crlf, "{\"id\":1}\r\n"),
        (Framing::Lf, "{\"id\":1}\n"),
        (Framing::Array, "[{\"id\":1}]\r\n"),
        (Framing::Pretty, "{\n  \"id\": 1\n}\r\n"),
    ] {
        let bench = Bench::start(Config { framing, ..quiet() });
        let mut client = bench.get("/2/powerstream").await;
        bench.sim.publish("{\"id\":1}").expect("an object");
        assert!(client.read_until(|client| client.body().ends_with(b"\n")).await);
        assert_eq!(String::from_utf8_lossy(&client.body()), wire);
    }
    for (matching_rules, shape) in [
        (MatchingRules::IdAndTag, r#"[{"id":7,"id_str":"7","tag":"cats"}]"#),
        (MatchingRules::StringId, r#"[{"id":"7","tag":"cats"}]"#),
        (MatchingRules::TagOnly, r#"[{"tag":"cats"}]"#),
        (MatchingRules::Absent, "null"),
    ] {
        let bench = Bench::start(Config { matching_rules, ..quiet() });
        let truth = bench.sim.publish(&cat(1)).expect("an object");
        let id = bench.sim.rules()[0].id.to_string();
        let post: Value = serde_json::from_slice(&truth.json).expect("JSON");
        assert_eq!(post["matching_rules"].to_string().replace(&id, "7"), shape);
        assert_eq!(truth.rules.len(), usize::from(matching_rules != MatchingRules::Absent));
    }
}

#[tokio::test]
async fn heartbeats_fill_idle_time_until_stall() {
    let bench = Bench::at_rate(quiet(), 200.0);
    let mut client = bench.get("/2/powerstream").await;
    assert!(client.read_until(|client| client.body() == b"\r\n\r\n\r\n").await);
    bench.sim.stall(true);
    bench.sim.publish(&cat(1)).expect("an object");
    let before = bench.sim.counters().heartbeats;
    bench.clock.sleep(Duration::from_secs(120)).await;
    assert!(bench.sim.counters().heartbeats <= before + 1);
    assert_eq!(client.lines().len(), 0);
    bench.sim.stall(false);
    client.read_lines(1).await;
    assert_eq!(bench.sim.counters().stalls, 1);
}

#[tokio::test]
async fn every_cut_kind_is_distinct_on_wire() {
    for headers in ["", "accept-encoding: gzip\r\n"] {
        let bench = Bench::start(quiet());
        for kind in [CutKind::CleanEnd, CutKind::Reset, CutKind::MidMessage] {
            let mut client = bench.ask("GET", "/2/powerstream", headers, "").await;
            bench.sim.publish(&cat(1)).expect("an object");
            client.read_lines(1).await;
            assert_eq!(bench.sim.cut(kind), 1);
            client.read_to_end().await;
            let (_, whole) = client.chunks();
            let expected = if kind == CutKind::Reset {
                std::io::ErrorKind::ConnectionReset
            } else {
                std::io::ErrorKind::UnexpectedEof
            };
            assert_eq!((whole, client.end), (kind == CutKind::CleanEnd, Some(expected)), "{kind:?}");
            if kind == CutKind::MidMessage && headers.is_empty() {
                let body = client.body();
                let tail = body.rsplit(|b| *b == b'\n').next().expect("a tail");
                assert!(tail.starts_with(b"{") && !tail.ends_with(b"}"));
            }
            bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
        }
        let counters = bench.sim.counters();
        assert_eq!((counters.cuts_clean_end, counters.cuts_reset, counters.cuts_mid_message), (1, 1, 1));
        assert_eq!((counters.connects, counters.left_by_client), (3, 0));
    }
}

#[tokio::test]
async fn local_streams_carry_only_their_datacenter() {
    let bench = Bench::start(Config { live_connections_max: 2, ..busy() });
    let mut clients = Vec::new();
    for name in ["atla", "pdxa"] {
        let mut client = bench.get("/2/powerstream?localDcOnly=true").await;
        assert!(client.head.contains(&format!("x-powerstream-datacenter: {name}")));
        assert!(client.head.contains("x-powerstream-localdconly: true"));
        let lines = client.read_lines(50).await;
        let first: Value = serde_json::from_str(&lines[0]).expect("JSON");
        assert_eq!((first["type"].as_str(), first["datacenter"].as_str()), (Some("connection_metadata"), Some(name)));
        let places: Vec<u64> = lines[1..]
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_u64().expect("an id") >> 17 & 31)
            .collect();
        assert!(places.iter().all(|place| *place == clients.len() as u64));
        clients.push(client);
    }
}

#[tokio::test]
async fn playback_keeps_or_matches_rules() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("posts.jsonl");
    let lines = [
        r#"{"id":5, "id_str":"5","text":"a \/ cat","matching_rules":[{"tag":null}]}"#,
        r#"{"id_str":"6","id":6,"text":"a cow" }"#,
    ];
    std::fs::write(&path, lines.join("\r\n")).expect("written");
    let config = Config { posts: Some(path), rate: 50.0, ..Config::default() };
    let bench = Bench::start(config.clone());
    bench.eventually("both are sent", |sim| sim.truth_len() == 2).await;
    assert_eq!(payloads(&bench.sim.sent_posts()), lines);
    let bench = Bench::start(Config { match_posts: true, at_end: AtEnd::Loop, ..config });
    bench.eventually("the first is sent twice", |sim| sim.truth_len() >= 2).await;
    let truth = bench.sim.sent_posts();
    assert!(payloads(&truth)[0].starts_with(r#"{"id":5, "id_str":"5","text":"a \/ cat","matching_rules":[{"id":"#));
    assert_eq!((truth[0].post_id.0, truth[0].rules.len()), (5, 1));
    assert!(truth[1].post_id.0 > 1 << 60, "a new id the second time");
}

#[tokio::test]
async fn pause_stops_posts_and_stop_ends_tasks() {
    let bench = Bench::start(busy());
    let mut client = bench.get("/2/powerstream").await;
    client.read_lines(1).await;
    let mut sent = 0;
    for _ in 0..20 {
        bench.sim.pause();
        // At once: no post is being made any more.
        sent = bench.sim.truth_len();
        bench.clock.sleep(Duration::from_millis(20)).await;
        assert_eq!(bench.sim.truth_len(), sent);
        bench.sim.resume();
        bench.clock.sleep(Duration::from_millis(7)).await;
    }
    bench.eventually("posts again", |sim| sim.truth_len() > sent).await;
    bench.tasks.shutdown().cancel();
    assert!(bench.tasks.join(&bench.clock, DEADLINE).await);
    client.read_to_end().await;
}
