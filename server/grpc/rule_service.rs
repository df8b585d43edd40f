use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tonic::{Request, Response, Status};

use super::blocking::Blocking;
use super::call_context::CallContext;
use super::paging::PageRequest;
use super::rule_samples::RuleSearch;
use super::{Config, convert, rule_convert, status};
use crate::access::{AccessControl, Grant};
use crate::clock::Clock;
use crate::gateway::{Account, Gateway};
use crate::proto::rule_service_server::RuleService;
use crate::proto::{
    AddRulesRequest, AddRulesResponse, ApplyRulesRequest, ApplyRulesResponse, CancelRuleOperationRequest,
    CancelRuleOperationResponse, CheckRulesRequest, CheckRulesResponse, DeleteRulesRequest, DeleteRulesResponse,
    GetRuleBudgetRequest, GetRuleBudgetResponse, GetRuleOperationRequest, GetRuleOperationResponse, ListRulesRequest,
    ListRulesResponse, RefreshRulesRequest, RefreshRulesResponse, TestRuleRequest, TestRuleResponse,
};
use crate::rules::{AuditLine, Change, ChangeOptions, ChangeReport, Operation, RuleView, check_rules};

/// Maximum rules of a check: those of an account.
const CHECKED_MAX: usize = 1_000;
/// Maximum wait for the end of an operation.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes of findings in an answer: further ones are left out.
const FINDINGS_BYTES_MAX: usize = 1_000_000;
/// Characters of a text in a page token, where a rule has no id.
const KEY_CHARS_MAX: usize = 64;

/// RuleService over the gateway's accounts.
pub struct RuleApi {
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    clock: Clock,
    /// Plans and writes files on threads that serve no sessions.
    blocking: Blocking,
    search: RuleSearch,
    /// Maximum wait of a call.
    wait_max: Duration,
}

/// A call that changes rules.
struct ChangeCall {
    account: Account,
    grant: Grant,
    context: CallContext,
    peer: Option<IpAddr>,
    method: &'static str,
}

impl RuleApi {
    /// Serves the accounts of this gateway.
    pub fn new(
        gateway: Arc<Gateway>,
        access: Arc<AccessControl>,
        (config, clock): (&Config, Clock),
        blocking: Blocking,
    ) -> Self {
        // The answer comes before the time of the call is over.
        let wait_max = WAIT_MAX.min(config.unary_timeout - config.unary_timeout / 10);
        Self { gateway, access, clock, blocking, search: RuleSearch::new(config), wait_max }
    }

    fn call<T>(&self, request: &Request<T>, asked: &str, method: &'static str) -> Result<ChangeCall, Status> {
        let context = CallContext::of(request)?;
        let (account, grant) = context.account(&self.gateway, asked)?;
        Ok(ChangeCall { account, grant, context, peer: request.remote_addr().map(|peer| peer.ip()), method })
    }

    /// Makes a change, and writes its audit line.
    async fn change(&self, call: ChangeCall, change: Change, options: ChangeOptions) -> Result<ChangeReport, Status> {
        call.check_set(Some(change.set()))?;
        if options.use_reserve {
            call.check_set(None)?;
        }
        let (rules, principal) = (call.account.rules.clone(), call.context.principal().to_owned());
        let report = self.blocking.run(move || rules.change(change, &options, &principal)).await?;
        let report = report.map_err(|error| status::rule_change_refused(&error))?;
        if let Some(operation) = &report.operation {
            self.log_access(&call, &operation.id.to_string());
        }
        Ok(report)
    }

    /// Writes the audit lines of a call that changes no set.
    async fn log(&self, call: &ChangeCall, subject: &str) -> Result<(), Status> {
        self.log_access(call, subject);
        let (rules, method, subject) = (call.account.rules.clone(), call.method, subject.to_owned());
        let principal = call.context.principal().to_owned();
        let write = move || rules.audit(&AuditLine::Call { principal: &principal, method, subject: &subject });
        self.blocking.run(write).await
    }

    fn log_access(&self, call: &ChangeCall, subject: &str) {
        let audited = call.context.audited(call.peer, call.method);
        self.access.audit().log_change(audited, call.account.hub.account().as_str(), subject);
    }

