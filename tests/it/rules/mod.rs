//! Rules at X managed by the gateway, against the simulator, which counts the requests.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::rule_service_client::RuleServiceClient;
use powerstream_gateway::proto::{
    ApplyRulesRequest, ApplyRulesResponse, GetRuleBudgetRequest, GetRuleOperationRequest, ListRulesRequest,
    ListRulesResponse, Rule, RuleBudget, RuleChangeOptions, RuleOperation, RuleOperationState, RuleState, WantedRule,
};
use powerstream_gateway::rules::Mode;
use powerstream_gateway::simulator::{Config as Upstream, SimulatorHandle};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::{TestEnv, eventually, in_time, reason};

mod calls;
mod files;
mod killed;
mod lost_answers;
mod others;
mod posts;
mod refusals;
mod requests;
mod rights;
mod search;

/// A client of RuleService.
type Client = RuleServiceClient<Channel>;

async fn connect(address: std::net::SocketAddr) -> Client {
    let connecting = Client::connect(format!("http://{address}"));
    in_time("a connection to the gateway", connecting).await.expect("it listens").max_decoding_message_size(4 << 20)
}

async fn client(env: &TestEnv) -> Client {
    connect(env.app().grpc_address()).await
}

/// No rules at X.
fn bare(upstream: &mut Upstream) {
    upstream.rules.clear();
}

/// Changes are not gathered, and X applies them at once.
fn prompt(settings: &mut Settings) {
    settings.rules.coalesce_interval = Duration::ZERO;
    settings.rules.coalesce_max = Duration::ZERO;
    settings.rules.effect_delay = Duration::ZERO;
}

/// The account is managed, and changes are not gathered.
fn managed(settings: &mut Settings) {
    prompt(settings);
    settings.accounts[0].rules.mode = Mode::Manage;
}

/// A managed account without rules at X, whose rules were read: one request was made.
async fn start() -> (TestEnv, Client) {
    let env = TestEnv::tuned(bare, managed).await;
    let client = client(&env).await;
    answered(&env.x, &client, 1).await;
    (env, client)
}

async fn budget(client: &mut Client) -> RuleBudget {
    let answer = client.get_rule_budget(GetRuleBudgetRequest::default()).await.expect("served").into_inner();
    answer.budget.expect("always set")
}

/// Waits until so many requests were answered by the gateway's count, and compares that with the count of X.
async fn answered(x: &SimulatorHandle, client: &Client, expected: usize) {
    let mut client = client.clone();
    eventually("the requests are answered", async || {
        let budget = budget(&mut client).await;
        budget.used as usize == expected && x.rule_requests().len() == expected
    })
    .await;
}

/// So many rules, whose texts begin with this.
fn wanted(prefix: &str, count: usize) -> Vec<WantedRule> {
    (0..count).map(|n| rule(&format!("r{n}"), &format!("{prefix}{n}"))).collect()
}

fn rule(name: &str, value: &str) -> WantedRule {
    let (name, value, tag) = (name.to_owned(), value.to_owned(), "pets".to_owned());
    WantedRule { name, value, tag, note: String::new() }
}

fn forced() -> RuleChangeOptions {
    RuleChangeOptions { force: true, ..RuleChangeOptions::default() }
}

fn planned() -> RuleChangeOptions {
    RuleChangeOptions { validate_only: true, ..RuleChangeOptions::default() }
}

async fn try_apply(
    client: &mut Client,
    set: &str,
    rules: Vec<WantedRule>,
    options: RuleChangeOptions,
) -> Result<ApplyRulesResponse, Status> {
    let request = ApplyRulesRequest { account: String::new(), set: set.to_owned(), rules, options: Some(options) };
    client.apply_rules(request).await.map(tonic::Response::into_inner)
}

/// Applies a set, and waits for the end of its operation.
async fn apply(client: &mut Client, set: &str, rules: Vec<WantedRule>) -> RuleOperation {
    let applied = try_apply(client, set, rules, RuleChangeOptions::default()).await.expect("valid");
    ended(client, applied.operation).await
}

/// Compares code and reason of a refused change.
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, expected: &str) -> Status {
    let status = result.expect_err(expected);
    assert_eq!((status.code(), reason(&status)), (code, expected), "{status:?}");
    status
}

/// Waits for the end of an operation.
async fn ended(client: &mut Client, operation: Option<RuleOperation>) -> RuleOperation {
    let operation_id = operation.expect("something is to be done").operation_id;
    let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
    let request = GetRuleOperationRequest { account: String::new(), operation_id, wait };
    let mut found = RuleOperation::default();
    eventually("the operation ends", async || {
        let answer = client.get_rule_operation(request.clone()).await.expect("known").into_inner();
        found = answer.operation.expect("always set");
        !matches!(found.state(), RuleOperationState::Waiting | RuleOperationState::Running)
    })
    .await;
    found
}

async fn overview(client: &mut Client) -> ListRulesResponse {
    let request = ListRulesRequest { page_size: 1_000, ..ListRulesRequest::default() };
    client.list_rules(request).await.expect("served").into_inner()
}

async fn list(client: &mut Client, state: RuleState) -> Vec<Rule> {
    let states = vec![state.into()];
    let request = ListRulesRequest { states, page_size: 1_000, ..ListRulesRequest::default() };
    client.list_rules(request).await.expect("served").into_inner().rules
}

async fn converged(client: &Client) {
    let mut client = client.clone();
    eventually("X has what is wanted", async || overview(&mut client).await.converged).await;
}

/// Values at X, in order.
fn values_at_x(x: &SimulatorHandle) -> Vec<String> {
    let mut values: Vec<_> = x.rules().into_iter().map(|rule| rule.value).collect();
    values.sort_unstable();
    values
}

fn values(rules: &[WantedRule]) -> Vec<String> {
    let mut values: Vec<_> = rules.iter().map(|rule| rule.value.clone()).collect();
    values.sort_unstable();
    values
}

/// A clock for tests of hours and days: an hour takes a second.
fn fast() -> Clock {
    Clock::with_rate(3_600.0, None)
}
