use super::*;
use crate::model::UnixMillis;
use crate::rules::rule::RuleName;
use crate::xapi::Headers;

fn answered(status: u16, body: &str) -> Result<RuleAnswer, RuleFailure> {
    Ok(RuleAnswer::read(status, Headers::default(), Some(body.as_bytes()), ""))
}

fn new_rules(values: &[&str]) -> Vec<RuleAddition> {
    let owner = RuleName { set: "s".to_owned(), name: "n".to_owned() };
    values
        .iter()
        .map(|value| RuleAddition { owner: owner.clone(), value: (*value).to_owned(), tag: "t".to_owned() })
        .collect()
}

fn old_rules(values: &[&str]) -> Vec<OldRule> {
    let rule = |(n, value): (usize, &&str)| OldRule {
        id: RuleId::new(&n.to_string()).ok(),
        value: (*value).to_owned(),
        tag: None,
    };
    values.iter().enumerate().map(rule).collect()
}

fn letters(outcome: &Outcome) -> String {
    let Outcome::Results(results) = outcome else { return outcome.name().to_owned() };
    let letter = |result: &RuleResult| match result {
        RuleResult::Added(rule) => format!("+{}", rule.id.as_ref().expect("added rules have ids")),
        RuleResult::Deleted => "-".to_owned(),
        RuleResult::Rejected(message) => format!("x:{message}"),
        RuleResult::Again => "again".to_owned(),
        RuleResult::Unknown => "?".to_owned(),
    };
    results.iter().map(letter).collect::<Vec<_>>().join(" ")
}

