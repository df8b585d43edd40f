//! The step of the demo that adds a rule.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::terminal::print_status;
use crate::cli::wire;
use crate::proto::rule_service_client::RuleServiceClient;
use crate::proto::{
    AddRulesRequest, GetRuleBudgetRequest, GetRuleOperationRequest, ListRulesRequest, RefreshRulesRequest,
    RuleOperationState, RuleState, WantedRule,
};

/// Tag of the rule.
pub(super) const TAG: &str = "coffee";
/// Text of the rule.
const VALUE: &str = "coffee -is:retweet";
/// Longest wait for X.
const WAIT: Duration = Duration::from_secs(15);

/// Adds a rule by RuleService, and waits until X has it.
pub(super) async fn add(address: &str) -> anyhow::Result<()> {
    let mut client = RuleServiceClient::connect(address.to_owned()).await.context("cannot connect to the gateway")?;
    let known = client.list_rules(ListRulesRequest::default()).await?.into_inner().rules;
    if known.iter().any(|rule| rule.name == TAG && rule.state() == RuleState::Active) {
        // The directory is of an earlier run, and the simulator of then had the rule.
        let request = RefreshRulesRequest { wait: Some(wire::duration(WAIT)), ..RefreshRulesRequest::default() };
        client.refresh_rules(request).await?;
    }
    let rule = WantedRule { name: TAG.into(), value: VALUE.into(), tag: TAG.into(), note: "of the demo".into() };
    let request = AddRulesRequest { rules: vec![rule], ..AddRulesRequest::default() };
    let added = client.add_rules(request).await?.into_inner();
    let planned = added.plan.map_or(0, |plan| plan.requests);
    if let Some(operation) = added.operation {
        let request = GetRuleOperationRequest {
            operation_id: operation.operation_id,
            wait: Some(wire::duration(WAIT)),
            ..GetRuleOperationRequest::default()
        };
        let ended = client.get_rule_operation(request).await?.into_inner().operation.unwrap_or_default();
        if ended.state() != RuleOperationState::Succeeded {
            bail!("the rule was not added: {}", ended.error);
        }
    }
    let listed = client.list_rules(ListRulesRequest::default()).await?.into_inner();
    let own = listed.rules.into_iter().find(|rule| rule.name == TAG).unwrap_or_default();
    let budget = client.get_rule_budget(GetRuleBudgetRequest::default()).await?.into_inner().budget.unwrap_or_default();
    print_status(format_args!(
        "   {planned} request to X: it has `{}` as rule {}. {} of {} requests of 24 hours are left.\n",
        own.value,
        own.rule_id,
        budget.limit - budget.used,
        budget.limit
    ));
    Ok(())
}
