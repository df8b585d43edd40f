use std::collections::BTreeMap;

use http::HeaderMap;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    name: String,
    kind: String,
    expect: String,
    http_status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    wire: String,
}

fn describe(problem: &Problem) -> String {
    match &problem.kind {
        ProblemKind::RateLimited { reset: Some(reset) } => format!("rate_limited {}", reset.0),
        ProblemKind::UsageCapped { period: Some(period) } => format!("usage_capped {period}"),
        kind => kind.name().to_owned(),
    }
}

#[test]
fn every_known_refusal_is_recognised() {
    let lines = include_str!("../../../tests/data/control_messages.jsonl");
    let mut seen = 0;
    for line in lines.lines() {
        let fixture: Fixture = serde_json::from_str(line).expect("a fixture");
        if fixture.kind != "http_error" {
            continue;
        }
        seen += 1;
        let mut headers = HeaderMap::new();
        for (name, value) in &fixture.headers {
            headers.insert(name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        let status = fixture.http_status.expect("a status");
        let problem = Problem::read(status, Headers::read(&headers), &fixture.wire);
        assert_eq!(describe(&problem), fixture.expect, "{}", fixture.name);
        assert_eq!(problem.status, status);
        assert!(!problem.to_string().contains('\n'), "{}", fixture.name);
    }
    assert!(seen >= 20, "{seen} shapes");
}

fn check(status: u16, body: &str, expected: ProblemKind, title: &str, detail: &str) {
    let problem = Problem::read(status, Headers::default(), body);
    assert_eq!((&problem.kind, &*problem.title, &*problem.detail), (&expected, title, detail), "{status} {body}");
}

#[test]
fn detail_is_found_in_every_form_of_body() {
    check(503, "<HTML><Title>Over\n capacity</Title>", ProblemKind::Server, "", "Over capacity");
    check(503, "<html><body>no title", ProblemKind::Server, "", "an HTML page");
    check(400, r#"{"error":{"message":"bad"}}"#, ProblemKind::InvalidRequest, "", "bad");
    check(400, r#"{"error":"bad"}"#, ProblemKind::InvalidRequest, "", "bad");
    check(400, r#"{"errors":[{"message":"bad","code":1}]}"#, ProblemKind::InvalidRequest, "", "bad");
    check(400, r#"{"errors":[{"message":"x"}],"title":"T","detail":"d"}"#, ProblemKind::InvalidRequest, "T", "d");
    check(400, r#""just a string""#, ProblemKind::InvalidRequest, "", "just a string");
    check(429, "[1,2", ProblemKind::RateLimited { reset: None }, "", "[1,2");
    check(401, "", ProblemKind::Unauthorized, "", "");
    check(204, "", ProblemKind::Other, "", "");
    check(418, "null", ProblemKind::Other, "", "null");
    check(
        429,
        r#"{"type":"https://example.com/new/usage-capped/"}"#,
        ProblemKind::UsageCapped { period: None },
        "",
        "",
    );
    check(429, r#"{"type":"x/streaming-connection"}"#, ProblemKind::TooManyConnections, "", "");
}

#[tokio::test]
async fn problem_body_is_bounded_and_redacted() {
    let request = StreamRequest {
        base_url: "https://api.x.com".parse().expect("a URL"),
        bearer: crate::secret::Secret::new("top-secret".to_owned()),
        local_dc_only: false,
        backfill_minutes: None,
        window: None,
    };
    let endless = futures::stream::repeat_with(|| Ok(bytes::Bytes::from_static(b"you sent top-secret ")));
    let response = Response { status: 500, headers: Headers::default(), body: endless.boxed() };
    let problem = read_problem(response, &request).await;
    assert!(problem.detail.starts_with("you sent [secret] you"), "{problem}");
    assert!(!problem.to_string().contains("top-secret"));
}

/// A bearer that a body echoes in another spelling is removed (R2-E, I17).
#[tokio::test]
async fn echoed_bearer_in_any_spelling_is_removed() {
    let bearer = "AAAA%2BuSeid/AbC%3Dxyz";
    let request = StreamRequest {
        base_url: "https://api.x.com".parse().expect("a URL"),
        bearer: crate::secret::Secret::new(bearer.to_owned()),
        local_dc_only: false,
        backfill_minutes: None,
        window: None,
    };
    for spelling in
        ["AAAA%2BuSeid/AbC%3Dxyz", r"AAAA%2BuSeid\/AbC%3Dxyz", "AAAA+uSeid/AbC=xyz", r"AAAA\u002buSeid\/AbC=xyz"]
    {
        let piece = format!(r#"{{"title":"for {spelling}","detail":"no such token {spelling}"}}"#);
        let body = futures::stream::iter([Ok(bytes::Bytes::from(piece))]).boxed();
        let problem = read_problem(Response { status: 401, headers: Headers::default(), body }, &request).await;
        assert_eq!((&*problem.title, &*problem.detail), ("for [secret]", "no such token [secret]"), "{spelling}");
    }
}
