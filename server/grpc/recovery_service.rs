use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::blocking::Blocking;
use super::call_context::CallContext;
use super::interval::{bounds, past_interval};
use super::paging::PageRequest;
use super::{Config, convert, status};
use crate::access::{AccessControl, Grant, Right};
use crate::gateway::{Account, Gateway};
use crate::ingest::recovery::{JobId, JobStatus};
use crate::ingest::replication::{LeaderOrders, OrderUnanswered};
use crate::model::{Caller, GapId, GapState, TimeRange, UnixMillis};
use crate::proto::recovery_service_server::RecoveryService;
use crate::proto::{
    self, CancelRecoveryJobRequest, CancelRecoveryJobResponse, CreateRecoveryJobRequest, CreateRecoveryJobResponse,
    GetCoverageRequest, GetCoverageResponse, ListGapsRequest, ListGapsResponse, ListRecoveryJobsRequest,
    ListRecoveryJobsResponse,
};

/// Retry delay if the interval could not be read.
const COVERAGE_RETRY: Duration = Duration::from_secs(1);

/// RecoveryService over the gateway's accounts.
pub struct RecoveryApi {
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    /// Builds lists on threads that serve no sessions, because the time grows with their length.
    blocking: Blocking,
    /// Permits to read the journal for GetCoverage.
    coverage_reads: Arc<Semaphore>,
    coverage_read_bytes_max: u64,
    /// Held from the count of a caller's jobs to the creation of the next.
    creating: Mutex<()>,
}

impl RecoveryApi {
    /// Serves the accounts of this gateway.
    pub fn new(gateway: Arc<Gateway>, access: Arc<AccessControl>, config: &Config, blocking: Blocking) -> Self {
        let coverage_reads = Arc::new(Semaphore::new(config.coverage_reads_max.max(1)));
        let coverage_read_bytes_max = config.coverage_read_bytes_max;
        Self { gateway, access, blocking, coverage_reads, coverage_read_bytes_max, creating: Mutex::default() }
    }

    /// Creates a job, within the limit of its caller over all accounts.
    fn create(
        &self,
        context: &CallContext,
        account: &Account,
        span: TimeRange,
        caller: &Caller,
    ) -> Result<JobStatus, Status> {
        let _creating = self.creating.lock();
        if account.recovery.needs_job(span) {
            let active = self.gateway.accounts().iter().map(|own| own.recovery.active_of(caller)).sum();
            context.check_recovery_jobs(active)?;
        }
        account.recovery.create(span, caller.clone()).map_err(status::job_refused)
    }

    /// The same at the replica that leads. Jobs that a caller orders at two replicas at once may exceed its limit by one
    /// each: a replica that follows knows the jobs of a second ago.
    async fn order(
        &self,
        context: &CallContext,
        account: &Account,
        orders: &LeaderOrders,
        (span, caller): (TimeRange, &Caller),
    ) -> Result<JobStatus, Status> {
        if account.recovery.needs_job(span) {
            let active = self.gateway.accounts().iter().map(|own| own.recovery.active_of(caller)).sum();
            context.check_recovery_jobs(active)?;
        }
        let created = orders.create(span, caller.clone()).await;
        created.map_err(|OrderUnanswered| status::not_leader())?.map_err(status::job_refused)
    }
}

