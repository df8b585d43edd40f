//! Requests that X refuses: in every form of answer, with and without names, by rate, by credential.

use powerstream_gateway::simulator::{
    DeletedForm, DuplicateAnswer, InvalidRules, Repeat, RuleEnvelope, RuleErrorEnvelope, RuleFault, RuleIdForm,
    RuleMethod, RuleRequestFilter, RulesApiConfig,
};

use super::*;

async fn start_as(api: RulesApiConfig) -> (TestEnv, Client) {
    let tune = |upstream: &mut Upstream| {
        bare(upstream);
        upstream.rules_api = api;
    };
    let env = TestEnv::tuned(tune, managed).await;
    let client = client(&env).await;
    answered(&env.x, &client, 1).await;
    (env, client)
}

/// Every form of answer that is known leads to the same rules with the same requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_envelope_is_understood() {
    for envelope in [RuleEnvelope::DataRules, RuleEnvelope::Data, RuleEnvelope::Detail] {
        for deleted in [DeletedForm::Counts, DeletedForm::Lists] {
            for ids in [RuleIdForm::Text, RuleIdForm::Number] {
                let api = RulesApiConfig { envelope, deleted, ids, added_status: 200, ..RulesApiConfig::default() };
                let (env, mut client) = start_as(api).await;
                assert_eq!(apply(&mut client, "pets", wanted("v", 3)).await.requests, 1, "{api:?}");
                assert_eq!(apply(&mut client, "pets", wanted("w", 3)).await.requests, 2, "{api:?}");
                converged(&client).await;
                let active = list(&mut client, RuleState::Active).await;
                let mut known: Vec<_> = active.into_iter().map(|rule| (rule.value, rule.rule_id)).collect();
                let mut at_x: Vec<_> =
                    env.x.rules().into_iter().map(|rule| (rule.value.clone(), rule.id.to_string())).collect();
                known.sort_unstable();
                at_x.sort_unstable();
                assert_eq!(known, at_x, "{api:?}");
            }
        }
    }
}

fn invalid(value: &str, named: bool) -> (RuleRequestFilter, RuleFault) {
    let filter = RuleRequestFilter { method: Some(RuleMethod::Post), value: Some(value.to_owned()) };
    (filter, RuleFault::Invalid { status: 422, named })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_rule_is_rejected_alone() {
    for errors in [RuleErrorEnvelope::Summary, RuleErrorEnvelope::ErrorDetail, RuleErrorEnvelope::Errors] {
        let api = RulesApiConfig { errors, invalid: InvalidRules::RefuseAll, ..RulesApiConfig::default() };
        let (env, mut client) = start_as(api).await;
        let (filter, fault) = invalid("v3", true);
        env.x.fail_rules(filter, Repeat::UntilCleared, fault);
        let operation = apply(&mut client, "pets", wanted("v", 10)).await;
        assert_eq!((operation.state(), operation.requests), (RuleOperationState::Succeeded, 2), "{operation:?}");
        assert_eq!(operation.rejected, 1);
        assert_eq!(env.x.rules().len(), 9, "{errors:?}");
        let rejected = list(&mut client, RuleState::Rejected).await;
        assert_eq!(rejected.iter().map(|rule| &*rule.value).collect::<Vec<_>>(), ["v3"]);
        assert!(!rejected[0].rejection.is_empty(), "X's words: {rejected:?}");
        // The same text is not sent again, a corrected one is.
        let mut rules = wanted("v", 11);
        assert_eq!(apply(&mut client, "pets", rules.clone()).await.requests, 1);
        rules[3].value = "parrot".to_owned();
        assert_eq!(apply(&mut client, "pets", rules).await.requests, 1);
        assert_eq!(list(&mut client, RuleState::Rejected).await, []);
        assert_eq!(env.x.rules().len(), 11);
        converged(&client).await;
    }
}

/// The rule that a rejected one would replace stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_replacement_keeps_earlier_rule() {
    let (env, mut client) = start_as(RulesApiConfig::default()).await;
    apply(&mut client, "pets", wanted("v", 2)).await;
    let (filter, fault) = invalid("w0", true);
    env.x.fail_rules(filter, Repeat::UntilCleared, fault);
    apply(&mut client, "pets", vec![rule("r0", "w0"), rule("r1", "w1")]).await;
    assert_eq!(values_at_x(&env.x), ["v0", "w1"]);
}

