use serde::Deserialize;

use super::*;
use crate::upstream::framing::{DEPTH_MAX, Framed, Framer};

#[derive(Deserialize)]
struct Fixture {
    name: String,
    kind: String,
    expect: String,
    wire: String,
}

fn classify(wire: &str) -> Vec<String> {
    let mut framer = Framer::new(1 << 20, DEPTH_MAX);
    framer.push(Bytes::copy_from_slice(wire.as_bytes()));
    let mut framed: Vec<_> = std::iter::from_fn(|| framer.next()).collect();
    framed.extend(framer.finish().framed);
    framed.into_iter().map(describe).collect()
}

fn describe(framed: Framed) -> String {
    let message = match framed {
        Framed::Heartbeat => return "heartbeat".to_owned(),
        Framed::Value(value) => UpstreamMessage::classify(value),
        Framed::Malformed { bytes, text, .. } => UpstreamMessage::classify_text(&text, bytes),
        Framed::Oversized { bytes } => UpstreamMessage::Oversized { bytes },
    };
    match message {
        UpstreamMessage::Post(post) => format!("post {}", post.id),
        UpstreamMessage::Control(ControlMessage::ConnectionMetadata { datacenter }) => {
            format!("metadata {}", datacenter.unwrap_or_default())
        }
        UpstreamMessage::Control(ControlMessage::Info { info, activity_count }) => {
            format!("info {info:?} {activity_count:?}")
        }
        UpstreamMessage::Control(ControlMessage::Warning { percent_full, .. }) => format!("warning {percent_full:?}"),
        UpstreamMessage::Control(ControlMessage::Fault { fault, .. }) => format!("fault {fault:?}"),
        UpstreamMessage::Control(ControlMessage::Limit { track }) => format!("limit {track:?}"),
        UpstreamMessage::Foreign { kind, first: false, .. } => format!("foreign {}", kind.name()),
        UpstreamMessage::Foreign { .. } => "only the connection marks the first".to_owned(),
        UpstreamMessage::Unknown { .. } => "unknown".to_owned(),
        UpstreamMessage::Malformed { .. } => "malformed".to_owned(),
        UpstreamMessage::Oversized { .. } => "oversized".to_owned(),
    }
}

#[test]
fn every_known_message_is_recognised() {
    let lines = include_str!("../../../tests/data/control_messages.jsonl");
    let mut seen = 0;
    for line in lines.lines() {
        let fixture: Fixture = serde_json::from_str(line).expect("a fixture");
        if fixture.kind != "http_error" {
            assert_eq!(classify(&fixture.wire), [fixture.expect.as_str()], "{}", fixture.name);
            seen += 1;
        }
    }
    assert!(seen >= 50, "{seen} shapes");
}

fn post(json: &str) -> UpstreamPost {
    match UpstreamMessage::classify(Bytes::copy_from_slice(json.as_bytes())) {
        UpstreamMessage::Post(post) => {
            assert_eq!(post.json, json.as_bytes());
            post
        }
        other => panic!("{json}: {other:?}"),
    }
}

fn check_id(json: &str, id: u64) {
    assert_eq!(post(json).id, PostId(id), "{json}");
}