    /// Waits until an operation has ended, but not longer than this. Returns the operation.
    async fn wait_ended(&self, account: &Account, id: u64, wait: Duration) -> Option<(Operation, Option<Duration>)> {
        let mut changes = account.rules.changes();
        let ended = async {
            loop {
                changes.mark_unchanged();
                let found = account.rules.operation(id);
                let is_final = found.as_ref().is_none_or(|(operation, _)| operation.state.is_final());
                if is_final || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // After the wait, the operation is returned as it is.
        let _ = self.clock.timeout(wait, ended).await;
        account.rules.operation(id)
    }
}

impl ChangeCall {
    /// Returns ACCESS_DENIED if the caller may not change this set; `None`: what concerns all sets.
    fn check_set(&self, set: Option<&str>) -> Result<(), Status> {
        match self.grant.allows_rule_set(set) {
            true => Ok(()),
            false => Err(status::rule_set_denied(set, self.account.hub.account())),
        }
    }
}

/// Returns how long a call waits.
fn wait(asked: Option<&prost_types::Duration>) -> Result<Duration, Status> {
    let Some(asked) = asked else { return Ok(Duration::ZERO) };
    let wait = convert::from_duration(asked).ok_or_else(|| status::start_invalid("wait", "must not be negative"))?;
    Ok(wait)
}

/// Key of a rule in a list, in the order of the list.
fn key(view: &RuleView) -> String {
    let (set, name) = view.name.as_ref().map(|own| (own.set.as_str(), own.name.as_str())).unwrap_or_default();
    let text = || view.value.chars().take(KEY_CHARS_MAX).collect();
    let id: String = view.id.as_ref().map_or_else(text, |id| format!("{:0>20}", id.as_str()));
    format!("{set}\u{1}{name}\u{1}{id}")
}

#[tonic::async_trait]
impl RuleService for RuleApi {
    async fn list_rules(&self, request: Request<ListRulesRequest>) -> Result<Response<ListRulesResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, grant) = context.account(&self.gateway, &request.account)?;
        let page = PageRequest::<String>::parse("rules", request.page_size, &request.page_token)?;
        let states = rule_convert::states(&request.states)?;
        let set = request.set;
        let asked = move |view: &RuleView| {
            let in_set = set.is_empty() || view.name.as_ref().is_some_and(|own| own.set == set);
            // Tags of rules are those of posts: a tag that the caller may not see is not shown here either.
            let is_visible = match view.tag.as_str() {
                "" => grant.tags.as_ref().is_none_or(|tags| tags.allows_untagged()),
                tag => grant.is_tag_visible(tag),
            };
            in_set && is_visible && (states.is_empty() || states.contains(&rule_convert::rule_state(view.state)))
        };
        let is_first = request.page_token.is_empty();
        let list = move || {
            let (list, status) = (account.rules.list(), account.rules.status());
            let sets = list.sets.iter().filter(|_| is_first).map(rule_convert::set).collect();
            let unknown_rule_ids = status.unknown_ids.iter().filter(|_| is_first).map(ToString::to_string).collect();
            let mut found: Vec<_> = list.rules.into_iter().filter(asked).collect();
            found.sort_by_cached_key(key);
            let (rules, next_page_token) = page.take(found.into_iter(), key, rule_convert::rule);
            ListRulesResponse {
                rules,
                next_page_token,
                revision: list.revision,
                as_of_time: list.as_of.map(convert::timestamp),
                mode: rule_convert::mode(status.mode).into(),
                problem: rule_convert::problem(&status),
                converged: status.is_converged,
                operation: status.operation.as_ref().map(|own| rule_convert::operation(own, status.next_request)),
                sets,
                unknown_rule_ids,
            }
        };
        Ok(Response::new(self.blocking.run(list).await?))
    }

