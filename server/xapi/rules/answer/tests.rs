use RefusalKind::{Duplicate, Invalid, LimitReached, Missing, Unexplained};

use super::*;

fn read(status: u16, body: &str) -> RuleAnswer {
    RuleAnswer::read(status, Headers::default(), Some(body.as_bytes()), "s3cret")
}

/// Ids and texts of the rules, and kinds and texts of the refusals.
fn check(body: &str, rules: Option<&[(&str, &str)]>, refusals: &[(&str, RefusalKind)]) -> RuleDocument {
    let document = read(200, body).document.expect("JSON");
    let found = document.rules.as_ref().map(|rules| {
        let rule = |rule: &XRule| (rule.id.as_ref().map(ToString::to_string).unwrap_or_default(), rule.value.clone());
        rules.iter().map(rule).collect::<Vec<_>>()
    });
    let expected = rules.map(|rules| rules.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned())).collect());
    assert_eq!(found, expected, "{body}");
    let found: Vec<_> = document
        .refusals
        .iter()
        .map(|refusal| (refusal.value.clone().or(refusal.id.as_ref().map(ToString::to_string)), refusal.kind))
        .collect();
    let expected: Vec<_> = refusals.iter().map(|(value, kind)| (Some((*value).to_owned()), *kind)).collect();
    assert_eq!(found, expected, "{body}");
    document
}

#[test]
fn rules_are_read_from_every_form() {
    let id = "734861971116285952";
    for body in [
        r#"{"data":{"rules":[{"id":"734861971116285952","value":"cat","tag":"t"}]},"meta":{}}"#,
        r#"{"data":{"rules":[{"id":734861971116285952,"value":"cat"}]}}"#,
        r#"{"data":[{"id":"734861971116285952","value":"cat"}],"meta":{"summary":{"created":1}}}"#,
        r#"{"rules":[{"value":"cat","tag":null,"id":734861971116285952}],"sent":"2016-06-01T15:52:37.341Z"}"#,
        r#"{"summary":{"created":1,"not_created":0},"detail":[{"rule":{"value":"cat","id":734861971116285952},"created":true}]}"#,
        r#"{"detail":[{"rule":{"value":"cat","id":734861971116285952}}]}"#,
        r#"[{"id":"734861971116285952","value":"cat"}]"#,
    ] {
        check(body, Some(&[(id, "cat")]), &[]);
    }
    check(r#"{"data":{"rules":[]}}"#, Some(&[]), &[]);
    check(r#"{"data":{"rules":[{"id":1e40,"value":"cat"},{"id":"7"}]}}"#, Some(&[("", "cat")]), &[]);
    check("{}", None, &[]);
    check(r#"{"meta":{"sent":"2022"}}"#, None, &[]);
}

#[test]
fn refusals_are_read_from_every_form() {
    check(
        r#"{"summary":{"created":1,"not_created":2},"detail":[{"rule":{"value":"robot","id":7},"created":true},
            {"rule":{"value":"fish"},"created":false,"message":"A rule with this value already exists"},
            {"rule":{"value":"-x"},"created":false,"message":"Rules must contain a non-negation term (at position 1)\n"},
            {"rule":{"value":"good"},"created":false}]}"#,
        Some(&[("7", "robot")]),
        &[("fish", Duplicate), ("-x", Invalid), ("good", Unexplained)],
    );
    check(
        r#"{"error":{"message":"One or more rules are invalid","detail":[{"rule":{"value":"-x"},"message":"bad"}]}}"#,
        None,
        &[("-x", Invalid)],
    );
    check(
        r#"{"meta":{"summary":{"created":0,"not_created":1,"valid":0,"invalid":1}},"errors":[{"value":"h:m",
            "details":["Reference to invalid operator 'h' (at position 1)"],"title":"UnprocessableEntity",
            "type":"https://api.twitter.com/2/problems/invalid-rules"}]}"#,
        None,
        &[("h:m", Invalid)],
    );
    check(
        r#"{"errors":[{"value":"cat","id":"1605612339621163008","title":"DuplicateRule",
            "type":"https://api.twitter.com/2/problems/duplicate-rules"}]}"#,
        None,
        &[("cat", Duplicate)],
    );
    let document = check(
        r#"{"summary":{"deleted":0,"not_deleted":1},"detail":[{"rule":{"value":"Pizza","tag":null},"deleted":false,
            "message":"Rule does not exist"}]}"#,
        None,
        &[("Pizza", Missing)],
    );
    assert_eq!((document.deleted, document.not_deleted), (Some(0), Some(1)));
    check(r#"{"errors":[{"message":"bad","parameters":{"rules":["x"]}}],"title":"Invalid Request"}"#, None, &[]);
    let refused = r#"{"summary":{"created":0,"not_created":1},"detail":[{"rule":{"value":"cat"},"created":false,
        "message":"Request exceeds account's Rule Limit. Delete rules or contact your account manager to proceed."}]}"#;
    assert!(check(refused, None, &[("cat", LimitReached)]).limit_reached);
    let capped = r#"{"title":"RulesCapExceeded","detail":"x","type":"https://api.x.com/2/problems/rule-cap"}"#;
    assert!(check(capped, None, &[]).limit_reached);
}

#[test]
fn deletions_are_counts_or_lists() {
    for (body, deleted, not_deleted) in [
        (r#"{"data":{"deleted":3,"not_deleted":0}}"#, Some(3), Some(0)),
        (r#"{"data":{"deleted":3}}"#, Some(3), None),
        (r#"{"data":{"deleted":["1","2"]}}"#, Some(2), None),
        (r#"{"summary":{"deleted":3,"not_deleted":0},"detail":[]}"#, Some(3), Some(0)),
        (r#"{"meta":{"summary":{"deleted":1,"not_deleted":0}}}"#, Some(1), Some(0)),
        (r#"{}"#, None, None),
    ] {
        let document = check(body, None, &[]);
        assert_eq!((document.deleted, document.not_deleted), (deleted, not_deleted), "{body}");
    }
    let listed = r#"{"data":{"deleted":1,"not_deleted":["12",{"value":"cat","message":"Rule does not exist"}]}}"#;
    check(listed, None, &[("12", Unexplained), ("cat", Missing)]);
}

#[test]
fn other_bodies_are_no_documents() {
    for body in ["", "<html><title>Error 403</title></html>", "true", "7", "\"x\"", "{\"a\":", "\u{0}"] {
        assert_eq!(read(200, body).document, None, "{body}");
    }
    assert_eq!(RuleAnswer::read(200, Headers::default(), None, "").document, None);
}

#[test]
fn shown_texts_have_no_secret_and_one_line() {
    let body = r#"{"errors":[{"value":"cat","message":"you sent s3cret\n\u001b[31m"}],"title":"T","detail":"Bearer s3\u0063ret"}"#;
    let answer = read(400, body);
    assert_eq!(answer.detail, "Bearer [secret]");
    assert_eq!(answer.document.expect("JSON").refusals[0].message, "you sent [secret] [31m");
}
