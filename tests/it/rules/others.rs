//! Other writers: at X with the same credential, and of the same set.

use powerstream_gateway::simulator::InitialRule;

use super::*;

fn foreign(value: &str) -> InitialRule {
    InitialRule { value: value.to_owned(), tag: Some("theirs".to_owned()) }
}

async fn refresh(client: &mut Client) {
    let wait = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let request = powerstream_gateway::proto::RefreshRulesRequest { wait, ..Default::default() };
    assert!(client.refresh_rules(request).await.expect("served").into_inner().refreshed);
}

/// Rules of others stay; deleted rules of ours are added again, at most three times a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_changes_are_found() {
    let (env, mut client) = start().await;
    apply(&mut client, "pets", wanted("v", 5)).await;
    for round in 1..=4 {
        env.x.change_rules(&[foreign(&format!("theirs{round}"))], &["v0".to_owned()], 0).expect("rules");
        refresh(&mut client).await;
        if round <= 3 {
            converged(&client).await;
            assert!(values_at_x(&env.x).contains(&"v0".to_owned()), "round {round}");
        }
        let unmanaged = list(&mut client, RuleState::Unmanaged).await;
        assert_eq!(unmanaged.len(), round, "kept and shown");
    }
    assert!(!overview(&mut client).await.converged, "two clients undo each other's changes");
    assert_eq!(env.x.rules().len(), 8);
    eventually("each change of ours is counted", async || env.metric("rules_drift_total") >= 4.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmanaged_rules_follow_policy() {
    use powerstream_gateway::rules::Unmanaged;
    for (unmanaged, expected, set) in [
        (Unmanaged::Keep, vec!["mine", "theirs"], ""),
        (Unmanaged::Adopt, vec!["mine", "theirs"], "adopted"),
        (Unmanaged::Delete, vec!["mine"], ""),
    ] {
        let upstream = |upstream: &mut Upstream| upstream.rules = vec![foreign("theirs")];
        let env = TestEnv::tuned(upstream, |settings| {
            managed(settings);
            settings.accounts[0].rules.unmanaged = unmanaged;
        })
        .await;
        let mut client = client(&env).await;
        answered(&env.x, &client, 1).await;
        apply(&mut client, "pets", vec![rule("a", "mine")]).await;
        converged(&client).await;
        assert_eq!(values_at_x(&env.x), expected, "{unmanaged:?}");
        let shown = overview(&mut client).await.rules;
        let theirs = shown.iter().find(|rule| rule.value == "theirs");
        assert_eq!(theirs.map(|rule| rule.set.as_str()), (expected.len() == 2).then_some(set), "{shown:?}");
    }
}

/// Two writers of one set that undo each other's changes are stopped before they spend the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disagreeing_writers_are_stopped() {
    let (mut env, mut before) = start().await;
    for prefix in ["v", "w", "v"] {
        apply(&mut before, "pets", wanted(prefix, 3)).await;
    }
    let used = env.x.rule_requests().len();
    let result = try_apply(&mut before, "pets", wanted("w", 3), RuleChangeOptions::default()).await;
    refused(result, Code::FailedPrecondition, "MODE_OBSERVE");
    env.restart_gateway().await;
    let mut client = client(&env).await;
    let other = try_apply(&mut client, "pets", wanted("x", 3), RuleChangeOptions::default()).await;
    refused(other, Code::FailedPrecondition, "MODE_OBSERVE");
    let sets = overview(&mut client).await.sets;
    assert!(!sets[0].suspended_reason.is_empty() && sets[0].rule_count == 3, "{sets:?}");
    assert_eq!(env.metric("rule_sets_refused"), 1.0);
    // Another set is not concerned.
    apply(&mut client, "birds", vec![rule("a", "owl")]).await;
    assert_eq!(env.x.rule_requests().len(), used + 1);
    let applied = try_apply(&mut client, "pets", wanted("w", 3), forced()).await.expect("forced");
    ended(&mut client, applied.operation).await;
    converged(&client).await;
    assert_eq!(values_at_x(&env.x), ["owl", "w0", "w1", "w2"]);
}
