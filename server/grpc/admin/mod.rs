//! `AdminService`: accounts, sessions and configuration of a running gateway, on the admin port only.
//!
//! Owns: the checks of its requests, the lists of accounts and sessions (`sessions`, `accounts`), identities (`identity`), and
//! what it needs from the process (`operator`). Does not own: the HTTP connections of the admin port (`http`), the end of
//! sessions (`hub::session`), drains (`gateway`), reload and log filter (`app`, behind [`ProcessAdmin`]).
//!
//! Every method checks its right first, by its row in `grpc::methods`; every call has an audit line (`request_handler`).

mod accounts;
mod identity;
mod operator;
mod server;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

pub use operator::{ConfigEntry, ConfigOrigin, LogFilterError, LogFilterState, ProcessAdmin, ReloadReport};
pub use server::{AdminCaller, AdminServer};

use super::blocking::Blocking;
use super::call_context::CallContext;
use super::paging::PageRequest;
use super::{convert, status};
use crate::access::{AccessControl, Right};
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::model::AccountName;
use crate::proto::admin_service_server::AdminService;
use crate::proto::{
    self, DrainRequest, DrainResponse, GetConfigRequest, GetConfigResponse, ListAccountsRequest, ListAccountsResponse,
    ListSessionsRequest, ListSessionsResponse, ReloadRequest, ReloadResponse, SetLogFilterRequest,
    SetLogFilterResponse, TerminateSessionRequest, TerminateSessionResponse, UndrainRequest, UndrainResponse,
    WhoAmIRequest, WhoAmIResponse,
};
use crate::task::{ExitPolicy, TaskGroup};

/// Longest `retry_after`, `refuse_for`, `spread` and duration of a log filter.
const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// Time for which a log filter applies if the request has none.
const LOG_FILTER_DURATION: Duration = Duration::from_secs(600);
/// Maximum bytes of a reason and of a log filter.
const REASON_BYTES_MAX: usize = 256;
const LOG_FILTER_BYTES_MAX: usize = 4_096;
/// Delay before a retry while the gateway stops, or after a reload that took too long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// AdminService over a gateway.
pub struct AdminApi {
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    operator: Arc<dyn ProcessAdmin>,
    clock: Clock,
    tasks: TaskGroup,
    blocking: Blocking,
}

/// The address of a caller, for audit lines.
fn peer<T>(request: &Request<T>) -> Option<std::net::IpAddr> {
    request.remote_addr().map(|peer| peer.ip())
}

/// Returns a duration of a request, at most an hour; `None` if it is absent.
fn duration(field: &str, duration: Option<&prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let Some(duration) = duration else { return Ok(None) };
    let valid = convert::from_duration(duration).filter(|duration| *duration <= DURATION_MAX);
    valid.map(Some).ok_or_else(|| status::argument_invalid(field, "must be 0s to 1h"))
}

fn text<'t>(field: &str, text: &'t str, bytes_max: usize) -> Result<&'t str, Status> {
    let description = format!("has {} bytes, at most {bytes_max} are allowed", text.len());
    if text.len() <= bytes_max { Ok(text) } else { Err(status::argument_invalid(field, &description)) }
}

impl AdminApi {
    fn log_change(&self, context: &CallContext, peer: Option<std::net::IpAddr>, method: &str, subject: &str) {
        self.access.audit().log_change(context.audited(peer, method), "", subject);
    }

    fn stopping() -> Status {
        status::draining(RETRY_AFTER)
    }
}

#[tonic::async_trait]
impl AdminService for AdminApi {
    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let context = CallContext::of(&request)?;
        context.check(&self.gateway)?;
        let request = request.into_inner();
        let page = PageRequest::parse("accounts", request.page_size, &request.page_token)?;
        let gateway = self.gateway.clone();
        let list = move || {
            let names = gateway.names().into_iter().filter(|name| context.grant(name).allows(Right::Status));
            page.take(names, |name| name.to_string(), |name: &AccountName| accounts::status(&gateway, name))
        };
        let (accounts, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListAccountsResponse { accounts, next_page_token }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let context = CallContext::of(&request)?;
        context.check(&self.gateway)?;
        let selection = sessions::SessionSelection::parse(request.into_inner())?;
        let gateway = self.gateway.clone();
        let listed = self.blocking.run(move || selection.list(&gateway, &context)).await?;
        let (sessions, next_page_token) = listed?;
        Ok(Response::new(ListSessionsResponse { sessions, next_page_token }))
    }

