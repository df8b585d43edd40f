use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::attempt::{Bench, Outcome, Report, attempt};
use super::desk::{Desk, DeskParts};
use super::jobs::Told;
use super::planner::MINUTE;
use super::verdict::{Ended, Setback, Verdict, setback, verdict};
use super::{Config, Demand, JobId, Metrics};
use crate::hub::Hub;
use crate::ingest::{self, Queue, Upstream};
use crate::model::{GapEvidence, Spans};
use crate::task::Shutdown;
use crate::upstream::{Attempts, EndCause, NextStep};

/// Asks X for what is missing of an account, in at most so many requests at once.
pub struct Recovery {
    bench: Arc<Bench>,
    running: FuturesUnordered<BoxFuture<'static, Report>>,
    /// Failures of each job since it last did well.
    attempts: HashMap<JobId, Attempts>,
    /// Failures that concern all jobs.
    manners: Attempts,
    rng: StdRng,
}

/// What recovery is made of.
pub struct Parts {
    /// The account.
    pub hub: Arc<Hub>,
    /// How to connect; the metrics are recovery's own.
    pub upstream: Upstream,
    /// Where posts go.
    pub queue: Queue,
    /// What is missing.
    pub demand: Arc<dyn Demand>,
    /// Where the book of jobs is kept; `None` for a log in memory.
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

impl Recovery {
    /// Recovery with the jobs as they were left, that asks for nothing yet.
    pub fn open(parts: Parts) -> Self {
        let Parts { hub, upstream, queue, demand, file, config, ingest_metrics, metrics, seed } = parts;
        let clock = hub.clock().clone();
        let desk = DeskParts {
            account: hub.account().clone(),
            limits: config.limits(hub.config().recovery_window),
            config,
            clock: clock.clone(),
            metrics,
            file,
        };
        let desk = Arc::new(Desk::open(desk));
        let manners = Attempts::new(&upstream.config);
        let bench = Bench { hub, upstream, queue, clock, metrics: ingest_metrics, desk, demand };
        Self {
            bench: Arc::new(bench),
            running: FuturesUnordered::new(),
            attempts: HashMap::new(),
            manners,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Where jobs are listed, and made and ended by hand.
    pub fn desk(&self) -> Arc<Desk> {
        self.bench.desk.clone()
    }

    /// Works until `shutdown`; requests under way are dropped then, and the book stays as it is.
    pub async fn run(mut self, shutdown: Shutdown) {
        let work = async {
            self.work().await;
            // Nobody takes what it brings: the gateway stops.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    async fn work(&mut self) {
        let bench = self.bench.clone();
        let mut changes = bench.demand.changes();
        let mut orders = bench.desk.orders();
        let mut private = bench.hub.side().demands();
        let mut status = bench.hub.upstream().watch();
        loop {
            changes.borrow_and_update();
            orders.borrow_and_update();
            private.borrow_and_update();
            let writable = !status.borrow_and_update().journal_unavailable;
            if bench.desk.config().enabled {
                bench.desk.plan(&bench.demand.missing());
            } else {
                bench.demand.missing().iter().for_each(|span| bench.demand.lose(span, GapEvidence::Refused));
                if !bench.queue.log_gaps().await {
                    return;
                }
            }
            if !bench.tell().await {
                return;
            }
            self.attempts.retain(|id, _| bench.desk.is_active(*id));
            let missing = bench.demand.missing();
            if writable && bench.desk.config().enabled {
                self.begin(&missing);
            }
            let wait = bench.desk.wait(&missing).unwrap_or(MINUTE).clamp(WAIT_MIN, MINUTE);
            tokio::select! {
                Some(report) = self.running.next() => {
                    if !self.take(&report) {
                        return;
                    }
                }
                // The demand, the desk and the hub live as long as this.
                _ = changes.changed() => {}
                _ = orders.changed() => {}
                _ = private.changed() => {}
                _ = status.changed() => {}
                () = bench.clock.sleep(wait) => {}
            }
        }
    }

    /// Fills the free slots. A slot is free when the request that had it is over and its socket closed.
    fn begin(&mut self, missing: &Spans) {
        let bench = &self.bench;
        while self.running.len() < bench.desk.config().jobs_max
            && let Some(order) = bench.desk.begin(missing)
        {
            let (from, to) = (order.request.from, order.request.to);
            tracing::info!(
                account = %bench.hub.account(), job = %order.id, %from, %to, confirming = order.confirming,
                "a recovery request begins",
            );
            self.running.push(Box::pin(attempt(bench.clone(), order)));
        }
    }

    /// Draws the consequences of a request. False if nobody takes what requests bring any more.
    fn take(&mut self, report: &Report) -> bool {
        let bench = &self.bench;
        match &report.outcome {
            Outcome::Unwanted => return false,
            Outcome::PutBack => {
                let (account, received, new) = (bench.hub.account(), report.received, report.new);
                tracing::info!(%account, job = %report.id, received, new, "a recovery request was given up for now");
                bench.desk.with(|jobs, _| jobs.put_back(report.id, report.received > 0));
            }
            Outcome::Ended { cause, healthy_for } => self.judge(report, cause, *healthy_for),
        }
        true
    }

    fn judge(&mut self, report: &Report, cause: &EndCause, healthy_for: Option<Duration>) {
        let (bench, id) = (self.bench.clone(), report.id);
        let account = bench.hub.account();
        if healthy_for.is_none() {
            tracing::info!(%account, job = %id, kind = cause.name(), %cause, "a recovery request failed");
            bench.desk.with(|jobs, _| jobs.put_back(id, false));
            return self.fail(id, cause, None);
        }
        let verdict = verdict(&Ended {
            request: report.request,
            confirming: report.confirming,
            info: report.info.clone(),
            newest: report.newest,
            new: report.new,
            clean: *cause == EndCause::CleanEof,
        });
        let (received, new) = (report.received, report.new);
        tracing::info!(%account, job = %id, kind = cause.name(), received, new, ?verdict, "a recovery request ended");
        bench.desk.settle(id, &verdict, &bench.demand.missing());
        bench.desk.with(|jobs, _| jobs.taken(id));
        if !matches!(setback(cause), Setback::Held { .. }) {
            self.manners = Attempts::new(&bench.upstream.config);
        }
        match &verdict {
            Verdict::Proven { rest, .. } if rest.is_empty() => {
                self.attempts.remove(&id);
            }
            Verdict::Proven { .. } => self.back_off(id, cause, healthy_for, Some(LEFT_OUT.to_owned())),
            Verdict::Confirm { .. } if !report.confirming => {}
            Verdict::Confirm { .. } => self.back_off(id, cause, healthy_for, None),
            Verdict::Again { .. } => self.fail(id, cause, healthy_for),
        }
    }

    /// A request failed: those whom it concerns wait, and what X refuses for good is given up.
    fn fail(&mut self, id: JobId, cause: &EndCause, healthy_for: Option<Duration>) {
        let desk = self.bench.desk.clone();
        match setback(cause) {
            Setback::Cut => return self.back_off(id, cause, healthy_for, Some(cause.to_string())),
            Setback::Held { counts } => {
                self.hold(cause, healthy_for);
                if !counts {
                    desk.with(|jobs, _| jobs.uncount(id));
                }
            }
            Setback::Forbidden => self.hold(cause, healthy_for),
            Setback::BadWindow => {
                self.back_off(id, cause, healthy_for, None);
                // Should X dislike all windows, they do not come at once.
                let step = self.bench.upstream.config.http_backoff_step;
                desk.hold(|| step);
            }
        }
        desk.with(|jobs, _| jobs.set_back(id, Some(cause.to_string()), None));
        if matches!(setback(cause), Setback::Forbidden | Setback::BadWindow) {
            let most = desk.config().refusals_max;
            desk.with(|jobs, now| jobs.refuse(id, most, now.time));
        }
    }

    /// This job waits.
    fn back_off(&mut self, id: JobId, cause: &EndCause, healthy_for: Option<Duration>, error: Option<String>) {
        let config = &self.bench.upstream.config;
        let attempts = self.attempts.entry(id).or_insert_with(|| Attempts::new(config));
        let next = attempts.next_step(cause, healthy_for, self.bench.clock.now(), &mut self.rng);
        let wait = wait(next, config.http_backoff_max);
        self.bench.desk.with(|jobs, now| jobs.set_back(id, error, Some(now.moment.plus(wait))));
    }

    /// All jobs wait.
    fn hold(&mut self, cause: &EndCause, healthy_for: Option<Duration>) {
        let Self { bench, manners, rng, .. } = self;
        let longest = bench.upstream.config.http_backoff_max;
        let mut held = Duration::ZERO;
        let began = bench.desk.hold(|| {
            held = wait(manners.next_step(cause, healthy_for, bench.clock.now(), rng), longest);
            held
        });
        if began {
            let account = bench.hub.account();
            tracing::warn!(%account, kind = cause.name(), %cause, wait = ?held, "recovery waits");
        }
    }
}

impl Bench {
    /// Tells the demand what is proven and what is lost. False if nobody writes it any more.
    async fn tell(&self) -> bool {
        let told = self.desk.take_told();
        if told.is_empty() {
            return true;
        }
        let (account, demand) = (self.hub.account(), &self.demand);
        for told in told {
            match told {
                Told::Proven(spans, evidence) => {
                    for span in spans.iter() {
                        tracing::info!(%account, from = %span.from, to = %span.to, ?evidence, "recovered");
                        demand.prove(span, evidence);
                    }
                }
                Told::Lost(spans, evidence) => {
                    for span in spans.iter() {
                        tracing::error!(%account, from = %span.from, to = %span.to, ?evidence, "cannot be recovered");
                        demand.lose(span, evidence);
                    }
                }
            }
        }
        self.queue.log_gaps().await
    }
}

/// What X says when it names minutes or a range that it did not send.
const LEFT_OUT: &str = "X says that it could not send all of it";

/// A request that may never be made again as it is may be so with another configuration: it is tried now and then.
fn wait(next: NextStep, longest: Duration) -> Duration {
    match next {
        NextStep::Now => Duration::ZERO,
        NextStep::After(wait) => wait,
        NextStep::Stop => longest,
    }
}
