use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::attempt::{AttemptContext, AttemptOutcome, AttemptReport, attempt};
use super::attempt_result::{AttemptEnd, AttemptResult, INCOMPLETE, IncompleteReason, evaluate};
use super::job_table::Resolution;
use super::pace::{AttemptRate, RequestRate};
use super::planner::MINUTE;
use super::recovery_jobs::{RecoveryJobs, RecoveryJobsParts};
use super::setback::{FailureScope, failure_scope};
use super::{Config, JobId, Metrics, MissingRanges, RequestStamp, young};
use crate::backoff::{Backoff, Growth, jitter};
use crate::hub::Hub;
use crate::ingest::{self, IngestQueue, UpstreamEndpoint};
use crate::model::{GapEvidence, TimeRange, TimeRangeSet};
use crate::task::Shutdown;
use crate::upstream::{DisconnectCause, ReconnectBackoff, ReconnectDecision};

/// Requests an account's missing ranges from X, with a bounded number of concurrent requests.
pub struct RecoveryScheduler {
    bench: Arc<AttemptContext>,
    running: FuturesUnordered<BoxFuture<'static, AttemptReport>>,
    /// Failures of each job since its last success.
    attempts: HashMap<JobId, ReconnectBackoff>,
    /// Failures that affect all jobs.
    shared_backoff: ReconnectBackoff,
    rate: RequestRate,
    rng: StdRng,
}

/// Dependencies of recovery.
pub struct SchedulerParts {
    /// The account.
    pub hub: Arc<Hub>,
    /// Endpoint and settings of connections, with recovery's own metrics.
    pub upstream: UpstreamEndpoint,
    /// Queue of the sequencer.
    pub queue: IngestQueue,
    /// Source of missing ranges.
    pub demand: Arc<dyn MissingRanges>,
    /// Path of the job table; `None` for a log in memory.
    pub file: Option<PathBuf>,
    /// Settings.
    pub config: Config,
    /// Metrics of ingest.
    pub ingest_metrics: ingest::Metrics,
    /// Metrics of recovery.
    pub metrics: Metrics,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Minimum delay for timed work, so that clocks that disagree cause no busy loop.
const WAIT_MIN: Duration = Duration::from_millis(50);

impl RecoveryScheduler {
    /// Opens recovery with the persisted jobs, without a request yet.
    pub fn open(parts: SchedulerParts) -> Self {
        let jobs = RecoveryJobs::open(RecoveryJobsParts {
            account: parts.hub.account().clone(),
            recovery_window: parts.hub.config().recovery_window,
            allowed_lateness: parts.hub.config().allowed_lateness,
            stamp: parts.demand.stamp(),
            config: parts.config.clone(),
            clock: parts.hub.clock().clone(),
            metrics: parts.metrics.clone(),
            file: parts.file.clone(),
        });
        Self::of_jobs(parts, Arc::new(jobs))
    }

    /// Continues with the jobs of a scheduler that has ended, as [`RecoveryScheduler::open`] does after a restart.
    pub fn resume(parts: SchedulerParts, jobs: Arc<RecoveryJobs>) -> Self {
        jobs.resume(parts.demand.stamp());
        Self::of_jobs(parts, jobs)
    }

