use std::time::Duration;

use serde_json::{Value, json};

use super::rule_set::{AddResult, RuleError, RuleSet, StoredRule};
use crate::clock::Moment;
use crate::model::UnixMillis;

/// Rules of one request (Powerstream introduction).
const RULES_PER_REQUEST_MAX: usize = 100;

/// The requests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Method {
    Get,
    Post,
    Delete,
}

/// An answer of the rules endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::simulator) struct RulesResponse {
    pub(in crate::simulator) status: u16,
    pub(in crate::simulator) body: Value,
    /// `x-rate-limit-limit`, `-remaining`, `-reset` (unix seconds).
    pub(in crate::simulator) budget: (usize, usize, i64),
}

/// When a request comes, and what it gets from the world around.
pub(in crate::simulator) struct RequestContext<'a> {
    pub(in crate::simulator) moment: Moment,
    pub(in crate::simulator) wall: UnixMillis,
    /// From when on added rules match.
    pub(in crate::simulator) effective: Moment,
    pub(in crate::simulator) id: &'a mut dyn FnMut() -> u64,
}

/// Serves a request.
pub(in crate::simulator) fn answer(
    rules: &RuleSet,
    method: Method,
    body: &[u8],
    visit: &mut RequestContext<'_>,
) -> RulesResponse {
    let (status, body, remaining, reset_in) = match rules.spend(visit.moment) {
        Err(wait) => (429, json!({"errors": [{"code": 88, "message": "Rate limit exceeded"}]}), 0, wait),
        Ok(remaining) => {
            let (status, body) = match method {
                Method::Get => (200, list(rules, visit.wall)),
                Method::Post => add(rules, body, visit),
                Method::Delete => delete(rules, body),
            };
            (status, body, remaining, super::rule_set::REQUEST_WINDOW)
        }
    };
    let reset = visit.wall.plus(reset_in + Duration::from_millis(999)).0 / 1_000;
    RulesResponse { status, body, budget: (rules.requests_max(), remaining, reset) }
}

fn list(rules: &RuleSet, now: UnixMillis) -> Value {
    let rules: Vec<Value> = rules.list().iter().map(rule_json).collect();
    json!({"data": {"rules": rules}, "meta": {"sent": now.to_string()}})
}

fn add(rules: &RuleSet, body: &[u8], visit: &mut RequestContext<'_>) -> (u16, Value) {
    let wanted = match wanted(body) {
        Ok(wanted) => wanted,
        Err(detail) => return (400, invalid_request(&detail)),
    };
    match rules.add(&wanted, &mut *visit.id, visit.effective) {
        Ok(added) => (201, added_json(&added)),
        Err(error) => (422, refused(&wanted, &error, visit.wall)),
    }
}

fn added_json(added: &[AddResult]) -> Value {
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    for one in added {
        match one {
            AddResult::New(rule) => rules.push(rule_json(rule)),
            AddResult::Duplicate(rule) => errors.push(json!({
                "value": rule.value,
                "id": rule.id.to_string(),
                "title": "DuplicateRule",
                "detail": "A rule with this value already exists",
                "type": "https://api.x.com/2/problems/duplicate-rules",
            })),
        }
    }
    let mut body = json!({"data": {"rules": rules}});
    if !errors.is_empty() {
        body["errors"] = errors.into();
    }
    body
}

fn refused(wanted: &[(String, Option<String>)], error: &RuleError, now: UnixMillis) -> Value {
    let detail: Vec<Value> = wanted
        .iter()
        .filter_map(|(value, tag)| {
            let message = match error {
                RuleError::TooMany => error.to_string(),
                RuleError::Invalid(_) => super::rule_set::check(value, tag.as_deref()).err()?.to_string(),
            };
            Some(json!({"rule": {"value": value, "tag": tag}, "created": false, "message": message}))
        })
        .collect();
    json!({"summary": {"created": 0, "not_created": wanted.len()}, "detail": detail, "sent": now.to_string()})
}

fn delete(rules: &RuleSet, body: &[u8]) -> (u16, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (400, invalid_request(FORMAT));
    };
    let lists = [&body["rules"], &body["rule_ids"], &body["ids"]];
    let wanted: Vec<&Value> = lists.into_iter().filter_map(Value::as_array).flatten().collect();
    if wanted.is_empty() {
        return (400, invalid_request(FORMAT));
    }
    if wanted.len() > RULES_PER_REQUEST_MAX {
        return (400, invalid_request("A request may have 100 rules at most."));
    }
    let deleted = wanted.iter().filter(|one| rules.remove(|rule| is_meant(one, rule))).count();
    (200, json!({"data": {"deleted": deleted, "not_deleted": wanted.len() - deleted}}))
}

/// By id as a number or text, alone or in an object; else by value.
fn is_meant(one: &Value, rule: &StoredRule) -> bool {
    let id = if one.is_object() { &one["id"] } else { one };
    match id {
        Value::Number(number) => number.as_u64() == Some(rule.id),
        Value::String(text) => *text == rule.id.to_string(),
        _ => one["value"].as_str() == Some(&rule.value),
    }
}

const FORMAT: &str = "Invalid JSON. The body must be in the format {\"rules\":[{\"value\":\"rule1\", \"tag\":\"tag1\"}, \
                      {\"value\":\"rule2\"}]} or {\"rule_ids\": [rule_id1, rule_id2]}";

