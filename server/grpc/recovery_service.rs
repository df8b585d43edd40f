use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::blocking::Blocking;
use super::paging::PageRequest;
use super::{Config, convert, status};
use crate::gateway::{Account, Gateway};
use crate::ingest::recovery::{JobId, JobStatus};
use crate::model::{Caller, GapId, GapState, TimeRange, UnixMillis};
use crate::proto::recovery_service_server::RecoveryService;
use crate::proto::{
    self, CancelRecoveryJobRequest, CancelRecoveryJobResponse, CreateRecoveryJobRequest, CreateRecoveryJobResponse,
    GetCoverageRequest, GetCoverageResponse, ListGapsRequest, ListGapsResponse, ListRecoveryJobsRequest,
    ListRecoveryJobsResponse,
};

/// When a caller may ask again whose interval could not be read.
const COVERAGE_RETRY: Duration = Duration::from_secs(1);

/// RecoveryService over the gateway's accounts.
pub struct RecoveryApi {
    gateway: Arc<Gateway>,
    /// Lists take time with their length: they are made beside the threads that serve sessions.
    blocking: Blocking,
    /// Rights to read the journal for GetCoverage.
    coverage_reads: Arc<Semaphore>,
    coverage_read_bytes_max: u64,
}

impl RecoveryApi {
    /// Serves the accounts of this gateway.
    pub fn new(gateway: Arc<Gateway>, config: &Config, blocking: Blocking) -> Self {
        let coverage_reads = Arc::new(Semaphore::new(config.coverage_reads_max.max(1)));
        Self { gateway, blocking, coverage_reads, coverage_read_bytes_max: config.coverage_read_bytes_max }
    }

    fn account(&self, name: &str) -> Result<Account, Status> {
        self.gateway.account(name).map_err(|none| status::no_account(name, none, &self.gateway))
    }
}

#[tonic::async_trait]
impl RecoveryService for RecoveryApi {
    async fn list_gaps(&self, request: Request<ListGapsRequest>) -> Result<Response<ListGapsResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account)?;
        let page = PageRequest::read("gaps", request.page_size, &request.page_token)?;
        let from = optional_time("from", request.from.as_ref())?.unwrap_or(UnixMillis(i64::MIN));
        let to = optional_time("to", request.to.as_ref())?.unwrap_or(UnixMillis(i64::MAX));
        if request.from.is_some() && request.to.is_some() && to <= from {
            return Err(status::start_invalid("to", "must be after from"));
        }
        let states = states(&request.states, |state: proto::GapState| state == proto::GapState::Unspecified)?;
        let asked = move |gap: &crate::model::Gap| {
            let within = gap.window.to.is_none_or(|end| end > from) && gap.window.from < to;
            within && (states.is_empty() || states.contains(&convert::gap_state(gap.state)))
        };
        let list = move || {
            let found = account.gaps.gaps().into_iter().rev().filter(asked);
            page.take(found, |gap| gap.id.0, |gap| convert::gap(gap, false))
        };
        let (gaps, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListGapsResponse { gaps, next_page_token }))
    }

    async fn list_recovery_jobs(
        &self,
        request: Request<ListRecoveryJobsRequest>,
    ) -> Result<Response<ListRecoveryJobsResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account)?;
        let page = PageRequest::read("jobs", request.page_size, &request.page_token)?;
        let none = |state: proto::RecoveryJobState| state == proto::RecoveryJobState::Unspecified;
        let states = states(&request.states, none)?;
        let asked = move |listed: &JobStatus| {
            states.is_empty() || states.contains(&convert::recovery_job_state(listed.job.state))
        };
        let list = move || {
            let gaps = recovered_gaps(&account);
            let found = account.recovery.list().into_iter().filter(asked);
            page.take(found, |listed| listed.job.id.0, |listed| job(listed, &gaps))
        };
        let (jobs, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListRecoveryJobsResponse { jobs, next_page_token }))
    }

    async fn get_coverage(
        &self,
        request: Request<GetCoverageRequest>,
    ) -> Result<Response<GetCoverageResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account)?;
        let asked = interval(request.from.as_ref(), request.to.as_ref())?;
        let clock = account.hub.clock();
        let now = clock.now();
        if asked.to > now.plus(clock.uncertainty()) {
            return Err(status::in_future("the interval ends in the future", now));
        }
        let refused = !account.recovery.refused().within(asked).is_empty();
        let permit = self.coverage_reads.clone().acquire_owned().await.map_err(|_| status::internal(""))?;
        let bytes_max = self.coverage_read_bytes_max;
        // The permit goes with the read: a caller that leaves does not let another one in beside it.
        let read = tokio::task::spawn_blocking(move || (account.coverage(asked, bytes_max), permit).0);
        let coverage = read.await.map_err(|panic| {
            tracing::error!(%panic, "a request panicked");
            status::internal("")
        })?;
        let coverage = coverage.map_err(|error| {
            tracing::error!(account = request.account, %error, "failed to read journal for coverage");
            status::not_ready("the journal cannot be read now: ask again later", COVERAGE_RETRY)
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
        let caller = Caller::of_peer(request.remote_addr().map(|peer| peer.ip()));
        let request = request.into_inner();
        let account = self.account(&request.account)?;
        let asked = interval(request.from.as_ref(), request.to.as_ref())?;
        let listed = account.recovery.create(asked, caller).map_err(status::job_refused)?;
        let created = &listed.job;
        tracing::info!(account = %account.hub.account(), job = %created.id, from = %asked.from, to = %asked.to, %caller, "a recovery job by hand");
        let job = self.blocking.run(move || Some(job(&listed, &recovered_gaps(&account)))).await?;
        Ok(Response::new(CreateRecoveryJobResponse { job }))
    }

    async fn cancel_recovery_job(
        &self,
        request: Request<CancelRecoveryJobRequest>,
    ) -> Result<Response<CancelRecoveryJobResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account)?;
        let cancelled = request.job_id.parse::<JobId>().ok().and_then(|id| account.recovery.cancel(id));
        let listed = cancelled.ok_or_else(|| status::job_unknown(&request.job_id))?;
        let job = self.blocking.run(move || Some(job(&listed, &recovered_gaps(&account)))).await?;
        Ok(Response::new(CancelRecoveryJobResponse { job }))
    }
}

