use std::io::Read as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::task::Tasks;

/// No wait of a test is longer, however slow the machine.
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    sim: Handle,
    tasks: Tasks,
    clock: Clock,
}

impl Bench {
    fn start(config: Config) -> Self {
        Self::at_rate(config, 1.0)
    }

    fn at_rate(config: Config, rate: f64) -> Self {
        let (tasks, clock) = (Tasks::new(), Clock::with_rate(rate, None));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let sim = Simulator::start(config, listener, clock.clone(), &tasks).expect("starts");
        Self { sim, tasks, clock }
    }

    async fn get(&self, target: &str) -> Client {
        self.ask("GET", target, "", "").await
    }

    async fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Client {
        let mut stream = TcpStream::connect(self.sim.addr()).await.expect("connects");
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        stream.write_all((head + body).as_bytes()).await.expect("written");
        let mut client = Client { stream, raw: Vec::new(), head: String::new(), end: None };
        let found = client.read_until(|client| find(&client.raw, b"\r\n\r\n").is_some()).await;
        let end = find(&client.raw, b"\r\n\r\n").filter(|_| found).expect("a head") + 4;
        client.head = String::from_utf8(client.raw.drain(..end).collect()).expect("a head is text");
        client
    }

    async fn eventually(&self, what: &str, condition: impl Fn(&Handle) -> bool) {
        let started = Instant::now();
        while !condition(&self.sim) {
            assert!(started.elapsed() < DEADLINE, "{what}: {:?}", self.sim.counters());
            tokio::task::yield_now().await;
            self.clock.sleep(Duration::from_millis(2).mul_f64(self.clock.rate())).await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}

/// A client that knows no more than sockets and chunks.
struct Client {
    stream: TcpStream,
    raw: Vec<u8>,
    head: String,
    end: Option<std::io::ErrorKind>,
}

impl Client {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Reads until this holds, or the socket ends; true if it holds.
    async fn read_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let started = Instant::now();
        while !done(self) {
            let mut buffer = [0; 16 << 10];
            let left = DEADLINE.saturating_sub(started.elapsed());
            match tokio::time::timeout(left, self.stream.read(&mut buffer)).await.expect("in time") {
                Ok(0) => return self.ended(std::io::ErrorKind::UnexpectedEof, done),
                Ok(n) => self.raw.extend_from_slice(&buffer[..n]),
                Err(error) => return self.ended(error.kind(), done),
            }
        }
        true
    }

    fn ended(&mut self, kind: std::io::ErrorKind, done: impl Fn(&Self) -> bool) -> bool {
        self.end = Some(kind);
        done(self)
    }

    /// The chunks that are whole, and whether the last one, of length zero, is there.
    fn chunks(&self) -> (Vec<&[u8]>, bool) {
        let (mut chunks, mut rest) = (Vec::new(), &self.raw[..]);
        while let Some(line) = find(rest, b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
            let Some(chunk) = rest.get(line + 2..line + 2 + size) else { break };
            if size == 0 {
                return (chunks, true);
            }
            chunks.push(chunk);
            rest = rest.get(line + 4 + size..).unwrap_or_default();
        }
        (chunks, false)
    }

    fn body(&self) -> Vec<u8> {
        let body = self.chunks().0.concat();
        if !self.head.contains("content-encoding: gzip") {
            return body;
        }
        let mut text = Vec::new();
        // The end of the stream may be missing: what can be read is what counts.
        let _ = flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text);
        text
    }