#[test]
fn object_with_id_is_post() {
    check_id(r#"{"id":1,"id_str":"2"}"#, 2);
    check_id(r#"{"id":3}"#, 3);
    check_id(r#"{"id":"4"}"#, 4);
    check_id(r#"{"id_str":"18446744073709551615"}"#, u64::MAX);
    check_id(r#"{"id_str":null,"id":5,"text":null,"user":7}"#, 5);
    check_id(r#"{"id_str":6}"#, 6);
    check_id(r#"{"id_str":"\u0037"}"#, 7);
    check_id(r#"{"\u0069d":8}"#, 8);
    check_id(r#"{"id":9,"id":10}"#, 10);
    check_id(r#"{"id_str":"x","id":11}"#, 11);
    check_id(r#"{"id":12,"delete":{},"type":"connection_metadata"}"#, 12);
    check_id(r#"{"id":13,"matching_rules":{"tag":"a"}}"#, 13);
    check_id(&format!("{{\"id\":14,\"deep\":{}{}}}", "[".repeat(127), "]".repeat(127)), 14);
}

#[test]
fn id_that_is_none_is_malformed() {
    for json in [
        r#"{"id":-1}"#,
        r#"{"id":18446744073709551616}"#,
        r#"{"id":1.5}"#,
        r#"{"id_str":""}"#,
        r#"{"id":{}}"#,
        r#"{"id":"number one","text":"x"}"#,
        r#"{"id":1,"text":"#,
        r#"{"id":1,,}"#,
        r#"{"id":01}"#,
        r#"{"id":1]"#,
        r#"{id:1}"#,
        "{\"id\":1,\"text\":\"\u{1}\"}",
    ] {
        let bytes = json.len() as u64;
        assert_eq!(
            UpstreamMessage::classify(Bytes::copy_from_slice(json.as_bytes())),
            UpstreamMessage::Malformed { bytes },
            "{json}"
        );
    }
}

fn check_rules(list: &str, expected: &[(Option<u64>, Option<&str>)]) {
    let arrived = post(&format!("{{\"id\":1,\"matching_rules\":{list}}}"));
    assert!(!arrived.rules_missing, "{list}");
    let rules: Vec<_> = arrived.rules.iter().map(|rule| (rule.id, rule.tag.as_deref())).collect();
    assert_eq!(rules, expected, "{list}");
}

#[test]
fn rules_are_read_in_every_shape() {
    check_rules("[]", &[]);
    check_rules(
        r#"[{"tag":null,"id":1128017341835464704,"id_str":"1128017341835464705"}]"#,
        &[(Some(1_128_017_341_835_464_705), None)],
    );
    check_rules(r#"[{"tag":"x"},{"tag":null},{}]"#, &[(None, Some("x")), (None, None), (None, None)]);
    check_rules(
        r#"[{"id":"120","tag":"t","embedding_similarity":0.7},{"id":7,"tag":"t"}]"#,
        &[(Some(120), Some("t")), (Some(7), Some("t"))],
    );
    check_rules(r#"[{"tag":"caf\u00e9 \"1\" \ud83d\ude00"}]"#, &[(None, Some("café \"1\" 😀"))]);
    check_rules(r#"[{"tag":"half \ud83d"}]"#, &[(None, Some("half \\ud83d"))]);
    check_rules(r#"[{"tag":"","id":7},{"tag":" "}]"#, &[(Some(7), None), (None, Some(" "))]);
    check_rules(r#"[{"tag":5,"id":-3}]"#, &[(None, None)]);
    check_rules(r#"[3,{"tag":"a"},null]"#, &[(None, Some("a"))]);
    check_rules(r#"[{"tag":"a","tag":"b"},{"tag":"c"}]"#, &[(None, Some("c"))]);
}

#[test]
fn post_without_rules_is_marked() {
    for json in [r#"{"id":1}"#, r#"{"id":1,"matching_rules":null}"#, r#"{"id":1,"matching_rules":"x"}"#] {
        let post = post(json);
        assert!(post.rules_missing && post.rules.is_empty(), "{json}");
    }
    assert!(post(r#"{"id":1,"retweeted_status":{"matching_rules":[{"tag":"not mine"}]}}"#).rules_missing);
}

#[test]
fn control_message_text_is_bounded() {
    let long = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "a\\n".repeat(9_000));
    let UpstreamMessage::Control(mut control) = UpstreamMessage::classify(long.into()) else { panic!("a fault") };
    control.replace_words(|words| crate::xapi::shown(words, ""));
    let ControlMessage::Fault { detail, .. } = control else { panic!("a fault") };
    assert_eq!(detail.chars().count(), 301);
    assert!(!detail.contains('\n'));
}

/// X allows neither. Each once cost the writer's thread time, or made a message that no client accepts.
#[test]
fn post_beyond_rules_of_x_is_oversized() {
    let post = |rules: usize, tag_bytes: usize| {
        let rules: Vec<_> =
            (0..rules).map(|n| format!(r#"{{"id":{n},"tag":"{n:0width$}"}}"#, width = tag_bytes)).collect();
        let json = format!(r#"{{"id":1,"matching_rules":[{}]}}"#, rules.join(","));
        UpstreamMessage::classify(Bytes::from(json)).bounded(1_000)
    };
    for (rules, tag_bytes, is_oversized) in
        [(1_000, 5, false), (1_001, 5, true), (1, 1_020, false), (1, 1_021, true), (20_000, 5, true)]
    {
        let message = post(rules, tag_bytes);
        assert_eq!(
            matches!(message, UpstreamMessage::Oversized { .. }),
            is_oversized,
            "{rules} rules, {tag_bytes} bytes"
        );
        assert_eq!(matches!(message, UpstreamMessage::Post(_)), !is_oversized);
    }
}
