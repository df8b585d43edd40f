use std::time::Duration;

use serde_json::{Value, json};

use super::super::api::{RequestBudget, RequestContext, RulesResponse, answer, named_rules};
use super::super::rule_set::{REQUEST_WINDOW, RULES_MAX};
use super::super::*;
use crate::clock::Moment;
use crate::model::UnixMillis;
use crate::simulator::faults::{RuleFault, RuleMethod};

struct TestEnv {
    rules: RuleSet,
    moment: Moment,
    next_id: u64,
    config: RulesApiConfig,
    fault: Option<(RuleFault, Option<String>)>,
}

impl TestEnv {
    fn new(requests_max: usize) -> Self {
        Self {
            rules: RuleSet::new(requests_max),
            moment: Moment::default(),
            next_id: 100,
            config: RulesApiConfig::default(),
            fault: None,
        }
    }

    fn ask(&mut self, method: RuleMethod, body: &Value) -> RulesResponse {
        let next_id = &mut self.next_id;
        let mut id = || {
            *next_id += 1;
            *next_id
        };
        let (moment, wall) = (self.moment, UnixMillis(1_000));
        let (config, fault) = (self.config, self.fault.clone());
        let mut context =
            RequestContext { moment, wall, effective: moment, removed: moment, id: &mut id, config, fault };
        answer(&self.rules, method, body.to_string().as_bytes(), &mut context)
    }

    fn post(&mut self, values: &[&str]) -> RulesResponse {
        let rules: Vec<Value> = values.iter().map(|value| json!({"value": value, "tag": "t"})).collect();
        self.ask(RuleMethod::Post, &json!({"rules": rules}))
    }
}

#[test]
fn rule_value_is_unique_with_fresh_id() {
    let mut env = TestEnv::new(50);
    let first = env.post(&["cat", "dog"]);
    assert_eq!((first.status, first.budget.remaining), (201, 49));
    assert_eq!(first.body["data"]["rules"][0], json!({"id": "101", "value": "cat", "tag": "t"}));
    let again = env.post(&["cat", "bird"]);
    assert_eq!((again.status, &again.body["errors"][0]["id"]), (201, &json!("101")));
    assert_eq!(again.body["data"]["rules"].as_array().map(Vec::len), Some(1));
    let gone = env.ask(RuleMethod::Delete, &json!({"rules": [{"value": "cat"}, {"value": "cow"}]}));
    assert_eq!((gone.status, gone.body), (200, json!({"data": {"deleted": 1, "not_deleted": 1}})));
    assert_eq!(env.post(&["cat"]).body["data"]["rules"][0]["id"], "104");
    for body in [json!({"rule_ids": [102]}), json!({"ids": ["103"]}), json!({"rules": [{"id": "104"}]})] {
        assert_eq!(env.ask(RuleMethod::Delete, &body).body["data"]["deleted"], 1, "{body}");
    }
    assert_eq!(env.ask(RuleMethod::Get, &json!(null)).body["data"]["rules"], json!([]));
}

#[test]
fn one_wrong_rule_fails_whole_request() {
    let mut env = TestEnv::new(50);
    let answer = env.post(&["cat", "-dog"]);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.body["summary"], json!({"created": 0, "not_created": 2}));
    assert_eq!(answer.body["detail"][0], json!({"rule": {"value": "cat", "tag": "t"}, "created": false}));
    assert_eq!(answer.body["detail"][1]["rule"]["value"], "-dog");
    assert!(answer.body["detail"][1]["message"].is_string());
    assert!(env.rules.is_empty());
}

#[test]
fn limits_are_xs() {
    let mut env = TestEnv::new(50);
    let check = |answer: RulesResponse, status: u16| assert_eq!(answer.status, status, "{}", answer.body);
    check(env.post(&["a".repeat(2_048).as_str()]), 201);
    check(env.post(&["a".repeat(2_049).as_str()]), 422);
    check(env.ask(RuleMethod::Post, &json!({"rules": [{"value": "x", "tag": "t".repeat(256)}]})), 422);
    let values = |from: usize, to: usize| (from..to).map(|n| format!("w{n}")).collect::<Vec<_>>();
    let post = |env: &mut TestEnv, from: usize, to: usize, status: u16| {
        let values = values(from, to);
        check(env.post(&values.iter().map(String::as_str).collect::<Vec<_>>()), status);
    };
    post(&mut env, 0, 101, 400);
    for start in (0..900).step_by(100) {
        post(&mut env, start, start + 100, 201);
    }
    post(&mut env, 900, 1_000, 422);
    post(&mut env, 900, 999, 201);
    assert_eq!(env.rules.list().len(), RULES_MAX);
    for body in [json!({}), json!({"rules": []}), json!({"rules": ["cat"]}), json!([1])] {
        check(env.ask(RuleMethod::Post, &body), 400);
        check(env.ask(RuleMethod::Delete, &json!({})), 400);
    }
}

