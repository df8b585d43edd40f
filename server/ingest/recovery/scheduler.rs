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
use super::attempt_result::{AttemptEnd, AttemptResult, INCOMPLETE, IncompleteReason, verdict};
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

/// Asks X for what is missing of an account, in at most so many requests at once.
pub struct RecoveryScheduler {
    bench: Arc<AttemptContext>,
    running: FuturesUnordered<BoxFuture<'static, AttemptReport>>,
    /// Failures of each job since it last did well.
    attempts: HashMap<JobId, ReconnectBackoff>,
    /// Failures that concern all jobs.
    shared_backoff: ReconnectBackoff,
    rate: RequestRate,
    rng: StdRng,
}

/// What recovery is made of.
pub struct SchedulerParts {
    /// The account.
    pub hub: Arc<Hub>,
    /// How to connect; the metrics are recovery's own.
    pub upstream: UpstreamEndpoint,
    /// Where posts go.
    pub queue: IngestQueue,
    /// What is missing.
    pub demand: Arc<dyn MissingRanges>,
    /// Where the job table is kept; `None` for a log in memory.
    pub file: Option<PathBuf>,
    /// Settings.
    pub config: Config,
    /// Counters of the way in.
    pub ingest_metrics: ingest::Metrics,
    /// Counters of recovery.
    pub metrics: Metrics,
    /// Of the jitter.
    pub seed: u64,
}

/// Shortest wait for something that is due by time, so that clocks that disagree make no circle.
const WAIT_MIN: Duration = Duration::from_millis(50);

