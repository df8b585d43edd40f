//! Requests for rules with faults, as a client sees them.

use serde_json::json;

use super::*;

const RULES: &str = "/2/powerstream/rules";

fn body(values: &[&str]) -> String {
    let rules: Vec<Value> = values.iter().map(|value| json!({"value": value, "tag": value})).collect();
    json!({"rules": rules}).to_string()
}

fn bench() -> Bench {
    Bench::start(Config { rules: Vec::new(), rate: 0.0, ..Config::default() })
}

impl Bench {
    async fn act(&self, action: &str) {
        assert_eq!(self.ask("POST", "/simulator/do", "", action).await.status(), 200, "{action}");
    }

    /// Sends a request that is not answered.
    async fn send(&self, method: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.sim.addr()).await.expect("connects");
        let head = format!(
            "{method} {RULES} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).await.expect("written");
        stream
    }

    fn values(&self) -> Vec<String> {
        self.sim.rules().into_iter().map(|rule| rule.value).collect()
    }
}

#[tokio::test]
async fn lost_answers_leave_change_or_not() {
    let bench = bench();
    for (fault, value, is_changed) in
        [("answer_reset", "cat", true), ("request_reset", "dog", false), ("answer_timeout", "bird", true)]
    {
        bench.act(&format!(r#"{{"fail_rules": {{"with": "{fault}", "times": 1}}}}"#)).await;
        let mut stream = bench.send("POST", &body(&[value])).await;
        bench
            .eventually("the request is recorded", |sim| {
                sim.rule_requests().last().is_some_and(|last| last.fault == Some(fault))
            })
            .await;
        let record = bench.sim.rule_requests().pop().expect("recorded");
        assert_eq!((record.status, record.changed, record.rules), (None, is_changed, 1), "{fault}");
        assert_eq!(bench.values().contains(&value.to_owned()), is_changed, "{fault}");
        if fault != "answer_timeout" {
            let end = stream.read(&mut [0; 16]).await;
            assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset), "{fault}");
        }
    }
    let counters = bench.sim.counters();
    assert_eq!((counters.rule_requests_unanswered, counters.rule_faults), (3, 3));
    assert_eq!(bench.ask("POST", RULES, "", &body(&["emu"])).await.status(), 201);
}

