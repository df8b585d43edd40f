//! A gateway that is killed at each step of a plan.

use powerstream_gateway::simulator::{Repeat, RuleFault, RuleRequestFilter};

use super::*;
use crate::harness::process::Gateway;

/// Kills the gateway while the request of this number is not answered, restarts it, and checks what X has at the end.
async fn kill_at(step: usize, is_applied: bool) {
    let mut env = TestEnv::without_gateway(Clock::system(), bare, managed);
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    let mut client = connect(gateway.grpc()).await;
    answered(&env.x, &client, 1).await;
    apply(&mut client, "pets", wanted("v", 150)).await;
    answered(&env.x, &client, 3).await;
    // Two additions and two deletions.
    let fault = if is_applied { RuleFault::AnswerTimeout } else { RuleFault::Html { status: 502 } };
    let until = env.x.rule_requests().len() + step;
    for _ in 1..step {
        // A fault that changes nothing keeps the place of the one that follows.
        env.x.fail_rules(RuleRequestFilter::default(), Repeat::Next(1), RuleFault::Partial { applied: 1_000 });
    }
    env.x.fail_rules(RuleRequestFilter::default(), Repeat::Next(1), fault);
    try_apply(&mut client, "pets", wanted("w", 150), RuleChangeOptions::default()).await.expect("valid");
    eventually("the request arrives", async || env.x.rule_requests().len() >= until).await;
    gateway.kill().await;
    env.left().await;
    let at_kill = env.x.rule_requests().len();
    env.x.clear_rule_faults();
    env.start_gateway().await;
    let client = super::client(&env).await;
    converged(&client).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("w", 150)), "killed at {step}");
    let requests = env.x.rule_requests();
    // At most a read, the step itself, and the remaining ones.
    assert!(requests.len() <= at_kill + 2 + (4 - step), "killed at {step}: {requests:?}");
    let last = |method: &str| requests.iter().rposition(|one| one.method == method && one.changed);
    let first_delete = requests.iter().position(|one| one.method == "DELETE" && one.changed);
    assert!(last("POST") < first_delete, "killed at {step}: {requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_with_applied_step_converges() {
    for step in 1..=4 {
        kill_at(step, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_around_refused_step_converges() {
    for step in 1..=4 {
        kill_at(step, false).await;
    }
}

/// A gateway that is killed again and again never makes a 51st request, and keeps the reserve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_do_not_renew_budget() {
    let env = TestEnv::without_gateway(Clock::system(), bare, managed);
    for n in 0..14 {
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        let mut client = connect(gateway.grpc()).await;
        let before = env.x.rule_requests().len();
        env.x.fail_rules(RuleRequestFilter::default(), Repeat::UntilCleared, RuleFault::AnswerTimeout);
        let rules = wanted(&format!("v{n}x"), 350);
        let options = forced();
        try_apply(&mut client, "pets", rules, options).await.expect("valid");
        let is_exhausted = budget(&mut client).await.available == 0;
        if !is_exhausted {
            eventually("a request arrives", async || env.x.rule_requests().len() > before).await;
        }
        gateway.kill().await;
        env.left().await;
        env.x.clear_rule_faults();
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        let mut client = connect(gateway.grpc()).await;
        eventually("it converges, or waits for the budget", async || {
            let overview = overview(&mut client).await;
            overview.converged || overview.operation.is_some_and(|own| own.next_request_after.is_some())
        })
        .await;
        gateway.kill().await;
        env.left().await;
    }
    let requests = env.x.rule_requests();
    assert!(requests.len() > 35 && requests.iter().all(|request| request.in_day <= 50), "{}", requests.len());
    assert!(requests.iter().all(|request| request.status != Some(429)), "X refused none: {requests:?}");
}