    fn of_jobs(parts: SchedulerParts, recovery_jobs: Arc<RecoveryJobs>) -> Self {
        let SchedulerParts { hub, upstream, queue, demand, ingest_metrics: metrics, seed, .. } = parts;
        let clock = hub.clock().clone();
        let manners = ReconnectBackoff::new(&upstream.config);
        let rate = RequestRate::new(recovery_jobs.config().requests_per_minute_max);
        let bench = AttemptContext { hub, upstream, queue, clock, metrics, recovery_jobs, demand };
        Self {
            bench: Arc::new(bench),
            running: FuturesUnordered::new(),
            attempts: HashMap::new(),
            shared_backoff: manners,
            rate,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Returns the shared state of the jobs.
    pub fn jobs(&self) -> Arc<RecoveryJobs> {
        self.bench.recovery_jobs.clone()
    }

    /// Runs until `shutdown`. Requests in progress are dropped then, and the job table is not changed.
    pub async fn run(mut self, shutdown: Shutdown) {
        let work = async {
            self.work().await;
            // The queue is closed: the gateway shuts down.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    async fn work(&mut self) {
        let bench = self.bench.clone();
        let mut changes = bench.demand.changes();
        let mut orders = bench.recovery_jobs.requests();
        let mut private = bench.hub.side().requests();
        let mut status = bench.hub.upstream().watch();
        loop {
            changes.borrow_and_update();
            orders.borrow_and_update();
            private.borrow_and_update();
            let writable = !status.borrow_and_update().journal_unavailable;
            if bench.recovery_jobs.config().enabled {
                bench.recovery_jobs.plan(&bench.demand.missing());
            } else {
                bench.recovery_jobs.with(|jobs, now| jobs.close(now.time));
            }
            if !bench.send_resolutions().await {
                return;
            }
            self.attempts.retain(|id, _| bench.recovery_jobs.is_active(*id));
            // In this order: a range demanded in between is missing, and not answered by a request with that stamp.
            // Only requests separate demands: while none can be made, no stamp is taken.
            let rate_wait = self.rate.wait(bench.clock.moment());
            let has_slot = self.running.len() < bench.recovery_jobs.config().jobs_max && rate_wait.is_zero();
            let stamp = has_slot.then(|| bench.demand.stamp());
            let missing = bench.demand.missing();
            if !bench.recovery_jobs.config().enabled && !missing.is_empty() {
                missing.iter().for_each(|span| bench.demand.mark_unrecoverable(span, GapEvidence::Refused));
                if !bench.queue.log_gaps().await {
                    return;
                }
            }
            if let Some(stamp) = stamp.filter(|_| writable && bench.recovery_jobs.config().enabled) {
                self.begin(&missing, stamp);
            }
            let rate_wait = Some(self.rate.wait(bench.clock.moment())).filter(|wait| !wait.is_zero());
            let wait = bench.recovery_jobs.wait(&missing).into_iter().chain(rate_wait).min();
            let wait = wait.unwrap_or(MINUTE).clamp(WAIT_MIN, MINUTE);
            tokio::select! {
                biased;
                Some(report) = self.running.next() => {
                    if !self.take(&report) {
                        return;
                    }
                }
                // The demand, the recovery jobs and the hub outlive this loop.
                _ = changes.changed() => {}
                _ = orders.changed() => {}
                _ = private.changed() => {}
                _ = status.changed() => {}
                () = bench.clock.sleep(wait) => {}
            }
        }
    }

    /// Starts requests in the free slots, within the rate of requests. A slot is free once its previous request is over
    /// and the socket closed.
    fn begin(&mut self, missing: &TimeRangeSet, stamp: RequestStamp) {
        let bench = &self.bench;
        while self.running.len() < bench.recovery_jobs.config().jobs_max
            && self.rate.wait(bench.clock.moment()).is_zero()
            && let Some(order) = bench.recovery_jobs.begin(missing, stamp)
        {
            let (from, to) = (order.request.from, order.request.to);
            tracing::info!(
                account = %bench.hub.account(), job = %order.id, %from, %to, confirming = order.confirms.is_some(),
                "recovery request started",
            );
            self.rate.record(bench.clock.moment());
            self.running.push(Box::pin(attempt(bench.clone(), order)));
        }
    }

    /// Applies the end of a request. Returns false if the queue is closed.
    fn take(&mut self, report: &AttemptReport) -> bool {
        let bench = &self.bench;
        match &report.outcome {
            AttemptOutcome::Unwanted => return false,
            AttemptOutcome::PutBack => {
                let (account, received, new) = (bench.hub.account(), report.received, report.new);
                tracing::info!(%account, job = %report.id(), received, new, "recovery request postponed");
                bench.recovery_jobs.with(|jobs, _| jobs.requeue(report.id(), report.received > 0));
            }
            AttemptOutcome::Ended { cause, healthy_for: None, .. } => {
                let account = bench.hub.account();
                tracing::info!(%account, job = %report.id(), kind = cause.name(), %cause, "recovery request failed");
                bench.recovery_jobs.with(|jobs, _| jobs.requeue(report.id(), false));
                self.fail(report, cause, None, cause.to_string());
            }
            AttemptOutcome::Ended { cause, healthy_for, partial } => {
                self.apply_result(report, cause, *healthy_for, *partial)
            }
        }
        true
    }

    fn apply_result(
        &mut self,
        report: &AttemptReport,
        cause: &DisconnectCause,
        healthy_for: Option<Duration>,
        partial: bool,
    ) {
        let (bench, id) = (self.bench.clone(), report.id());
        let account = bench.hub.account();
        let result = evaluate(&AttemptEnd {
            request: report.order.request,
            transcript: report.transcript.clone(),
            reached: report.reached,
            new: report.new,
            clean: *cause == DisconnectCause::CleanEof && !partial,
            plausible: report.plausible,
            confirms: report.order.confirms,
            counts_left: report.order.counts_left,
        });
        let (received, new) = (report.received, report.new);
        tracing::info!(%account, job = %id, kind = cause.name(), received, new, ?result, "recovery request ended");
        let found = report.transcript.inside();
        let progressed = bench.recovery_jobs.finish_attempt(id, &result, found);
        let young_max = bench.recovery_jobs.config().young_refusal_age_max;
        bench.recovery_jobs.with(|jobs, now| jobs.reset_refusals(id, young_max, now.time));
        if !matches!(failure_scope(cause), FailureScope::Held { .. }) {
            self.shared_backoff = ReconnectBackoff::new(&bench.upstream.config);
        }
        // By the remaining range, not by the progress of posts: X may send everything and report a failure each time.
        let is_vain = new == 0 && !progressed;
        // An attempt with new posts does not extend the next backoff.
        let healthy_for = healthy_for.filter(|_| !is_vain);
        if !is_vain {
            self.attempts.remove(&id);
        }
        match &result {
            AttemptResult::Proven { rest, .. } if rest.is_empty() => drop(self.attempts.remove(&id)),
            AttemptResult::Proven { .. } => self.back_off(id, cause, healthy_for, Some(INCOMPLETE.to_owned())),
            // With at least one backoff in between, even after a healthy connection: a failure of one second must not
            // end it twice.
            AttemptResult::Confirm { .. } => self.back_off(id, cause, None, None),
            AttemptResult::Again { flaw, .. } => {
                if *flaw == IncompleteReason::Count {
                    bench.recovery_jobs.with(|jobs, _| jobs.count_differs(id));
                }
                let error =
                    if *flaw == IncompleteReason::Cut { cause.to_string() } else { flaw.describe(&report.transcript) };
                self.fail(report, cause, healthy_for, error);
            }
        }
        if is_vain {
            let pace = AttemptRate::new(bench.recovery_jobs.config().vain_attempts_per_hour_max);
            bench.recovery_jobs.with(|jobs, now| jobs.pace(id, pace, now));
        }
    }

    /// Handles a failed request: the affected jobs wait.
    fn fail(&mut self, report: &AttemptReport, cause: &DisconnectCause, healthy_for: Option<Duration>, error: String) {
        let (recovery_jobs, id) = (self.bench.recovery_jobs.clone(), report.id());
        match failure_scope(cause) {
            FailureScope::Cut => return self.back_off(id, cause, healthy_for, Some(error)),
            FailureScope::Held { counts } => {
                self.hold(cause, healthy_for);
                if !counts {
                    recovery_jobs.with(|jobs, _| jobs.refund_attempt(id));
                }
            }
            FailureScope::Forbidden => {
                self.hold(cause, healthy_for);
                return self.refused(id, None, cause);
            }
            FailureScope::BadWindow => {
                // If X rejects all windows, the requests are spread.
                let step = self.bench.upstream.config.http_backoff_step;
                recovery_jobs.pause_all(|| step);
                return self.refused(id, Some(report.order.request), cause);
            }
        }
        recovery_jobs.with(|jobs, _| jobs.record_failure(id, Some(error), None));
    }

    /// Handles a refusal that may end later: when the window is older, or recovery is granted.
    fn refused(&mut self, id: JobId, window: Option<TimeRange>, cause: &DisconnectCause) {
        let bench = self.bench.clone();
        let (account, config, recovery_jobs) =
            (bench.hub.account(), bench.recovery_jobs.config(), &bench.recovery_jobs);
        let refusals = recovery_jobs.record_refusal(id, window);
        let step = bench.upstream.config.http_backoff_step;
        let backoff = Backoff { step, max: config.refusal_backoff_max, growth: Growth::Doubling };
        let mut wait = backoff.wait(refusals);
        if let (Some(window), Some(age)) = (window, young::named(&cause.to_string())) {
            let older = window.to.plus(age).since(bench.clock.now());
            if age <= config.young_refusal_age_max {
                recovery_jobs.with(|jobs, now| jobs.learn_age(age, config.young_refusal_age_max, now.time));
                wait = wait.max(older);
            }
        }
        let wait = jitter(&mut self.rng, wait, f64::from(bench.upstream.config.jitter_percent_max) / 100.0);
        if refusals == 1 {
            tracing::error!(
                %account, job = %id, kind = cause.name(), %cause, retry_in = ?wait, reason = "RECOVERY_NOT_ENTITLED",
                "recovery request refused, will retry until the interval leaves the recovery window",
            );
        }
        recovery_jobs.with(|jobs, now| jobs.record_failure(id, Some(cause.to_string()), Some(now.moment.plus(wait))));
    }

    /// Delays this job.
    fn back_off(&mut self, id: JobId, cause: &DisconnectCause, healthy_for: Option<Duration>, error: Option<String>) {
        let config = &self.bench.upstream.config;
        let attempts = self.attempts.entry(id).or_insert_with(|| ReconnectBackoff::new(config));
        let next = attempts.next_step(cause, healthy_for, self.bench.clock.now(), &mut self.rng);
        let wait = wait(next, config.http_backoff_max);
        self.bench.recovery_jobs.with(|jobs, now| jobs.record_failure(id, error, Some(now.moment.plus(wait))));
    }

    /// Delays all jobs.
    fn hold(&mut self, cause: &DisconnectCause, healthy_for: Option<Duration>) {
        let Self { bench, shared_backoff: manners, rng, .. } = self;
        let longest = bench.upstream.config.http_backoff_max;
        let mut held = Duration::ZERO;
        let began = bench.recovery_jobs.pause_all(|| {
            held = wait(manners.next_step(cause, healthy_for, bench.clock.now(), rng), longest);
            held
        });
        if began {
            let account = bench.hub.account();
            tracing::warn!(%account, kind = cause.name(), %cause, wait = ?held, "recovery paused");
        }
    }
}

impl AttemptContext {
    /// Reports proven and lost ranges to the gap tracker. Returns false if the queue is closed.
    async fn send_resolutions(&self) -> bool {
        let resolutions = self.recovery_jobs.take_resolutions();
        if resolutions.is_empty() {
            return true;
        }
        let (account, demand) = (self.hub.account(), &self.demand);
        for resolution in resolutions {
            match resolution {
                Resolution::Proven(spans, evidence, stamp) => {
                    for span in spans.iter() {
                        tracing::info!(%account, from = %span.from, to = %span.to, ?evidence, "range recovered");
                        demand.mark_recovered(span, evidence, stamp);
                    }
                }
                Resolution::Lost(spans, evidence) => {
                    for span in spans.iter() {
                        tracing::error!(%account, from = %span.from, to = %span.to, ?evidence, "range is unrecoverable");
                        demand.mark_unrecoverable(span, evidence);
                    }
                }
            }
        }
        self.queue.log_gaps().await
    }
}

/// Returns the delay before a retry. A request that needs another configuration is retried at the maximum backoff.
fn wait(next: ReconnectDecision, longest: Duration) -> Duration {
    match next {
        ReconnectDecision::Now => Duration::ZERO,
        ReconnectDecision::After(wait) => wait,
        ReconnectDecision::Stop => longest,
    }
}