fn wanted(body: &[u8]) -> Result<Vec<(String, Option<String>)>, String> {
    let body: Value = serde_json::from_slice(body).map_err(|_| FORMAT.to_owned())?;
    let list = body["rules"].as_array().filter(|list| !list.is_empty()).ok_or(FORMAT)?;
    if list.len() > RULES_PER_REQUEST_MAX {
        return Err("A request may have 100 rules at most.".into());
    }
    list.iter()
        .map(|rule| {
            let value = rule["value"].as_str().ok_or(FORMAT)?;
            match &rule["tag"] {
                Value::Null => Ok((value.to_owned(), None)),
                Value::String(tag) => Ok((value.to_owned(), Some(tag.clone()))),
                _ => Err(FORMAT.to_owned()),
            }
        })
        .collect()
}

fn rule_json(rule: &StoredRule) -> Value {
    let mut json = json!({"id": rule.id.to_string(), "value": rule.value});
    if let Some(tag) = &rule.tag {
        json["tag"] = json!(**tag);
    }
    json
}

fn invalid_request(detail: &str) -> Value {
    json!({
        "errors": [{"message": detail}],
        "title": "Invalid Request",
        "detail": detail,
        "type": "https://api.x.com/2/problems/invalid-request",
    })
}

#[cfg(test)]
mod tests {
    use super::super::rule_set::{REQUEST_WINDOW, RULES_MAX};
    use super::*;

    struct TestEnv {
        rules: RuleSet,
        moment: Moment,
        next_id: u64,
    }

    impl TestEnv {
        fn new(requests_max: usize) -> Self {
            Self { rules: RuleSet::new(requests_max), moment: Moment::default(), next_id: 100 }
        }

        fn ask(&mut self, method: Method, body: &Value) -> RulesResponse {
            let next_id = &mut self.next_id;
            let mut id = || {
                *next_id += 1;
                *next_id
            };
            let (moment, wall) = (self.moment, UnixMillis(1_000));
            let mut visit = RequestContext { moment, wall, effective: moment, id: &mut id };
            answer(&self.rules, method, body.to_string().as_bytes(), &mut visit)
        }

        fn post(&mut self, values: &[&str]) -> RulesResponse {
            let rules: Vec<Value> = values.iter().map(|value| json!({"value": value, "tag": "t"})).collect();
            self.ask(Method::Post, &json!({"rules": rules}))
        }
    }

    #[test]
    fn rule_value_is_unique_with_fresh_id() {
        let mut env = TestEnv::new(50);
        let first = env.post(&["cat", "dog"]);
        assert_eq!((first.status, first.budget.1), (201, 49));
        assert_eq!(first.body["data"]["rules"][0], json!({"id": "101", "value": "cat", "tag": "t"}));
        let again = env.post(&["cat", "bird"]);
        assert_eq!((again.status, &again.body["errors"][0]["id"]), (201, &json!("101")));
        assert_eq!(again.body["data"]["rules"].as_array().map(Vec::len), Some(1));
        let gone = env.ask(Method::Delete, &json!({"rules": [{"value": "cat"}, {"value": "cow"}]}));
        assert_eq!((gone.status, gone.body), (200, json!({"data": {"deleted": 1, "not_deleted": 1}})));
        assert_eq!(env.post(&["cat"]).body["data"]["rules"][0]["id"], "104");
        for body in [json!({"rule_ids": [102]}), json!({"ids": ["103"]}), json!({"rules": [{"id": "104"}]})] {
            assert_eq!(env.ask(Method::Delete, &body).body["data"]["deleted"], 1, "{body}");
        }
        assert_eq!(env.ask(Method::Get, &json!(null)).body["data"]["rules"], json!([]));
    }

    #[test]
    fn one_wrong_rule_fails_whole_request() {
        let mut env = TestEnv::new(50);
        let answer = env.post(&["cat", "-dog"]);
        assert_eq!(answer.status, 422);
        assert_eq!(answer.body["summary"], json!({"created": 0, "not_created": 2}));
        assert_eq!(answer.body["detail"].as_array().map(Vec::len), Some(1));
        assert_eq!(answer.body["detail"][0]["rule"]["value"], "-dog");
        assert!(env.rules.is_empty());
    }

    #[test]
    fn limits_are_xs() {
        let mut env = TestEnv::new(50);
        let check = |answer: RulesResponse, status: u16| assert_eq!(answer.status, status, "{}", answer.body);
        check(env.post(&["a".repeat(2_048).as_str()]), 201);
        check(env.post(&["a".repeat(2_049).as_str()]), 422);
        check(env.ask(Method::Post, &json!({"rules": [{"value": "x", "tag": "t".repeat(256)}]})), 422);
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
            check(env.ask(Method::Post, &body), 400);
            check(env.ask(Method::Delete, &json!({})), 400);
        }
    }

    #[test]
    fn fifty_requests_in_day_and_no_more() {
        let mut env = TestEnv::new(50);
        for n in 1..=50 {
            assert_eq!(env.ask(Method::Get, &json!(null)).budget.1, 50 - n);
        }
        env.moment = env.moment.plus(Duration::from_secs(3_600));
        let refused = env.ask(Method::Get, &json!(null));
        assert_eq!((refused.status, &refused.body["errors"][0]["code"]), (429, &json!(88)));
        assert_eq!(refused.budget, (50, 0, 1 + 23 * 3_600));
        env.moment = Moment::default().plus(REQUEST_WINDOW);
        assert_eq!(env.ask(Method::Get, &json!(null)).status, 200);
    }
}