#[test]
fn fifty_requests_in_day_and_no_more() {
    let mut env = TestEnv::new(50);
    for n in 1..=50 {
        assert_eq!(env.ask(RuleMethod::Get, &json!(null)).budget.remaining, 50 - n);
    }
    env.moment = env.moment.plus(Duration::from_secs(3_600));
    let refused = env.ask(RuleMethod::Get, &json!(null));
    assert_eq!((refused.status, &refused.body["errors"][0]["code"]), (429, &json!(88)));
    assert_eq!(refused.budget, RequestBudget { limit: 50, remaining: 0, reset: 1 + 23 * 3_600 });
    env.moment = Moment::default().plus(REQUEST_WINDOW);
    assert_eq!(env.ask(RuleMethod::Get, &json!(null)).status, 200);
}

#[test]
fn emoji_count_as_two_units() {
    let mut env = TestEnv::new(50);
    assert_eq!(env.post(&["🎈".repeat(1_024).as_str()]).status, 201);
    assert_eq!(env.post(&["🎈".repeat(1_025).as_str()]).status, 422);
}

/// Each variant of an answer to POST, GET and DELETE: status, then a place in the body and its value.
#[test]
fn envelopes_have_documented_shapes() {
    let shapes = [
        (RuleEnvelope::DataRules, "/data/rules/0/id", "/data/rules/0/value", "/data/deleted"),
        (RuleEnvelope::Data, "/data/0/id", "/data/0/value", "/meta/summary/deleted"),
        (RuleEnvelope::Detail, "/detail/0/rule/id", "/rules/0/value", "/summary/deleted"),
    ];
    for (envelope, added, listed, deleted) in shapes {
        let mut env = TestEnv::new(50);
        env.config = RulesApiConfig { envelope, added_status: 200, ..RulesApiConfig::default() };
        let answer = env.post(&["cat", "dog"]);
        assert_eq!((answer.status, answer.body.pointer(added)), (200, Some(&json!("101"))), "{}", answer.body);
        let answer = env.ask(RuleMethod::Get, &json!(null));
        assert_eq!(answer.body.pointer(listed), Some(&json!("cat")), "{}", answer.body);
        let both = json!({"rules": [{"value": "cat"}, {"value": "cow"}]});
        let answer = env.ask(RuleMethod::Delete, &both);
        assert_eq!(answer.body.pointer(deleted), Some(&json!(1)), "{}", answer.body);
        env.config.deleted = DeletedForm::Lists;
        env.config.ids = RuleIdForm::Number;
        let answer = env.ask(RuleMethod::Delete, &json!({"rules": [{"value": "dog"}]}));
        let dog = json!([{"id": 102, "value": "dog", "tag": "t"}]);
        assert_eq!(answer.body.pointer(deleted), Some(&dog), "{}", answer.body);
        let answer = env.ask(RuleMethod::Get, &json!(null));
        assert_eq!(answer.body.get("data").is_some(), envelope == RuleEnvelope::DataRules, "{}", answer.body);
    }
}

fn check_refusal(config: RulesApiConfig, status: u16, place: &str, expected: &Value) {
    let mut env = TestEnv::new(50);
    env.config = config;
    let answer = env.post(&["cat", "-dog"]);
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.body.pointer(place), Some(expected), "{}", answer.body);
    let added = usize::from(matches!(config.invalid, InvalidRules::RefuseInvalid | InvalidRules::DropInvalid));
    assert_eq!(env.rules.list().len(), added, "{config:?}");
}

