use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;

use super::faults::{ErrorResponse, RuleFault, RuleMethod};
use super::response::{SimulatorBody, refusal};
use super::rules::{self, RateLimitHeaders, RequestContext, RuleRequestRecord, StoredRule};
use super::state::SimulatorState;

/// End of a request for rules without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    Reset,
    Timeout,
}

/// Serves a request of an authorized client, with the fault that was injected for it, and records it.
pub(super) fn serve(
    state: &Arc<SimulatorState>,
    method: RuleMethod,
    body: &Bytes,
    mut record: RuleRequestRecord,
) -> Result<Response<SimulatorBody>, NoAnswer> {
    let named = rules::named_rules(body);
    record.rules = named.len();
    let fault = state.faults.take_rule_fault(method, &named, state.clock.moment());
    record.fault = fault.as_ref().map(|(fault, _)| fault.name());
    state.count(|counters| counters.rule_faults += u64::from(fault.is_some()));
    let before = state.rules.list();
    let response = respond(state, method, body, fault);
    record.changed = state.rules.list().iter().map(id).ne(before.iter().map(id));
    record.status = response.as_ref().ok().map(|response| response.status);
    state.count(|counters| match record.status {
        Some(200..300) => counters.rule_requests += 1,
        Some(_) => counters.rule_requests_refused += 1,
        None => counters.rule_requests_unanswered += 1,
    });
    state.rule_requests.push(record);
    response.map(refusal)
}

/// Records a request that is refused before it is read.
pub(super) fn refuse(
    state: &SimulatorState,
    mut record: RuleRequestRecord,
    response: ErrorResponse,
) -> Response<SimulatorBody> {
    record.status = Some(response.status);
    state.rule_requests.push(record);
    refusal(response)
}

fn id(rule: &StoredRule) -> u64 {
    rule.id
}

fn respond(
    state: &Arc<SimulatorState>,
    method: RuleMethod,
    body: &Bytes,
    fault: Option<(RuleFault, Option<String>)>,
) -> Result<ErrorResponse, NoAnswer> {
    let injected = fault.as_ref().map(|(fault, _)| fault.clone());
    let apply = || applied(state, method, body, fault);
    let is_success = |status: u16| (200..300).contains(&status);
    match injected {
        Some(RuleFault::RequestReset) => Err(NoAnswer::Reset),
        Some(RuleFault::AnswerReset) => {
            apply();
            Err(NoAnswer::Reset)
        }
        Some(RuleFault::AnswerTimeout) => {
            apply();
            Err(NoAnswer::Timeout)
        }
        Some(RuleFault::Refuse { with, applied }) => {
            if applied {
                apply();
            }
            // The name was checked when the fault was ordered.
            Ok(ErrorResponse::named(&with).unwrap_or_else(ErrorResponse::forbidden))
        }
        Some(RuleFault::Html { status }) => {
            if is_success(status) {
                apply();
            }
            Ok(ErrorResponse { status, ..ErrorResponse::html() })
        }
        Some(RuleFault::Empty { status }) => {
            if is_success(status) {
                apply();
            }
            Ok(ErrorResponse { status, headers: Vec::new(), body: String::new() })
        }
        _ => Ok(apply()),
    }
}

/// Applies the request and answers in the variant of the settings.
fn applied(
    state: &Arc<SimulatorState>,
    method: RuleMethod,
    body: &Bytes,
    fault: Option<(RuleFault, Option<String>)>,
) -> ErrorResponse {
    let moment = state.clock.moment();
    let config = state.config();
    let mut context = RequestContext {
        moment,
        wall: state.now(),
        effective: moment.plus(config.rules_delay),
        removed: moment.plus(config.rules_removal_delay),
        id: &mut || state.mint(0).id.0,
        config: config.rules_api,
        fault,
    };
    let answer = rules::answer(&state.rules, method, body, &mut context);
    let budget = answer.budget;
    let mut response = ErrorResponse::json(answer.status, &answer.body.to_string());
    let headers = config.rules_api.rate_limit_headers;
    if headers != RateLimitHeaders::Absent {
        response = response
            .with_header("x-rate-limit-limit", budget.limit)
            .with_header("x-rate-limit-remaining", budget.remaining);
    }
    if headers == RateLimitHeaders::All {
        response = response.with_header("x-rate-limit-reset", budget.reset);
    }
    response
}
