//! RuleService as callers see it: checks, refusals, single rules, operations.

use powerstream_gateway::proto::{
    AddRulesRequest, CancelRuleOperationRequest, CheckRulesRequest, DeleteRulesRequest, RefreshRulesRequest, RuleMode,
};
use tonic_types::StatusExt;

use super::*;

fn revision(revision: u64) -> RuleChangeOptions {
    RuleChangeOptions { expected_revision: Some(revision), ..RuleChangeOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_changes_have_reasons() {
    let (env, mut client) = start().await;
    let none = RuleChangeOptions::default;
    apply(&mut client, "pets", wanted("v", 100)).await;
    let used = env.x.rule_requests().len();
    let twice = [wanted("v", 1), wanted("v", 1)].concat();
    let unnamed = vec![WantedRule { name: String::new(), ..rule("", "cat") }];
    for (set, rules, options, code, expected) in [
        ("pets", wanted("v", 10), none(), Code::FailedPrecondition, "DELETE_GUARD"),
        ("pets", Vec::new(), none(), Code::FailedPrecondition, "DELETE_GUARD"),
        ("pets", wanted("v", 1_001), none(), Code::FailedPrecondition, "TOO_MANY_RULES"),
        ("pets", twice, none(), Code::InvalidArgument, "RULE_INVALID"),
        ("pets", unnamed, none(), Code::InvalidArgument, "RULE_INVALID"),
        ("", wanted("v", 1), none(), Code::InvalidArgument, "RULE_INVALID"),
        ("pets", wanted("v", 100), revision(7), Code::Aborted, "REVISION_MISMATCH"),
    ] {
        refused(try_apply(&mut client, set, rules, options).await, code, expected);
    }
    let tagged = WantedRule { value: "(v1)".to_owned(), tag: "other".to_owned(), ..rule("r1", "") };
    let conflict = client.add_rules(AddRulesRequest { rules: vec![tagged], ..AddRulesRequest::default() }).await;
    refused(conflict, Code::InvalidArgument, "RULE_CONFLICT");
    let known = overview(&mut client).await.revision;
    let same = try_apply(&mut client, "pets", wanted("v", 100), revision(known)).await.expect("the known revision");
    assert_eq!((same.operation, same.revision), (None, known));
    assert_eq!(env.x.rule_requests().len(), used, "none of them made a request");
}

/// All findings at once, with position and the corrected rule; an invalid rule costs no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_rules_cost_nothing() {
    let (env, mut client) = start().await;
    let mut rules = wanted("v", 4);
    rules[1].value = "fish AND bird".to_owned();
    rules[3].value = "cat or dog".to_owned();
    let result = try_apply(&mut client, "pets", rules.clone(), RuleChangeOptions::default()).await;
    let status = refused(result, Code::InvalidArgument, "RULE_INVALID");
    let violations = status.get_error_details().bad_request().expect("a bad request").field_violations.clone();
    let fields: Vec<_> = violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["rules[1].value", "rules[3].value"]);
    assert!(violations[0].description.starts_with("AND_KEYWORD at 6: "), "{violations:?}");
    rules[2] = rule("r0", "v0");
    let request = CheckRulesRequest { rules, ..CheckRulesRequest::default() };
    let found = client.check_rules(request).await.expect("served").into_inner().findings;
    let seen: Vec<_> = found.iter().map(|one| (one.rule_index, one.code.as_str(), one.field.as_str())).collect();
    assert_eq!(
        seen,
        [
            (1, "AND_KEYWORD", "value"),
            (2, "DUPLICATE_NAME", "name"),
            (2, "DUPLICATE_VALUE", "value"),
            (3, "OR_LOWERCASE", "value")
        ]
    );
    assert_eq!((found[0].position, found[0].end, found[0].byte_start, found[0].byte_end), (6, 9, 5, 8));
    assert_eq!(found[0].suggestion, "fish bird");
    let many = CheckRulesRequest { rules: wanted("v", 1_001), ..CheckRulesRequest::default() };
    refused(client.check_rules(many).await, Code::InvalidArgument, "START_INVALID");
    assert_eq!(env.x.rule_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_rules_are_added_and_deleted() {
    let (env, mut client) = start().await;
    let single = WantedRule { name: "mine".to_owned(), value: "parrot".to_owned(), ..WantedRule::default() };
    let request = AddRulesRequest { rules: vec![single], ..AddRulesRequest::default() };
    let added = client.add_rules(request).await.expect("valid").into_inner();
    ended(&mut client, added.operation).await;
    assert_eq!(values_at_x(&env.x), ["parrot"]);
    let mut shown = ListRulesResponse::default();
    // Matches are counted from when the observer knows the rule, which may be before or after the end of the operation.
    eventually("matches of the rule are counted", async || {
        shown = overview(&mut client).await;
        shown.rules[0].matches_24h.is_some()
    })
    .await;
    let own = &shown.rules[0];
    assert_eq!((&*own.set, &*own.name, &*own.tag), ("manual", "mine", "mine"));
    assert!(own.added_time.is_some() && own.first_known_time.is_some());
    assert_eq!(own.matches_24h, Some(0));
    assert_eq!(shown.mode(), RuleMode::Manage);
    let delete = DeleteRulesRequest { names: vec!["mine".to_owned()], ..DeleteRulesRequest::default() };
    let deleted = client.delete_rules(delete.clone()).await.expect("known").into_inner();
    ended(&mut client, deleted.operation).await;
    assert!(env.x.rules().is_empty());
    refused(client.delete_rules(delete).await, Code::NotFound, "RULE_NOT_FOUND");
    answered(&env.x, &client, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_awaited_and_cancelled() {
    let env = TestEnv::tuned(bare, |settings| {
        managed(settings);
        settings.rules.coalesce_interval = Duration::from_secs(600);
        settings.rules.coalesce_max = Duration::from_secs(600);
    })
    .await;
    let mut client = client(&env).await;
    let applied = try_apply(&mut client, "pets", wanted("v", 3), RuleChangeOptions::default()).await.expect("valid");
    let operation = applied.operation.expect("something is to be done");
    assert_eq!(operation.state(), RuleOperationState::Waiting);
    // A long poll ends with the operation.
    let operation_id = operation.operation_id.clone();
    let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
    let request = GetRuleOperationRequest { account: String::new(), operation_id: operation_id.clone(), wait };
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.get_rule_operation(request).await });
    let cancel = CancelRuleOperationRequest { operation_id, ..CancelRuleOperationRequest::default() };
    let cancelled = client.cancel_rule_operation(cancel).await.expect("known").into_inner().operation.expect("set");
    assert_eq!(cancelled.state(), RuleOperationState::Cancelled);
    let waited = in_time("the end of the long poll", waiting).await.expect("no panic").expect("served").into_inner();
    assert_eq!(waited.operation.expect("set").state(), RuleOperationState::Cancelled);
    let unknown = CancelRuleOperationRequest { operation_id: "x".to_owned(), ..CancelRuleOperationRequest::default() };
    refused(client.cancel_rule_operation(unknown).await, Code::NotFound, "OPERATION_NOT_FOUND");
    let unknown = GetRuleOperationRequest { operation_id: "77".to_owned(), ..GetRuleOperationRequest::default() };
    refused(client.get_rule_operation(unknown).await, Code::NotFound, "OPERATION_NOT_FOUND");
    assert_eq!(env.x.rule_requests().len(), 0);
    assert_eq!(list(&mut client, RuleState::Unknown).await.len(), 3, "X's rules were never read");
}

/// A state that cannot be read is never replaced without an operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_state_is_only_observed() {
    let (mut env, mut before) = start().await;
    apply(&mut before, "pets", wanted("v", 3)).await;
    env.stop_gateway().await;
    let file = env.settings.data_dir.join("rules/main.json");
    std::fs::write(&file, "{").expect("ours");
    env.start_gateway().await;
    env.connected().await;
    let mut client = client(&env).await;
    let change = try_apply(&mut client, "pets", Vec::new(), forced()).await;
    refused(change, Code::FailedPrecondition, "RULES_UNUSABLE");
    refused(client.refresh_rules(RefreshRulesRequest::default()).await, Code::FailedPrecondition, "RULES_UNUSABLE");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "{");
    assert_eq!((env.metric("rules_unusable"), env.x.rule_requests().len()), (1.0, 2));
    let wait = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let repair = RefreshRulesRequest { repair: true, wait, ..RefreshRulesRequest::default() };
    assert!(client.refresh_rules(repair).await.expect("repaired").into_inner().refreshed);
    assert_eq!(list(&mut client, RuleState::Unmanaged).await.len(), 3);
    assert_eq!(env.x.rules().len(), 3, "nothing is deleted because it is not known");
    let budget = budget(&mut client).await;
    assert_eq!((budget.used, budget.available), (50, 0), "the charges of the day are not known");
    refused(client.refresh_rules(RefreshRulesRequest::default()).await, Code::ResourceExhausted, "BUDGET_EXHAUSTED");
}