/// The gaps that jobs may close a part of.
fn recovered_gaps(account: &Account) -> Vec<(GapId, TimeRange)> {
    let gaps = account.gaps.gaps().into_iter().filter(|gap| gap.state != GapState::Backfilled);
    gaps.map(|gap| (gap.id, TimeRange::new(gap.window.from, gap.window.to.unwrap_or(UnixMillis(i64::MAX))))).collect()
}

fn job(listed: &JobStatus, gaps: &[(GapId, TimeRange)]) -> proto::RecoveryJob {
    let closes = |(_, span): &&(GapId, TimeRange)| !span.intersection(listed.job.window).is_empty();
    convert::recovery_job(listed, gaps.iter().filter(closes).map(|(id, _)| *id))
}

fn interval(from: Option<&prost_types::Timestamp>, to: Option<&prost_types::Timestamp>) -> Result<TimeRange, Status> {
    let missing = |field| move || status::start_invalid(field, "is missing: give both from and to");
    let from = optional_time("from", from)?.ok_or_else(missing("from"))?;
    let to = optional_time("to", to)?.ok_or_else(missing("to"))?;
    let span = TimeRange::new(from, to);
    if span.is_empty() { Err(status::start_invalid("to", "must be after from")) } else { Ok(span) }
}

fn optional_time(field: &str, given: Option<&prost_types::Timestamp>) -> Result<Option<UnixMillis>, Status> {
    let read = |time| {
        convert::from_timestamp(time).ok_or_else(|| status::start_invalid(field, "is no time between 1970 and 9999"))
    };
    given.map(read).transpose()
}

/// The states to list, of which there must be no unknown one.
fn states<S: TryFrom<i32> + Copy>(given: &[i32], unspecified: impl Fn(S) -> bool) -> Result<Vec<S>, Status> {
    let known = |state: &i32| S::try_from(*state).ok().filter(|state| !unspecified(*state));
    let all: Option<Vec<S>> = given.iter().map(known).collect();
    all.ok_or_else(|| status::start_invalid("states", "has one that is unknown or UNSPECIFIED"))
}