/// Without a name the request is halved, at most twice; the rest counts as rejected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unnamed_refusal_is_halved_twice() {
    let (env, mut client) = start_as(RulesApiConfig::default()).await;
    let (filter, fault) = invalid("v0", false);
    env.x.fail_rules(filter, Repeat::UntilCleared, fault);
    let operation = apply(&mut client, "pets", wanted("v", 8)).await;
    assert_eq!(operation.state(), RuleOperationState::Succeeded, "{operation:?}");
    let rejected: Vec<_> = list(&mut client, RuleState::Rejected).await.into_iter().map(|rule| rule.value).collect();
    assert!(rejected.contains(&"v0".to_owned()) && rejected.len() <= 2, "{rejected:?}");
    assert_eq!(env.x.rules().len(), 8 - rejected.len());
    let posts = env.x.rule_requests().iter().filter(|request| request.method == "POST").count();
    assert!(posts <= 5, "{posts}: the whole, two halves, two quarters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn existing_rules_are_recognized() {
    for duplicates in [DuplicateAnswer::WithId, DuplicateAnswer::WithoutId] {
        let (env, mut client) = start_as(RulesApiConfig { duplicates, ..RulesApiConfig::default() }).await;
        let own = |value: &str| powerstream_gateway::simulator::InitialRule {
            value: value.to_owned(),
            tag: Some("other".to_owned()),
        };
        env.x.change_rules(&[own("v1")], &[], 0).expect("a rule");
        let operation = apply(&mut client, "pets", wanted("v", 3)).await;
        assert_eq!(operation.state(), RuleOperationState::Succeeded, "{duplicates:?}: {operation:?}");
        converged(&client).await;
        assert_eq!(values_at_x(&env.x), ["(v1)", "v0", "v2"], "the tag was another one: {duplicates:?}");
        assert!(env.x.rules().iter().all(|rule| rule.tag.as_deref() == Some("pets")));
    }
}

/// After a 429 nothing leaves until X's reset, or for an hour if X names none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit_is_respected() {
    let hour = Duration::from_secs(3_600);
    for (fault, wait) in [
        (RuleFault::RateLimited { reset_in: 2 * hour }, 2 * hour),
        (RuleFault::Refuse { with: "rate_limited".to_owned(), applied: false }, hour),
    ] {
        let env = TestEnv::starting(fast(), bare, |settings| {
            crate::harness::env::patient(settings);
            managed(settings);
        })
        .await;
        let mut client = client(&env).await;
        answered(&env.x, &client, 1).await;
        env.x.fail_rules(RuleRequestFilter::default(), Repeat::Next(1), fault.clone());
        let applied =
            try_apply(&mut client, "pets", wanted("v", 3), RuleChangeOptions::default()).await.expect("valid");
        ended(&mut client, applied.operation).await;
        let requests = env.x.rule_requests();
        let times: Vec<_> = requests.iter().map(|request| request.received_ms).collect();
        assert_eq!((requests.len(), requests[1].status), (3, Some(429)), "{requests:?}");
        // X's times have whole seconds.
        let waited = times[2] - times[1];
        assert!(waited >= i64::try_from(wait.as_millis()).expect("small") - 2_000, "{fault:?}: {waited} ms");
        assert_eq!(values_at_x(&env.x), values(&wanted("v", 3)));
    }
}

/// A refused credential stops all work on rules, and not the stream, until an operator has them read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credential_stops_work() {
    for with in ["unauthorized", "forbidden"] {
        let (mut env, mut client) = start_as(RulesApiConfig::default()).await;
        let fault = RuleFault::Refuse { with: with.to_owned(), applied: false };
        env.x.fail_rules(RuleRequestFilter::default(), Repeat::UntilCleared, fault);
        let applied =
            try_apply(&mut client, "pets", wanted("v", 3), RuleChangeOptions::default()).await.expect("valid");
        eventually("the refusal is shown", async || !overview(&mut client).await.problem.is_empty()).await;
        assert_eq!(env.metric("rules_denied"), 1.0);
        // Another change makes no request.
        let rules = wanted("v", 4);
        try_apply(&mut client, "pets", rules.clone(), RuleChangeOptions::default()).await.expect("valid");
        env.post(&[&["pets"]]);
        env.all_logged().await;
        assert_eq!(env.x.rule_requests().len(), 2, "{with}");
        env.x.clear_rule_faults();
        let wait = Some(prost_types::Duration { seconds: 20, nanos: 0 });
        let refresh = powerstream_gateway::proto::RefreshRulesRequest { wait, ..Default::default() };
        let answer = client.refresh_rules(refresh).await.expect("served").into_inner();
        assert!(answer.refreshed && answer.as_of_time.is_some(), "{answer:?}");
        ended(&mut client, applied.operation).await;
        assert_eq!(values_at_x(&env.x), values(&rules), "{with}");
    }
}