    /// Whole lines that are not empty.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.body()).into_owned();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).filter(|line| !line.is_empty()).collect()
    }

    async fn read_lines(&mut self, count: usize) -> Vec<String> {
        assert!(self.read_until(|client| client.lines().len() >= count).await, "{:?} {}", self.end, self.lines().len());
        self.lines()
    }

    async fn read_to_end(&mut self) {
        self.read_until(|_| false).await;
    }

    async fn json(mut self) -> Value {
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.expect("a length");
        assert!(self.read_until(|client| client.raw.len() >= length).await);
        serde_json::from_slice(&self.raw).expect("JSON")
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn quiet() -> Config {
    Config { rate: 0.0, ..Config::default() }
}

fn busy() -> Config {
    Config { rate: 2_000.0, ..Config::default() }
}

fn cat(n: usize) -> String {
    format!(r#"{{"text":"a cat, number {n} \/ 猫","lang":"en","user":{{"screen_name":"ada"}}}}"#)
}

fn payloads(truth: &[Truth]) -> Vec<String> {
    truth.iter().map(|truth| String::from_utf8(truth.json.to_vec()).expect("UTF-8")).collect()
}

#[tokio::test]
async fn what_a_client_reads_is_the_truth() {
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
        let truth = payloads(&bench.sim.truth());
        let start = truth.iter().position(|json| *json == lines[0]).expect("the first line is in the truth");
        assert_eq!(lines[..], truth[start..start + lines.len()], "{chunking:?} {headers}");
        let post: Value = serde_json::from_str(&lines[0]).expect("JSON");
        let rule = &bench.sim.truth()[start].rules[0];
        assert_eq!(post["matching_rules"][0]["id"].as_u64(), rule.id);
        assert_eq!(post["matching_rules"][0]["tag"].as_str(), rule.tag.as_deref());
    }
}

#[tokio::test]
async fn framing_and_the_shape_of_rules_are_settings() {
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
async fn heartbeats_come_while_nothing_else_does_and_stop_when_stalled() {
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
async fn each_kind_of_cut_looks_like_itself_on_the_wire() {
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
async fn a_connection_too_many_is_refused_and_a_slot_comes_back() {
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
async fn a_connection_too_many_is_suffered_for_a_while_where_it_is_so_set() {
    for (excess, gone) in [(Excess::NewestKilledAfterGrace, 1), (Excess::OldestKilledAfterGrace, 0)] {
        let bench = Bench::at_rate(Config { excess, ..quiet() }, 200.0);
        let mut clients = [bench.get("/2/powerstream").await, bench.get("/2/powerstream").await];
        assert_eq!(bench.sim.connections().live, 2);
        clients[gone].read_to_end().await;
        assert!(clients[gone].chunks().1);
        assert!(clients[gone].lines()[0].contains("Forced Disconnect: Too many connections. (Allowed Connections = 1)"));
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
    bench.sim.refuse_next(1, Refusal::usage_capped());
    bench.sim.refuse_until_cleared(Refusal::html());
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
async fn backfill_comes_first_and_misses_nothing_at_the_seam() {
    for (backfill, expected) in [
        (Backfill::OlderFirst, vec![0, 1, 2, 3, 4]),
        (Backfill::NewestFirst, vec![3, 2, 1, 0, 4]),
        (Backfill::Doubled, vec![0, 1, 1, 2, 3, 3, 4]),
        (Backfill::Ignored, vec![4]),
    ] {
        let bench = Bench::start(Config { backfill, ..quiet() });
        for n in 0..4 {
            bench.sim.publish(&cat(n)).expect("an object");
        }
        bench.sim.inject(&b"{\"info\":1}\r\n"[..]);
        let mut client = bench.get("/2/powerstream?backfillMinutes=2").await;
        bench.sim.publish(&cat(4)).expect("an object");
        let truth = payloads(&bench.sim.truth());
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
    assert_eq!(client.read_lines(1).await, payloads(&bench.sim.truth())[1..]);
}

#[tokio::test]
async fn recovery_sends_the_window_again_and_says_so() {
    for (recovery_end, words, missing) in [
        (Completion::Completed, "\"Recovery Request Completed\"", false),
        (Completion::CompletedWithErrors, "Completed with Errors", true),
        (Completion::Silent, "", false),
    ] {
        let bench = Bench::at_rate(Config { recovery_end, ..quiet() }, 500.0);
        for n in 0..20 {
            bench.sim.publish(&cat(n)).expect("an object");
            bench.clock.sleep(Duration::from_secs(10)).await;
        }
        bench.clock.sleep(Duration::from_secs(2)).await;
        let truth = bench.sim.truth();
        let second = |time: UnixMillis| UnixMillis(time.0 / 1_000 * 1_000);
        let (from, to) = (second(truth[4].created), second(truth[16].created));
        let inside: Vec<_> = truth.iter().filter(|post| post.created >= from && post.created < to).cloned().collect();
        let mut client = bench.get(&format!("/2/powerstream?startTime={}&endTime={}", iso(from), iso(to))).await;
        client.read_to_end().await;
        assert!(client.chunks().1 && inside.len() >= 11);
        let mut lines = client.lines();
        if !words.is_empty() {
            assert!(lines.pop().expect("a message").contains(words));
        }
        let expected = payloads(&inside);
        assert!(if missing { lines.len() < expected.len() } else { lines == expected }, "{recovery_end:?}");
        assert_eq!(bench.sim.counters().recovery_jobs_ended, 1);
    }
}

fn iso(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).expect("a time");
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn a_third_recovery_job_is_refused_and_jobs_are_no_faster_than_allowed() {
    let bench = Bench::start(Config { recovery_rate: 1.0, ..quiet() });
    for n in 0..100 {
        bench.sim.publish(&cat(n)).expect("an object");
    }
    let now = bench.clock.now();
    bench.clock.sleep(Duration::from_millis(1_100)).await;
    let (from, to) = (iso(now.minus(Duration::from_secs(60))), iso(now.plus(Duration::from_secs(1))));
    let target = format!("/2/powerstream?startTime={from}&endTime={to}");
    let (_live, mut first, _second) =
        (bench.get("/2/powerstream").await, bench.get(&target).await, bench.get(&target).await);
    let third = bench.get(&target).await;
    assert_eq!((first.status(), third.status()), (200, 429));
    first.read_lines(1).await;
    assert!(first.lines().len() < 50, "one a second");
    assert_eq!(bench.sim.connections().recovery_max_ever, 2);
    assert_eq!(bench.sim.cut_recovery(CutKind::Reset), 2);
}

#[tokio::test]
async fn local_streams_tell_their_datacenter_and_have_only_its_posts() {
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
async fn a_slow_reader_is_dropped_and_may_not_backfill() {
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
async fn played_posts_are_sent_as_they_are_or_matched() {
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
    assert_eq!(payloads(&bench.sim.truth()), lines);
    let bench = Bench::start(Config { match_posts: true, at_end: AtEnd::Loop, ..config });
    bench.eventually("the first is sent twice", |sim| sim.truth_len() >= 2).await;
    let truth = bench.sim.truth();
    assert!(payloads(&truth)[0].starts_with(r#"{"id":5, "id_str":"5","text":"a \/ cat","matching_rules":[{"id":"#));
    assert_eq!((truth[0].post_id.0, truth[0].rules.len()), (5, 1));
    assert!(truth[1].post_id.0 > 1 << 60, "a new id the second time");
}

#[tokio::test]
async fn other_processes_are_served_the_truth_and_the_faults() {
    let bench = Bench::start(quiet());
    let mut client = bench.get("/2/powerstream").await;
    let published = bench.ask("POST", "/simulator/publish", "", &cat(1)).await.json().await;
    assert_eq!(published["ordinal"], 1);
    bench.ask("POST", "/simulator/inject", "", "{\"warn\":1}\r\n").await;
    assert_eq!(client.read_lines(2).await[1], "{\"warn\":1}");
    let line = bench.get("/simulator/truth?after=0&limit=5&payload=1").await.json().await;
    assert_eq!((&line["post_id"], &line["rules"][0]["tag"]), (&published["post_id"], &"cats".into()));
    assert_eq!(line["json"].as_str(), Some(&*payloads(&bench.sim.truth())[0]));
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
async fn rules_can_be_changed_over_http_and_match_from_then_on() {
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

#[tokio::test]
async fn pausing_stops_the_posts_and_stopping_ends_all_tasks() {
    let bench = Bench::start(busy());
    let mut client = bench.get("/2/powerstream").await;
    client.read_lines(1).await;
    bench.sim.pause();
    bench.clock.sleep(Duration::from_millis(50)).await;
    let sent = bench.sim.truth_len();
    bench.clock.sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.sim.truth_len(), sent);
    bench.sim.resume();
    bench.eventually("posts again", |sim| sim.truth_len() > sent).await;
    bench.tasks.shutdown().cancel();
    assert!(bench.tasks.join(&bench.clock, DEADLINE).await);
    client.read_to_end().await;
}