impl RecoveryScheduler {
    /// Recovery with the jobs as they were left, that asks for nothing yet.
    pub fn open(parts: SchedulerParts) -> Self {
        let SchedulerParts { hub, upstream, queue, demand, file, config, ingest_metrics, metrics, seed } = parts;
        let clock = hub.clock().clone();
        let recovery_jobs = RecoveryJobsParts {
            account: hub.account().clone(),
            recovery_window: hub.config().recovery_window,
            allowed_lateness: hub.config().allowed_lateness,
            stamp: demand.stamp(),
            config,
            clock: clock.clone(),
            metrics,
            file,
        };
        let recovery_jobs = Arc::new(RecoveryJobs::open(recovery_jobs));
        let manners = ReconnectBackoff::new(&upstream.config);
        let rate = RequestRate::new(recovery_jobs.config().requests_per_minute_max);
        let bench = AttemptContext { hub, upstream, queue, clock, metrics: ingest_metrics, recovery_jobs, demand };
        Self {
            bench: Arc::new(bench),
            running: FuturesUnordered::new(),
            attempts: HashMap::new(),
            shared_backoff: manners,
            rate,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Where jobs are listed, and made and ended by hand.
    pub fn jobs(&self) -> Arc<RecoveryJobs> {
        self.bench.recovery_jobs.clone()
    }

    /// Works until `shutdown`; requests under way are dropped then, and the job table stays as it is.
    pub async fn run(mut self, shutdown: Shutdown) {
        let work = async {
            self.work().await;
            // Nobody takes what it brings: the gateway stops.
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
            // In this order: what is demanded in between is missing, and not answered by a request of that stamp. Demands are
            // told apart by the requests between them: while none can be made, no stamp is taken.
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
                // The demand, the recovery jobs and the hub live as long as this.
                _ = changes.changed() => {}
                _ = orders.changed() => {}
                _ = private.changed() => {}
                _ = status.changed() => {}
                () = bench.clock.sleep(wait) => {}
            }
        }
    }

    /// Fills the free slots, within the rate of requests. A slot is free when the request that had it is over and its
    /// socket closed.
    fn begin(&mut self, missing: &TimeRangeSet, stamp: RequestStamp) {
        let bench = &self.bench;
        while self.running.len() < bench.recovery_jobs.config().jobs_max
            && self.rate.wait(bench.clock.moment()).is_zero()
            && let Some(order) = bench.recovery_jobs.begin(missing, stamp)
        {
            let (from, to) = (order.request.from, order.request.to);
            tracing::info!(
                account = %bench.hub.account(), job = %order.id, %from, %to, confirming = order.confirms.is_some(),
                "a recovery request begins",
            );
            self.rate.record(bench.clock.moment());
            self.running.push(Box::pin(attempt(bench.clone(), order)));
        }
    }

    /// Draws the consequences of a request. False if nobody takes what requests bring any more.
    fn take(&mut self, report: &AttemptReport) -> bool {
        let bench = &self.bench;
        match &report.outcome {
            AttemptOutcome::Unwanted => return false,
            AttemptOutcome::PutBack => {
                let (account, received, new) = (bench.hub.account(), report.received, report.new);
                tracing::info!(%account, job = %report.id(), received, new, "a recovery request was given up for now");
                bench.recovery_jobs.with(|jobs, _| jobs.requeue(report.id(), report.received > 0));
            }
            AttemptOutcome::Ended { cause, healthy_for: None, .. } => {
                let account = bench.hub.account();
                tracing::info!(%account, job = %report.id(), kind = cause.name(), %cause, "a recovery request failed");
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
        let verdict = verdict(&AttemptEnd {
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
        tracing::info!(%account, job = %id, kind = cause.name(), received, new, ?verdict, "a recovery request ended");
        let found = report.transcript.inside();
        let progressed = bench.recovery_jobs.finish_attempt(id, &verdict, found);
        let young_max = bench.recovery_jobs.config().young_refusal_age_max;
        bench.recovery_jobs.with(|jobs, now| jobs.reset_refusals(id, young_max, now.time));
        if !matches!(failure_scope(cause), FailureScope::Held { .. }) {
            self.shared_backoff = ReconnectBackoff::new(&bench.upstream.config);
        }
        // By what is left of the job, not by how far the posts came: X may send all of it and say each time that it failed.
        let is_vain = new == 0 && !progressed;
        // One that brought something does not lengthen the wait of the next.
        let healthy_for = healthy_for.filter(|_| !is_vain);
        if !is_vain {
            self.attempts.remove(&id);
        }
        match &verdict {
            AttemptResult::Proven { rest, .. } if rest.is_empty() => drop(self.attempts.remove(&id)),
            AttemptResult::Proven { .. } => self.back_off(id, cause, healthy_for, Some(INCOMPLETE.to_owned())),
            // At least the backoff apart, however healthy it was: a failure of a second must not end it twice.
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

    /// A request failed: those whom it concerns wait.
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
                // Should X dislike all windows, they do not come at once.
                let step = self.bench.upstream.config.http_backoff_step;
                recovery_jobs.pause_all(|| step);
                return self.refused(id, Some(report.order.request), cause);
            }
        }
        recovery_jobs.with(|jobs, _| jobs.record_failure(id, Some(error), None));
    }

    /// X refused a job's request, and may take it later: when the window is older, or recovery is granted.
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

    /// This job waits.
    fn back_off(&mut self, id: JobId, cause: &DisconnectCause, healthy_for: Option<Duration>, error: Option<String>) {
        let config = &self.bench.upstream.config;
        let attempts = self.attempts.entry(id).or_insert_with(|| ReconnectBackoff::new(config));
        let next = attempts.next_step(cause, healthy_for, self.bench.clock.now(), &mut self.rng);
        let wait = wait(next, config.http_backoff_max);
        self.bench.recovery_jobs.with(|jobs, now| jobs.record_failure(id, error, Some(now.moment.plus(wait))));
    }

    /// All jobs wait.
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
            tracing::warn!(%account, kind = cause.name(), %cause, wait = ?held, "recovery waits");
        }
    }
}

impl AttemptContext {
    /// Tells the demand what is proven and what is lost. False if nobody writes it any more.
    async fn send_resolutions(&self) -> bool {
        let told = self.recovery_jobs.take_resolutions();
        if told.is_empty() {
            return true;
        }
        let (account, demand) = (self.hub.account(), &self.demand);
        for told in told {
            match told {
                Resolution::Proven(spans, evidence, stamp) => {
                    for span in spans.iter() {
                        tracing::info!(%account, from = %span.from, to = %span.to, ?evidence, "recovered");
                        demand.mark_recovered(span, evidence, stamp);
                    }
                }
                Resolution::Lost(spans, evidence) => {
                    for span in spans.iter() {
                        tracing::error!(%account, from = %span.from, to = %span.to, ?evidence, "cannot be recovered");
                        demand.mark_unrecoverable(span, evidence);
                    }
                }
            }
        }
        self.queue.log_gaps().await
    }
}

/// A request that may never be made again as it is may be so with another configuration: it is tried now and then.
fn wait(next: ReconnectDecision, longest: Duration) -> Duration {
    match next {
        ReconnectDecision::Now => Duration::ZERO,
        ReconnectDecision::After(wait) => wait,
        ReconnectDecision::Stop => longest,
    }
}
