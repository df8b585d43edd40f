//! As few requests as documented.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observer_reads_rules_once() {
    let mut env = TestEnv::tuned(|_| (), prompt).await;
    let mut before = client(&env).await;
    answered(&env.x, &before, 1).await;
    // X counts the request before the gateway has read the answer.
    let has_all = async || overview(&mut before.clone()).await.rules.len() == env.x.rules().len();
    eventually("the rules are known", has_all).await;
    let found = overview(&mut before).await;
    let is_known = |rule: &Rule| rule.state() == RuleState::Unmanaged && !rule.rule_id.is_empty();
    assert!(found.rules.iter().all(is_known), "{found:?}");
    let refused_change = try_apply(&mut before, "pets", wanted("v", 1), RuleChangeOptions::default()).await;
    refused(refused_change, Code::FailedPrecondition, "MODE_OBSERVE");
    let plan = try_apply(&mut before, "pets", wanted("v", 1), planned()).await.expect("planned").plan.expect("set");
    assert_eq!((plan.adds, plan.requests), (1, 1), "{plan:?}");
    env.restart_gateway().await;
    let mut client = client(&env).await;
    // Matches are counted from some time after the start.
    let uncounted =
        |rules: Vec<Rule>| -> Vec<Rule> { rules.into_iter().map(|rule| Rule { matches_24h: None, ..rule }).collect() };
    let restored = overview(&mut client).await.rules;
    assert_eq!(uncounted(restored), uncounted(found.rules), "known from the state");
    assert_eq!(budget(&mut client).await.used, 1, "a restart makes no request");
    assert_eq!(env.x.rule_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_as_few_as_documented() {
    let (env, mut client) = start().await;
    let plan = try_apply(&mut client, "pets", wanted("v", 1_000), planned()).await.expect("valid").plan.expect("set");
    assert_eq!((plan.adds, plan.requests), (1_000, 10));
    assert_eq!((plan.available_requests, plan.available_requests_after), (39, 29));
    assert_eq!(plan.changes.len() + plan.omitted_changes as usize, 1_000);
    let operation = apply(&mut client, "pets", wanted("v", 1_000)).await;
    assert_eq!((operation.state(), operation.requests), (RuleOperationState::Succeeded, 10));
    answered(&env.x, &client, 11).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("v", 1_000)));
    let same = try_apply(&mut client, "pets", wanted("v", 1_000), RuleChangeOptions::default()).await.expect("valid");
    assert_eq!((same.operation, same.plan.expect("set").requests), (None, 0));
    let ids: Vec<_> = list(&mut client, RuleState::Active).await.into_iter().map(|rule| rule.rule_id).collect();
    let mut at_x: Vec<_> = env.x.rules().into_iter().map(|rule| rule.id.to_string()).collect();
    let mut known = ids.clone();
    at_x.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, at_x);
    // All replaced at the cap: 10 additions, 10 deletions, and one more because 1,000 rules leave no space for the first.
    let replaced = apply(&mut client, "pets", wanted("w", 1_000)).await;
    assert_eq!(replaced.state(), RuleOperationState::Succeeded, "{replaced:?}");
    assert!(replaced.requests <= 21, "{replaced:?}");
    answered(&env.x, &client, 11 + replaced.requests as usize).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("w", 1_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handful_changed_takes_two_requests() {
    let (mut env, mut client_before) = start().await;
    assert_eq!(apply(&mut client_before, "pets", wanted("v", 5)).await.requests, 1);
    let mut rules = wanted("v", 5);
    for (n, rule) in rules.iter_mut().enumerate().skip(2) {
        rule.value = format!("w{n}");
    }
    let plan = try_apply(&mut client_before, "pets", rules.clone(), planned()).await.expect("valid").plan.expect("set");
    assert_eq!((plan.adds, plan.deletes, plan.kept, plan.coverage_breaks), (3, 3, 2, 0));
    let texts = |change: &powerstream_gateway::proto::RuleChange| (change.value.clone(), change.previous_value.clone());
    assert_eq!(texts(&plan.changes[0]), ("w2".to_owned(), "v2".to_owned()));
    assert_eq!(apply(&mut client_before, "pets", rules.clone()).await.requests, 2);
    let methods: Vec<_> = env.x.rule_requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["GET", "POST", "POST", "DELETE"], "a rule is deleted after its replacement was added");
    env.restart_gateway().await;
    let client = client(&env).await;
    converged(&client).await;
    assert_eq!((values_at_x(&env.x), env.x.rule_requests().len()), (values(&rules), 4));
}

/// A rule that only gets another tag has no moment without a rule at X.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tag_changes_without_interruption() {
    let (env, mut client) = start().await;
    apply(&mut client, "pets", wanted("v", 2)).await;
    let mut rules = wanted("v", 2);
    rules[0].tag = "renamed".to_owned();
    let applied = try_apply(&mut client, "pets", rules.clone(), RuleChangeOptions::default()).await.expect("valid");
    let plan = applied.plan.as_ref().expect("set");
    assert_eq!((plan.retags, plan.coverage_breaks), (1, 0));
    ended(&mut client, applied.operation).await;
    assert_eq!(values_at_x(&env.x), ["(v0)", "v1"]);
    let active = list(&mut client, RuleState::Active).await;
    let shown: Vec<_> = active.iter().map(|rule| (&*rule.value, &*rule.tag, &*rule.value_at_x)).collect();
    assert_eq!(shown, [("v0", "renamed", "(v0)"), ("v1", "pets", "")]);
    // And back.
    assert_eq!(apply(&mut client, "pets", wanted("v", 2)).await.requests, 2);
    assert_eq!(values_at_x(&env.x), ["v0", "v1"]);
}

/// The 51st request in 24 hours never leaves, the reserve is kept, and what waits is made when the budget allows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budget_is_never_exceeded() {
    let env = TestEnv::starting(fast(), bare, |settings| {
        crate::harness::env::patient(settings);
        managed(settings);
    })
    .await;
    let mut client = client(&env).await;
    answered(&env.x, &client, 1).await;
    let mut used = 1;
    for round in 0.. {
        let plan = try_apply(&mut client, "pets", wanted(&format!("v{round}x"), 300), planned()).await.expect("valid");
        if plan.plan.expect("set").pending_adds > 0 {
            break;
        }
        used += apply(&mut client, "pets", wanted(&format!("v{round}x"), 300)).await.requests;
    }
    assert!(used > 30, "{used}");
    let options = RuleChangeOptions { no_wait: true, ..RuleChangeOptions::default() };
    let exhausted = try_apply(&mut client, "pets", wanted("last", 900), options).await;
    let status = refused(exhausted, Code::ResourceExhausted, "BUDGET_EXHAUSTED");
    let details = tonic_types::StatusExt::get_error_details(&status);
    assert!(
        details.retry_info().and_then(|retry| retry.retry_delay).is_some_and(|delay| !delay.is_zero()),
        "{status:?}"
    );
    let applied = try_apply(&mut client, "pets", wanted("last", 900), forced()).await.expect("it waits");
    ended(&mut client, applied.operation).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("last", 900)));
    let requests = env.x.rule_requests();
    assert!(requests.iter().all(|request| request.in_day <= 40), "the reserve is kept: {requests:?}");
    assert!(requests.iter().all(|request| request.status.is_some_and(|status| status < 300)), "{requests:?}");
}
