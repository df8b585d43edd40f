//! Requests whose answer is lost, or has no usable form.

use powerstream_gateway::simulator::{Repeat, RuleFault, RuleMethod, RuleRequestFilter};

use super::*;

fn impatient(settings: &mut Settings) {
    managed(settings);
    settings.rules.request_timeout = Duration::from_secs(1);
}

fn every(method: RuleMethod) -> RuleRequestFilter {
    RuleRequestFilter { method: Some(method), value: None }
}

/// Replaces all rules of a set while one request of the plan has a fault. Returns the requests that the plan took.
async fn replace_with(fault: RuleFault, method: RuleMethod) -> usize {
    let env = TestEnv::tuned(bare, impatient).await;
    let mut client = client(&env).await;
    answered(&env.x, &client, 1).await;
    apply(&mut client, "pets", wanted("v", 10)).await;
    let before = env.x.rule_requests().len();
    env.x.fail_rules(every(method), Repeat::Next(1), fault.clone());
    let operation = apply(&mut client, "pets", wanted("w", 10)).await;
    assert_eq!(operation.state(), RuleOperationState::Succeeded, "{fault:?} {method:?}: {operation:?}");
    converged(&client).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("w", 10)), "{fault:?} {method:?}");
    assert_eq!(env.x.counters().rule_faults, 1, "{fault:?} {method:?}");
    let requests = env.x.rule_requests();
    check_order(&requests, &format!("{fault:?} {method:?}"));
    requests.len() - before
}

/// Nothing is deleted before its replacement was added.
fn check_order(requests: &[powerstream_gateway::simulator::RuleRequestRecord], what: &str) {
    let changed = |method: &str| requests.iter().rposition(|one| one.method == method && one.changed);
    assert!(changed("POST") < changed("DELETE"), "{what}: {requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_cost_one_read() {
    for (fault, repeats) in [
        (RuleFault::AnswerReset, 0),
        (RuleFault::AnswerTimeout, 0),
        (RuleFault::Html { status: 200 }, 0),
        (RuleFault::Empty { status: 200 }, 0),
        // The change was not made: its request follows once more.
        (RuleFault::RequestReset, 1),
        (RuleFault::Html { status: 502 }, 1),
        (RuleFault::Empty { status: 503 }, 1),
        (RuleFault::Refuse { with: "unavailable".to_owned(), applied: false }, 1),
        (RuleFault::Refuse { with: "unavailable".to_owned(), applied: true }, 0),
    ] {
        for method in [RuleMethod::Post, RuleMethod::Delete] {
            // Addition, deletion, and the read after the unknown outcome.
            assert_eq!(replace_with(fault.clone(), method).await, 3 + repeats, "{fault:?} {method:?}");
        }
    }
}

/// X adds only a part of a request and reports that part alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_success_is_completed() {
    assert_eq!(replace_with(RuleFault::Partial { applied: 4 }, RuleMethod::Post).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_rules_are_read_again() {
    let env = TestEnv::without_gateway(fast(), bare, |settings| {
        crate::harness::env::patient(settings);
        managed(settings);
    });
    let mut env = env;
    env.x.fail_rules(every(RuleMethod::Get), Repeat::Next(2), RuleFault::Html { status: 502 });
    env.start_gateway().await;
    let mut client = client(&env).await;
    let applied = try_apply(&mut client, "pets", wanted("v", 3), RuleChangeOptions::default()).await.expect("valid");
    let operation = ended(&mut client, applied.operation).await;
    assert_eq!(operation.state(), RuleOperationState::Succeeded, "{operation:?}");
    assert_eq!(values_at_x(&env.x), values(&wanted("v", 3)));
    assert_eq!(env.x.rule_requests().len(), 4, "three reads, with growing waits, and one addition");
}

/// X stores texts without outer spaces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimmed_texts_are_known() {
    let env = TestEnv::tuned(
        |upstream| {
            bare(upstream);
            upstream.rules_api.trim_values = true;
        },
        managed,
    )
    .await;
    let mut client = client(&env).await;
    let rules = vec![rule("a", " cat "), rule("b", "dog ")];
    assert_eq!(apply(&mut client, "pets", rules.clone()).await.requests, 1);
    converged(&client).await;
    assert_eq!(values_at_x(&env.x), ["cat", "dog"]);
    let active = list(&mut client, RuleState::Active).await;
    let shown: Vec<_> = active.iter().map(|rule| (&*rule.value, &*rule.value_at_x)).collect();
    assert_eq!(shown, [(" cat ", "cat"), ("dog ", "dog")]);
    let same = try_apply(&mut client, "pets", rules, RuleChangeOptions::default()).await.expect("valid");
    assert_eq!(same.operation, None);
}