#[tokio::test]
async fn other_bodies_come_with_change_or_without() {
    let bench = bench();
    for (fault, status, is_changed) in [
        (r#"{"html": {}}"#, 200, true),
        (r#"{"html": {"status": 503}}"#, 503, false),
        (r#"{"empty": {"status": 201}}"#, 201, true),
        (r#"{"refuse": {"with": "unauthorized"}}"#, 401, false),
        (r#"{"refuse": {"with": "forbidden"}}"#, 403, false),
        (r#"{"refuse": {"with": "unavailable", "applied": true}}"#, 503, true),
        (r#"{"rate_limited": {"reset_in": "5m"}}"#, 429, false),
        (r#"{"invalid": {}}"#, 422, false),
        (r#"{"invalid": {"status": 400, "named": false}}"#, 400, false),
        (r#""over_cap""#, 422, false),
    ] {
        bench.act(&format!(r#"{{"fail_rules": {{"with": {fault}, "method": "post", "times": 1}}}}"#)).await;
        assert_eq!(bench.get(RULES).await.status(), 200, "{fault}");
        let before = bench.values().len();
        let answer = bench.ask("POST", RULES, "", &body(&[&format!("v{status}{before}")])).await;
        assert_eq!((answer.status(), bench.values().len() > before), (status, is_changed), "{fault}");
        let record = bench.sim.rule_requests().pop().expect("recorded");
        assert_eq!((record.status, record.changed), (Some(status), is_changed), "{fault}");
    }
    assert_eq!(bench.sim.counters().rule_faults, 10);
}

#[tokio::test]
async fn rate_limit_headers_follow_setting() {
    let bench = bench();
    let headers = |client: &Client| {
        ["x-rate-limit-limit: 50", "x-rate-limit-remaining: ", "x-rate-limit-reset: "]
            .map(|text| client.head.contains(text))
    };
    assert_eq!(headers(&bench.get(RULES).await), [true, true, true]);
    bench.act(r#"{"set": {"rules_api": {"rate_limit_headers": "without_reset"}}}"#).await;
    bench.act(r#"{"fail_rules": {"with": {"rate_limited": {"reset_in": "1h"}}, "times": 1}}"#).await;
    let limited = bench.get(RULES).await;
    assert_eq!((limited.status(), headers(&limited)), (429, [true, true, false]));
    bench.act(r#"{"set": {"rules_api": {"rate_limit_headers": "absent"}}}"#).await;
    assert_eq!(headers(&bench.get(RULES).await), [false, false, false]);
}

#[tokio::test]
async fn fault_of_value_spares_other_requests() {
    let bench = bench();
    bench.act(r#"{"fail_rules": {"with": {"invalid": {"named": false}}, "value": "dog"}}"#).await;
    assert_eq!(bench.ask("POST", RULES, "", &body(&["cat", "dog"])).await.status(), 422);
    assert_eq!(bench.ask("POST", RULES, "", &body(&["cat"])).await.status(), 201);
    assert_eq!(bench.ask("POST", RULES, "", &body(&["dog"])).await.status(), 422);
    bench.act(r#"{"allow_rules": {}}"#).await;
    assert_eq!(bench.ask("POST", RULES, "", &body(&["dog"])).await.status(), 201);
    bench.act(r#"{"fail_rules": {"with": {"partial": {"applied": 1}}, "times": 1}}"#).await;
    let answer = bench.ask("POST", RULES, "", &body(&["emu", "fox"])).await.json().await;
    assert_eq!(answer["data"]["rules"].as_array().map(Vec::len), Some(1));
    assert_eq!(bench.values(), ["cat", "dog", "emu"]);
}

#[tokio::test]
async fn others_change_rules_and_spend_requests() {
    let bench = bench();
    bench.act(r#"{"change_rules": {"add": [{"value": "cat", "tag": "theirs"}], "requests": 3}}"#).await;
    assert!(bench.get(RULES).await.head.contains("x-rate-limit-remaining: 46"));
    bench.act(r#"{"change_rules": {"delete": ["cat", "cow"]}}"#).await;
    assert!(bench.values().is_empty());
    assert_eq!((bench.sim.counters().rules_changed_by_others, bench.sim.rule_requests().len()), (2, 1));
    let wrong = bench.ask("POST", "/simulator/do", "", r#"{"change_rules": {"add": [{"value": "-cat"}]}}"#).await;
    assert_eq!(wrong.status(), 400);
}

/// The 51st request of a day is refused, and the record shows that it came.
#[tokio::test]
async fn record_counts_requests_of_day() {
    let bench = bench();
    for _ in 0..51 {
        bench.get(RULES).await;
    }
    let records = bench.get("/simulator/rule_requests").await.json().await;
    let of = |at: usize, key: &str| records[at][key].clone();
    assert_eq!((of(49, "in_day"), of(49, "status")), (json!(50), json!(200)));
    assert_eq!((of(50, "in_day"), of(50, "status")), (json!(51), json!(429)));
    assert_eq!(bench.sim.rule_requests().iter().map(|record| record.in_day).max(), Some(51));
}

#[tokio::test]
async fn rules_take_effect_after_delay() {
    let bench = bench();
    let matches =
        |n: u32| bench.sim.publish(&format!(r#"{{"id":{n},"text":"a cat"}}"#)).expect("an object").rules.len();
    bench.sim.update_config(|config| config.rules_delay = Duration::from_secs(3_600));
    bench.ask("POST", RULES, "", &body(&["cat"])).await;
    assert_eq!((matches(1), bench.values().len()), (0, 1));
    bench.ask("DELETE", RULES, "", &body(&["cat"])).await;
    bench.act(r#"{"set": {"rules_delay": "0s", "rules_removal_delay": "1h"}}"#).await;
    bench.ask("POST", RULES, "", &body(&["cat"])).await;
    assert_eq!(matches(2), 1);
    bench.ask("DELETE", RULES, "", &body(&["cat"])).await;
    assert_eq!((matches(3), bench.values().len()), (1, 0));
    // The removed rule still matches, with its old id.
    bench.ask("POST", RULES, "", &body(&["cat"])).await;
    assert_eq!((matches(4), bench.values().len()), (2, 1));
}