    async fn terminate_session(
        &self,
        request: Request<TerminateSessionRequest>,
    ) -> Result<Response<TerminateSessionResponse>, Status> {
        let (context, peer) = (CallContext::of(&request)?, peer(&request));
        context.check(&self.gateway)?;
        let request = request.into_inner();
        let reason = text("reason", &request.reason, REASON_BYTES_MAX)?;
        let retry_after = duration("retry_after", request.retry_after.as_ref())?;
        let refuse_for = duration("refuse_for", request.refuse_for.as_ref())?.unwrap_or_default();
        let found = sessions::find(&self.gateway, &context, &request.session_id)?;
        let subject = format!("session {} ({reason})", request.session_id);
        let call = context.audited(peer, "TerminateSession");
        self.access.audit().log_change(call, found.hub.account().as_str(), &subject);
        let refuse_until = (!refuse_for.is_zero()).then(|| self.clock.now().plus(refuse_for));
        if refuse_until.is_some() {
            let consumer = found.refused_consumer();
            self.access.refusals().refuse(consumer, refuse_for).map_err(status::refusal_limit)?;
        }
        let session = Some(found.view());
        found.terminate(reason, retry_after);
        let (clock, timeout) = (self.clock.clone(), found.hub.config().termination_timeout);
        let shutdown = self.tasks.shutdown().clone();
        self.tasks.spawn("session termination", ExitPolicy::Continue, async move {
            // A session whose client does not read is not polled, and would stay.
            if shutdown.run_until_cancelled(clock.sleep(timeout)).await.is_some() {
                found.abort();
            }
        });
        let refuse_until = refuse_until.map(convert::timestamp);
        Ok(Response::new(TerminateSessionResponse { session, refuse_until }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        let (context, peer) = (CallContext::of(&request)?, peer(&request));
        context.check(&self.gateway)?;
        let spread = duration("spread", request.get_ref().spread.as_ref())?.unwrap_or_default();
        self.log_change(&context, peer, "Drain", &format!("over {}", humantime::format_duration(spread)));
        let timeouts = self.gateway.accounts().into_iter().map(|account| account.hub.config().termination_timeout);
        let grace = timeouts.max().unwrap_or_default();
        let sessions = self.gateway.session_count();
        let drain = self.gateway.drain(spread, grace).map_err(|_| Self::stopping())?;
        tracing::warn!(sessions, ?spread, "gateway drained by operator");
        let (clock, gateway, shutdown) = (self.clock.clone(), self.gateway.clone(), self.tasks.shutdown().clone());
        self.tasks.spawn("drain", ExitPolicy::Continue, async move {
            if shutdown.run_until_cancelled(clock.sleep(spread + grace)).await.is_some() {
                gateway.abort_drained(drain);
            }
        });
        let end_time = Some(convert::timestamp(self.clock.now().plus(spread).plus(grace)));
        Ok(Response::new(DrainResponse { sessions: u32::try_from(sessions).unwrap_or(u32::MAX), end_time }))
    }

    async fn undrain(&self, request: Request<UndrainRequest>) -> Result<Response<UndrainResponse>, Status> {
        let (context, peer) = (CallContext::of(&request)?, peer(&request));
        context.check(&self.gateway)?;
        self.log_change(&context, peer, "Undrain", "");
        self.gateway.undrain().map_err(|_| Self::stopping())?;
        let sessions = self.gateway.session_count();
        tracing::warn!(sessions, "drain ended by operator");
        Ok(Response::new(UndrainResponse { sessions: u32::try_from(sessions).unwrap_or(u32::MAX) }))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let (context, peer) = (CallContext::of(&request)?, peer(&request));
        context.check(&self.gateway)?;
        let filter = text("filter", &request.get_ref().filter, LOG_FILTER_BYTES_MAX)?;
        let asked = duration("duration", request.get_ref().duration.as_ref())?.unwrap_or(LOG_FILTER_DURATION);
        let change = (!filter.is_empty() && !asked.is_zero()).then_some((filter, asked));
        self.log_change(&context, peer, "SetLogFilter", filter);
        let state = self.operator.set_log_filter(change);
        let state = state.map_err(|error| status::argument_invalid("filter", &error.to_string()))?;
        Ok(Response::new(SetLogFilterResponse {
            filter: state.filter,
            revert_time: state.until.map(convert::timestamp),
            configured_filter: state.configured,
        }))
    }

    async fn get_config(&self, request: Request<GetConfigRequest>) -> Result<Response<GetConfigResponse>, Status> {
        let context = CallContext::of(&request)?;
        context.check(&self.gateway)?;
        let request = request.into_inner();
        let below = text("path", &request.path, LOG_FILTER_BYTES_MAX)?.to_owned();
        let page = PageRequest::parse(format!("config:{below}"), request.page_size, &request.page_token)?;
        let operator = self.operator.clone();
        let list = move || {
            let is_below = |entry: &ConfigEntry| {
                let rest = entry.path.strip_prefix(&below);
                below.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let entries = operator.config().into_iter().filter(is_below);
            page.take(entries, |entry| entry.path.clone(), config_value)
        };
        let (values, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(GetConfigResponse { values, next_page_token }))
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let (context, peer) = (CallContext::of(&request)?, peer(&request));
        context.check(&self.gateway)?;
        self.log_change(&context, peer, "Reload", "");
        let report = self.operator.reload().await.ok_or_else(Self::stopping)?;
        Ok(Response::new(ReloadResponse {
            applied: report.is_applied,
            changed_keys: report.changed,
            restart_required_keys: report.restart_required,
            faults: report.faults,
        }))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let context = CallContext::of(&request)?;
        let asked = text("principal", &request.get_ref().principal, REASON_BYTES_MAX)?;
        identity::of(&self.gateway, &context, asked).map(Response::new)
    }
}

fn config_value(entry: &ConfigEntry) -> proto::ConfigValue {
    let (origin, origin_name) = match &entry.origin {
        ConfigOrigin::Unknown => (proto::ConfigOrigin::Unspecified, String::new()),
        ConfigOrigin::Default => (proto::ConfigOrigin::Default, String::new()),
        ConfigOrigin::File => (proto::ConfigOrigin::File, String::new()),
        ConfigOrigin::Environment(name) => (proto::ConfigOrigin::Environment, name.clone()),
        ConfigOrigin::CommandLine => (proto::ConfigOrigin::CommandLine, String::new()),
    };
    proto::ConfigValue {
        path: entry.path.clone(),
        value: entry.value.clone(),
        origin: origin.into(),
        origin_name,
        live: entry.is_live,
        pending_value: entry.pending.clone().unwrap_or_default(),
    }
}