#[test]
fn invalid_rules_are_answered_in_each_variant() {
    let config = RulesApiConfig::default();
    let errors = |errors| RulesApiConfig { errors, ..config };
    check_refusal(config, 422, "/detail/1/rule/value", &json!("-dog"));
    check_refusal(errors(RuleErrorEnvelope::ErrorDetail), 422, "/error/detail/0/rule/value", &json!("-dog"));
    check_refusal(errors(RuleErrorEnvelope::Errors), 422, "/errors/0/value", &json!("-dog"));
    check_refusal(errors(RuleErrorEnvelope::Errors), 422, "/meta/summary/invalid", &json!(1));
    let message = "Rules must contain a non-negation term (at position 1)\nRules must contain at least one positive, \
                   non-stopword clause (at position 1)\n";
    check_refusal(errors(RuleErrorEnvelope::ErrorMessage), 422, "/error/message", &json!(message));
    let unnamed = RulesApiConfig { invalid: InvalidRules::RefuseAllUnnamed, invalid_status: 400, ..config };
    check_refusal(unnamed, 400, "/error/message", &json!(message));
    check_refusal(
        RulesApiConfig { errors: RuleErrorEnvelope::Errors, ..unnamed },
        400,
        "/title",
        &json!("Invalid Request"),
    );
    let partial = RulesApiConfig { invalid: InvalidRules::RefuseInvalid, ..config };
    check_refusal(partial, 201, "/errors/0/value", &json!("-dog"));
    check_refusal(RulesApiConfig { envelope: RuleEnvelope::Detail, ..partial }, 201, "/detail/0/created", &json!(true));
    check_refusal(
        RulesApiConfig { envelope: RuleEnvelope::Detail, ..partial },
        201,
        "/detail/1/created",
        &json!(false),
    );
    let dropped = RulesApiConfig { invalid: InvalidRules::DropInvalid, ..config };
    check_refusal(dropped, 201, "/data", &json!({"rules": [{"id": "101", "value": "cat", "tag": "t"}]}));
}

#[test]
fn duplicates_are_answered_in_each_variant() {
    for (duplicates, status, id) in [
        (DuplicateAnswer::WithId, 201, json!("101")),
        (DuplicateAnswer::WithoutId, 201, json!(null)),
        (DuplicateAnswer::Refused, 422, json!(null)),
    ] {
        let mut env = TestEnv::new(50);
        env.config = RulesApiConfig { duplicates, ..RulesApiConfig::default() };
        env.post(&["cat"]);
        let answer = env.post(&["dog", "cat"]);
        assert_eq!((answer.status, &answer.body["errors"][0]["id"]), (status, &id), "{}", answer.body);
        assert!(answer.body.to_string().contains("A rule with this value already exists"), "{}", answer.body);
        assert_eq!(env.rules.list().len(), if status == 201 { 2 } else { 1 });
    }
}

#[test]
fn trimmed_value_differs_from_request() {
    let mut env = TestEnv::new(50);
    env.config.trim_values = true;
    assert_eq!(env.post(&[" cat "]).body["data"]["rules"][0]["value"], "cat");
    assert_eq!(env.post(&["cat"]).body["errors"][0]["title"], "DuplicateRule");
}

#[test]
fn injected_faults_change_answers_not_budget() {
    let mut env = TestEnv::new(50);
    env.fault = Some((RuleFault::RateLimited { reset_in: Duration::from_secs(60) }, None));
    let answer = env.post(&["cat"]);
    assert_eq!((answer.status, answer.budget), (429, RequestBudget { limit: 50, remaining: 0, reset: 61 }));
    env.fault = Some((RuleFault::Invalid { status: 400, named: true }, Some("dog".into())));
    let answer = env.post(&["cat", "dog"]);
    assert_eq!((answer.status, &answer.body["detail"][0]["message"]), (400, &json!(null)));
    assert!(answer.body["detail"][1]["message"].is_string());
    env.fault = Some((RuleFault::Invalid { status: 422, named: false }, None));
    assert!(!env.post(&["cat", "dog"]).body.to_string().contains("cat"));
    env.fault = Some((RuleFault::OverCap, None));
    let answer = env.post(&["cat"]);
    assert_eq!(answer.status, 422);
    assert!(answer.body.to_string().contains("Rule Limit"), "{}", answer.body);
    assert!(env.rules.is_empty());
    env.fault = Some((RuleFault::Partial { applied: 1 }, None));
    let answer = env.post(&["cat", "dog"]);
    assert_eq!(answer.body, json!({"data": {"rules": [{"id": "101", "value": "cat", "tag": "t"}]}}));
    env.fault = None;
    assert_eq!(env.ask(RuleMethod::Get, &json!(null)).budget.remaining, 44);
}

#[test]
fn bodies_name_values_and_ids() {
    let named = |body: Value| named_rules(body.to_string().as_bytes());
    assert_eq!(named(json!({"rules": [{"value": "a b", "tag": "t"}, {"id": 7}]})), ["a b", "7"]);
    assert_eq!(named(json!({"rule_ids": [5, "6"], "ids": ["7"]})), ["5", "6", "7"]);
    assert_eq!(named(json!([1])), [] as [&str; 0]);
}