/// Every change and every request has a line in the audit file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_file_has_changes_and_requests() {
    let (env, mut client) = start().await;
    let operation = apply(&mut client, "pets", wanted("v", 30)).await;
    refused(
        try_apply(&mut client, "pets", Vec::new(), RuleChangeOptions::default()).await,
        Code::FailedPrecondition,
        "DELETE_GUARD",
    );
    converged(&client).await;
    let read = || std::fs::read_to_string(env.settings.data_dir.join("rules/main.audit.jsonl")).expect("there");
    eventually("the lines are written", async || read().lines().count() >= 4).await;
    let lines: Vec<serde_json::Value> =
        read().lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().expect("a text")).collect();
    let of = |event: &str| lines.iter().filter(move |line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!((of("request").len(), of("change").len()), (2, 2), "{events:?}");
    let (accepted, refused_change) = (of("change")[0], of("change")[1]);
    assert_eq!((&accepted["set"], &accepted["plan"]["adds"]), (&"pets".into(), &30.into()));
    assert_eq!(accepted["operation"].to_string(), operation.operation_id);
    assert!(refused_change["refused"].as_str().is_some_and(|text| text.contains("force")), "{refused_change}");
    let post = of("request")[1];
    let expected = (&"post".into(), &30.into(), &201.into(), &"ok".into());
    assert_eq!((&post["method"], &post["rules"], &post["status"], &post["outcome"]), expected, "{post}");
    for metric in ["rule_requests_total", "rules_converged", "rule_budget_remaining", "rule_budget_x_remaining"] {
        assert!(env.metric(metric) >= 1.0, "{metric}");
    }
    assert_eq!((env.metric("rules"), env.metric("rules_pending")), (30.0, 0.0));
    assert_eq!(env.metric("rule_operation_seconds_count"), 1.0);
}