    async fn check_rules(&self, request: Request<CheckRulesRequest>) -> Result<Response<CheckRulesResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        context.account(&self.gateway, &request.account)?;
        if request.rules.len() > CHECKED_MAX {
            return Err(status::start_invalid("rules", &format!("must have at most {CHECKED_MAX} entries")));
        }
        let check = move || {
            let rules = rule_convert::wanted_as_given(request.rules);
            let (mut findings, mut bytes) = (Vec::new(), 0);
            for (index, found) in check_rules(rules) {
                let found = rule_convert::check_finding(index, &found);
                bytes += found.encoded_len();
                if bytes > FINDINGS_BYTES_MAX {
                    break;
                }
                findings.push(found);
            }
            findings
        };
        Ok(Response::new(CheckRulesResponse { findings: self.blocking.run(check).await? }))
    }

    async fn apply_rules(&self, request: Request<ApplyRulesRequest>) -> Result<Response<ApplyRulesResponse>, Status> {
        let call = self.call(&request, &request.get_ref().account, "ApplyRules")?;
        let ApplyRulesRequest { set, rules, options, .. } = request.into_inner();
        let change = Change::Replace { set, rules: rule_convert::wanted(rules) };
        let report = self.change(call, change, rule_convert::options(options)).await?;
        let (findings, plan, operation) = rule_convert::report(&report);
        Ok(Response::new(ApplyRulesResponse { findings, plan, revision: report.revision, operation }))
    }

    async fn add_rules(&self, request: Request<AddRulesRequest>) -> Result<Response<AddRulesResponse>, Status> {
        let call = self.call(&request, &request.get_ref().account, "AddRules")?;
        let AddRulesRequest { rules, options, .. } = request.into_inner();
        let change = Change::Add(rule_convert::wanted(rules));
        let report = self.change(call, change, rule_convert::options(options)).await?;
        let (findings, plan, operation) = rule_convert::report(&report);
        Ok(Response::new(AddRulesResponse { findings, plan, revision: report.revision, operation }))
    }

    async fn delete_rules(
        &self,
        request: Request<DeleteRulesRequest>,
    ) -> Result<Response<DeleteRulesResponse>, Status> {
        let call = self.call(&request, &request.get_ref().account, "DeleteRules")?;
        let DeleteRulesRequest { names, options, .. } = request.into_inner();
        let report = self.change(call, Change::Delete(names), rule_convert::options(options)).await?;
        let (_, plan, operation) = rule_convert::report(&report);
        Ok(Response::new(DeleteRulesResponse { plan, revision: report.revision, operation }))
    }

    async fn get_rule_operation(
        &self,
        request: Request<GetRuleOperationRequest>,
    ) -> Result<Response<GetRuleOperationResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, _) = context.account(&self.gateway, &request.account)?;
        let wait = wait(request.wait.as_ref())?.min(self.wait_max);
        let unknown = || status::operation_unknown(&request.operation_id);
        let id = request.operation_id.parse().map_err(|_| unknown())?;
        let (found, next) = self.wait_ended(&account, id, wait).await.ok_or_else(unknown)?;
        Ok(Response::new(GetRuleOperationResponse { operation: Some(rule_convert::operation(&found, next)) }))
    }

    async fn cancel_rule_operation(
        &self,
        request: Request<CancelRuleOperationRequest>,
    ) -> Result<Response<CancelRuleOperationResponse>, Status> {
        let call = self.call(&request, &request.get_ref().account, "CancelRuleOperation")?;
        // An operation makes the changes of all sets.
        call.check_set(None)?;
        let request = request.into_inner();
        let unknown = || status::operation_unknown(&request.operation_id);
        let id = request.operation_id.parse().map_err(|_| unknown())?;
        let rules = call.account.rules.clone();
        let found = self.blocking.run(move || rules.cancel(id)).await?.ok_or_else(unknown)?;
        self.log(&call, &request.operation_id).await?;
        Ok(Response::new(CancelRuleOperationResponse { operation: Some(rule_convert::operation(&found, None)) }))
    }

    async fn get_rule_budget(
        &self,
        request: Request<GetRuleBudgetRequest>,
    ) -> Result<Response<GetRuleBudgetResponse>, Status> {
        let context = CallContext::of(&request)?;
        let (account, _) = context.account(&self.gateway, &request.get_ref().account)?;
        Ok(Response::new(GetRuleBudgetResponse { budget: Some(rule_convert::budget(&account.rules.budget())) }))
    }

    async fn refresh_rules(
        &self,
        request: Request<RefreshRulesRequest>,
    ) -> Result<Response<RefreshRulesResponse>, Status> {
        let call = self.call(&request, &request.get_ref().account, "RefreshRules")?;
        let RefreshRulesRequest { repair, use_reserve, wait: asked, .. } = request.into_inner();
        if repair || use_reserve {
            call.check_set(None)?;
        }
        let wait = wait(asked.as_ref())?.min(self.wait_max);
        let (rules, mut changes) = (call.account.rules.clone(), call.account.rules.changes());
        let reads = rules.reads();
        let refreshed = self.blocking.run(move || rules.refresh(repair, use_reserve)).await?;
        refreshed.map_err(|error| status::rule_change_refused(&error))?;
        self.log(&call, if repair { "repair" } else { "" }).await?;
        let rules = &call.account.rules;
        let answered = async { while rules.reads() == reads && changes.changed().await.is_ok() {} };
        // After the wait, the answer follows later.
        let _ = self.clock.timeout(wait, answered).await;
        Ok(Response::new(RefreshRulesResponse {
            refreshed: rules.reads() != reads,
            as_of_time: rules.list().as_of.map(convert::timestamp),
            budget: Some(rule_convert::budget(&rules.budget())),
        }))
    }

    async fn test_rule(&self, request: Request<TestRuleRequest>) -> Result<Response<TestRuleResponse>, Status> {
        let context = CallContext::of(&request)?;
        let (account, grant) = context.account(&self.gateway, &request.get_ref().account)?;
        Ok(Response::new(self.search.run(account, grant, request.into_inner()).await?))
    }
}