#[test]
fn outcomes_of_addition() {
    let check = |status: u16, values: &[&str], body: &str, expected: &str| {
        let outcome = of_add(&new_rules(values), &answered(status, body));
        assert_eq!(letters(&outcome), expected, "{status} {body}");
    };
    let cat = r#"{"id":"1","value":"cat"}"#;
    check(201, &["cat"], &format!(r#"{{"data":{{"rules":[{cat}]}}}}"#), "+1");
    check(200, &["cat", "dog"], &format!(r#"{{"data":[{{"id":2,"value":"dog"}},{cat}]}}"#), "+1 +2");
    check(201, &["cat", "dog"], &format!(r#"{{"data":{{"rules":[{cat}]}}}}"#), "+1 ?");
    check(201, &[" cat "], &format!(r#"{{"data":{{"rules":[{cat}]}}}}"#), "+1");
    check(201, &["dog", " cat", "cow"], &format!(r#"{{"data":{{"rules":[{cat}]}}}}"#), "? +1 ?");
    check(201, &["cat"], r#"{"data":{"rules":[{"value":"cat"}]}}"#, "?");
    check(201, &["cat"], r#"{"summary":{"created":1}}"#, "?");
    let duplicate = r#"{"errors":[{"value":"cat","id":"9","title":"DuplicateRule"}]}"#;
    check(200, &["cat"], duplicate, "?");
    let both = r#"{"data":[{"id":"3","value":"dog"}],"errors":[{"value":"cat","id":"9","title":"DuplicateRule"}]}"#;
    check(201, &["dog", "cat"], both, "+3 ?");
    let invalid = r#"{"detail":[{"rule":{"value":"-x"},"created":false,"message":"bad"},
        {"rule":{"value":"cat"},"created":false}]}"#;
    check(422, &["cat", "-x", "dog"], invalid, "again x:bad again");
    check(201, &["cat", "-x", "dog"], invalid, "again x:bad ?");
    check(400, &["h:m"], r#"{"errors":[{"value":"h:m","details":["no"],"title":"UnprocessableEntity"}]}"#, "x:no");
    for (status, body, expected) in [
        (400, r#"{"title":"Invalid Request","detail":"bad"}"#, "refused"),
        (422, "<html>", "refused"),
        (422, r#"{"detail":[{"rule":{"value":"other"},"message":"bad"}]}"#, "refused"),
        (422, r#"{"error":{"message":"Request exceeds account's Rule Limit."}}"#, "over_limit"),
        (200, "<html>", "unknown"),
        (201, "", "unknown"),
        (500, "{}", "unknown"),
        (503, "<html>", "unknown"),
        (408, "{}", "unknown"),
        (401, "{}", "denied"),
        (403, "<html>", "denied"),
        (404, "<html>", "denied"),
        (302, "", "denied"),
        (429, "{}", "rate_limited"),
        (420, "", "rate_limited"),
    ] {
        check(status, &["cat"], body, expected);
    }
}

#[test]
fn outcomes_of_deletion() {
    let check = |status: u16, body: &str, expected: &str| {
        let outcome = of_delete(&old_rules(&["cat", "dog"]), &answered(status, body));
        assert_eq!(letters(&outcome), expected, "{status} {body}");
    };
    check(200, r#"{"data":{"deleted":2}}"#, "- -");
    check(200, r#"{"data":{"deleted":["0","1"],"not_deleted":[]}}"#, "- -");
    check(200, r#"{"summary":{"deleted":2,"not_deleted":0},"detail":[]}"#, "- -");
    check(200, r#"{"data":{"deleted":1,"not_deleted":1}}"#, "? ?");
    check(200, r#"{"data":{"deleted":1}}"#, "? ?");
    check(200, "{}", "? ?");
    let missing = r#"{"rule":{"value":"dog"},"deleted":false,"message":"Rule does not exist"}"#;
    check(200, &format!(r#"{{"summary":{{"deleted":1,"not_deleted":1}},"detail":[{missing}]}}"#), "- -");
    check(200, r#"{"data":{"deleted":1,"not_deleted":["1"]}}"#, "- ?");
    check(404, &format!(r#"{{"detail":[{missing}]}}"#), "again -");
    check(400, r#"{"title":"Invalid Request"}"#, "refused");
    check(404, r#"{"title":"Not Found"}"#, "denied");
    check(200, "<html>", "unknown");
    check(502, "", "unknown");
    check(401, "", "denied");
}

#[test]
fn outcomes_of_reading() {
    let read = |status: u16, body: &str| match of_get(answered(status, body)) {
        Ok(rules) => format!("{} rules", rules.len()),
        Err(outcome) => outcome.name().to_owned(),
    };
    assert_eq!(read(200, r#"{"data":{"rules":[{"id":"1","value":"cat"}]}}"#), "1 rules");
    assert_eq!(read(200, r#"{"data":{"rules":[]}}"#), "0 rules");
    assert_eq!(read(200, r#"{"meta":{"sent":"2022"}}"#), "0 rules");
    assert_eq!(read(200, r#"{"errors":[{"message":"failed"}]}"#), "unknown");
    assert_eq!(read(200, ""), "unknown");
    assert_eq!(read(500, ""), "unknown");
    assert_eq!(read(400, "{}"), "refused");
    assert_eq!(read(403, "{}"), "denied");
}

#[test]
fn request_without_answer_is_unknown() {
    let sent = new_rules(&["cat"]);
    let unanswered = of_add(&sent, &Err(RuleFailure::Unanswered("reset".to_owned())));
    assert!(unanswered.needs_refresh());
    let not_sent = of_add(&sent, &Err(RuleFailure::NotSent("refused".to_owned())));
    assert_eq!((not_sent.name(), not_sent.needs_refresh()), ("not_sent", false));
}

#[test]
fn window_of_x_is_measured_by_its_clock() {
    let mut answer = answered(429, "{}").expect("answered");
    assert_eq!(of_get(Ok(answer.clone())), Err(Outcome::Limited(None)));
    answer.headers.date = Some(UnixMillis(1_000_000));
    answer.headers.rate_limit.reset = Some(UnixMillis(1_900_000));
    assert_eq!(of_get(Ok(answer)), Err(Outcome::Limited(Some(Duration::from_secs(900)))));
}

/// X's texts may be trimmed, and its tags missing.
#[test]
fn text_and_tag_of_x_are_kept() {
    let body = r#"{"data":{"rules":[{"id":"1","value":"cat"},{"id":"2","value":"dog","tag":"other"}]}}"#;
    let Outcome::Results(results) = of_add(&new_rules(&["cat ", "dog"]), &answered(201, body)) else {
        panic!("answered")
    };
    let rule = |id: &str, value: &str, tag: &str| {
        let (id, value) = (RuleId::new(id).ok(), value.to_owned());
        RuleResult::Added(XRule { id, value, tag: Some(tag.to_owned()) })
    };
    assert_eq!(results, [rule("1", "cat", "t"), rule("2", "dog", "other")]);
}