#[tonic::async_trait]
impl RecoveryService for RecoveryApi {
    async fn list_gaps(&self, request: Request<ListGapsRequest>) -> Result<Response<ListGapsResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, _) = context.account(&self.gateway, &request.account)?;
        let page = PageRequest::parse("gaps", request.page_size, &request.page_token)?;
        let (start, end) = bounds(request.interval.as_ref())?;
        let (from, to) = (start.unwrap_or(UnixMillis(i64::MIN)), end.unwrap_or(UnixMillis(i64::MAX)));
        let states = states(&request.states, |state: proto::GapState| state == proto::GapState::Unspecified)?;
        let asked = move |gap: &crate::model::Gap| {
            let within = gap.window.to.is_none_or(|end| end > from) && gap.window.from < to;
            within && (states.is_empty() || states.contains(&convert::gap_state(gap.state)))
        };
        let list = move || {
            let found = account.gaps.gaps().into_iter().rev().filter(asked);
            page.take(found, |gap| Reverse(gap.id.0), |gap| convert::gap(gap, false))
        };
        let (gaps, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListGapsResponse { gaps, next_page_token }))
    }

    async fn list_recovery_jobs(
        &self,
        request: Request<ListRecoveryJobsRequest>,
    ) -> Result<Response<ListRecoveryJobsResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, grant) = context.account(&self.gateway, &request.account)?;
        let page = PageRequest::parse("jobs", request.page_size, &request.page_token)?;
        let none = |state: proto::RecoveryJobState| state == proto::RecoveryJobState::Unspecified;
        let states = states(&request.states, none)?;
        let asked = move |listed: &JobStatus| {
            states.is_empty() || states.contains(&convert::recovery_job_state(listed.job.state))
        };
        let list = move || {
            let gaps = recovered_gaps(&account);
            let found = account.recovery.list().into_iter().filter(asked);
            page.take(found, |listed| Reverse(listed.job.id.0), |listed| job(listed, &gaps, &grant))
        };
        let (jobs, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListRecoveryJobsResponse { jobs, next_page_token }))
    }

    async fn get_coverage(
        &self,
        request: Request<GetCoverageRequest>,
    ) -> Result<Response<GetCoverageResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, _) = context.account(&self.gateway, &request.account)?;
        let asked = past_interval(request.interval.as_ref(), account.hub.clock())?;
        let refused = !account.recovery.refused().within(asked).is_empty();
        let permit = self.coverage_reads.clone().acquire_owned().await.map_err(|_| status::internal(""))?;
        let bytes_max = self.coverage_read_bytes_max;
        // The read owns the permit: a cancelled call does not free it while its read runs.
        let read = tokio::task::spawn_blocking(move || (account.coverage(asked, bytes_max), permit).0);
        let coverage = read.await.map_err(|panic| {
            tracing::error!(%panic, "request panicked");
            status::internal("")
        })?;
        let coverage = coverage.map_err(|error| {
            tracing::error!(account = request.account, %error, "failed to read journal for coverage");
            status::not_ready("journal cannot be read; retry later", COVERAGE_RETRY)
        })?;
        let blocked_reason = convert::blocked_reason(refused && !coverage.missing.is_empty());
        Ok(Response::new(GetCoverageResponse {
            complete: coverage.is_complete(),
            missing: coverage.missing.into_iter().map(convert::missing).collect(),
            skipped: coverage.skips.iter().map(|(sequence, skip)| convert::skipped(*sequence, skip)).collect(),
            skipped_count: coverage.skipped_count,
            truncated: coverage.truncated,
            blocked_reason,
        }))
    }

    async fn create_recovery_job(
        &self,
        request: Request<CreateRecoveryJobRequest>,
    ) -> Result<Response<CreateRecoveryJobResponse>, Status> {
        let context = CallContext::of(&request)?;
        let (caller, peer) = (context.budget_key(&request), request.remote_addr().map(|peer| peer.ip()));
        let request = request.into_inner();
        let (account, grant) = context.account(&self.gateway, &request.account)?;
        let asked = past_interval(request.interval.as_ref(), account.hub.clock())?;
        let listed = match account.orders.clone() {
            None => self.create(&context, &account, asked, &caller)?,
            Some(orders) => self.order(&context, &account, &orders, (asked, &caller)).await?,
        };
        let created = &listed.job;
        tracing::info!(account = %account.hub.account(), job = %created.id, from = %asked.from, to = %asked.to, %caller, "manual recovery job created");
        let call = context.audited(peer, "CreateRecoveryJob");
        self.access.audit().log_change(call, account.hub.account().as_str(), &created.id.to_string());
        let job = self.blocking.run(move || Some(job(&listed, &recovered_gaps(&account), &grant))).await?;
        Ok(Response::new(CreateRecoveryJobResponse { job }))
    }

    async fn cancel_recovery_job(
        &self,
        request: Request<CancelRecoveryJobRequest>,
    ) -> Result<Response<CancelRecoveryJobResponse>, Status> {
        let context = CallContext::of(&request)?;
        let peer = request.remote_addr().map(|peer| peer.ip());
        let request = request.into_inner();
        let (account, grant) = context.account(&self.gateway, &request.account)?;
        let cancelled = match (request.job_id.parse::<JobId>(), &account.orders) {
            (Err(()), _) => None,
            (Ok(id), None) => account.recovery.cancel(id),
            (Ok(id), Some(orders)) => orders.cancel(id).await.map_err(|OrderUnanswered| status::not_leader())?,
        };
        let listed = cancelled.ok_or_else(|| status::job_unknown(&request.job_id))?;
        let call = context.audited(peer, "CancelRecoveryJob");
        self.access.audit().log_change(call, account.hub.account().as_str(), &listed.job.id.to_string());
        let job = self.blocking.run(move || Some(job(&listed, &recovered_gaps(&account), &grant))).await?;
        Ok(Response::new(CancelRecoveryJobResponse { job }))
    }
}

/// Returns the gaps that recovery jobs may close in part.
fn recovered_gaps(account: &Account) -> Vec<(GapId, TimeRange)> {
    let gaps = account.gaps.gaps().into_iter().filter(|gap| gap.state != GapState::Backfilled);
    gaps.map(|gap| (gap.id, TimeRange::new(gap.window.from, gap.window.to.unwrap_or(UnixMillis(i64::MAX))))).collect()
}

/// Converts a job. Errors of upstream are only for callers with the right `status`.
fn job(listed: &JobStatus, gaps: &[(GapId, TimeRange)], grant: &Grant) -> proto::RecoveryJob {
    let closes = |(_, span): &&(GapId, TimeRange)| !span.intersection(listed.job.window).is_empty();
    let mut job = convert::recovery_job(listed, gaps.iter().filter(closes).map(|(id, _)| *id));
    if !grant.allows(Right::Status) {
        job.last_error.clear();
    }
    job
}

/// Parses a list of states. Returns START_INVALID for an unknown state.
fn states<S: TryFrom<i32> + Copy>(given: &[i32], unspecified: impl Fn(S) -> bool) -> Result<Vec<S>, Status> {
    let known = |state: &i32| S::try_from(*state).ok().filter(|state| !unspecified(*state));
    let all: Option<Vec<S>> = given.iter().map(known).collect();
    all.ok_or_else(|| status::start_invalid("states", "contains an unknown state or UNSPECIFIED"))
}
