//! An account without a network: X's responses are scripted, and the missing ranges are a set.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::super::planner::{MINUTE, minute_of};
use super::super::*;
use crate::clock::{Clock, Moment};
use crate::hub::test_util::new_hub;
use crate::hub::{self, Hub};
use crate::ingest::{self, IngestItem, IngestSource, UpstreamEndpoint, queue};
use crate::model::PostId;
use crate::secret;
use crate::task::Shutdown;
use crate::upstream::{self, UpstreamMessage};
use crate::xapi::{BodyError, BodyErrorKind, Credentials, Headers, Response, StreamRequest, Transport, TransportError};
use std::sync::Arc;

/// Response to a request.
pub(super) enum Answer {
    Refuse(u16, &'static str),
    /// Posts created at these times, and what follows.
    Send(Vec<UnixMillis>, Then),
}

pub(super) enum Then {
    /// This message, and a clean end.
    Message(String),
    End,
    Cut,
    /// The connection stays open and silent.
    Stay,
}

/// A request received by X.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub window: TimeRange,
    pub at: Moment,
}

type Script = Box<dyn Fn(usize, TimeRange) -> Answer + Send + Sync>;

pub(super) struct X {
    script: Script,
    clock: Clock,
    pub asked: watch::Sender<Vec<Asked>>,
    open: Arc<AtomicUsize>,
    open_max: AtomicUsize,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl X {
    pub(super) fn windows(&self) -> Vec<TimeRange> {
        self.asked.borrow().iter().map(|asked| asked.window).collect()
    }

    pub(super) fn open_max(&self) -> usize {
        self.open_max.load(Ordering::SeqCst)
    }

    fn stream(&self, posts: Vec<UnixMillis>, then: Then) -> Response {
        let post = |created: UnixMillis| format!("{{\"id_str\":\"{}\"}}\r\n", PostId::lowest_at(created));
        let mut pieces: Vec<_> = posts.into_iter().map(|created| Ok(Bytes::from(post(created)))).collect();
        match &then {
            Then::Message(message) => pieces.push(Ok(Bytes::from(format!("{message}\r\n")))),
            Then::Cut => pieces.push(Err(BodyError { kind: BodyErrorKind::Cut, detail: "reset".into() })),
            Then::End | Then::Stay => {}
        }
        let stays = matches!(then, Then::Stay);
        let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.open_max.fetch_max(now, Ordering::SeqCst);
        let open = Open(self.open.clone());
        let tail = stream::once(async move {
            if stays {
                std::future::pending::<()>().await;
            }
            drop(open);
        });
        let body = stream::iter(pieces).then(async |piece| {
            // Pieces arrive one at a time, so that other tasks run in between.
            tokio::task::yield_now().await;
            piece
        });
        let body = body.chain(tail.filter_map(async |()| None)).boxed();
        Response { status: 200, headers: Headers::default(), body }
    }
}

impl Transport for X {
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        let window = request.window.expect("recovery asks for a window");
        assert_eq!(request.backfill_minutes, None);
        let window = TimeRange::new(window.from, window.to);
        let number = self.asked.borrow().len();
        self.asked.send_modify(|asked| asked.push(Asked { window, at: self.clock.moment() }));
        let response = match (self.script)(number, window) {
            Answer::Refuse(status, body) => {
                let body = stream::iter([Ok(Bytes::from_static(body.as_bytes()))]).boxed();
                Response { status, headers: Headers::default(), body }
            }
            Answer::Send(posts, then) => self.stream(posts, then),
        };
        futures::future::ready(Ok(response)).boxed()
    }
}

/// A result reported to the demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Proven(TimeRange, GapEvidence),
    Lost(TimeRange, GapEvidence),
}

/// Missing ranges, each with its stamp.
#[derive(Default)]
pub(super) struct Wanted {
    missing: Mutex<Vec<(TimeRange, u64)>>,
    stamp: AtomicU64,
    /// Expected posts per minute.
    due_per_minute: AtomicU64,
    changes: watch::Sender<u64>,
    pub reports: watch::Sender<Vec<Report>>,
}

impl MissingRanges for Wanted {
    fn missing(&self) -> TimeRangeSet {
        self.missing.lock().iter().map(|(span, _)| *span).collect()
    }

    fn stamp(&self) -> RequestStamp {
        let stamp = self.stamp.load(Ordering::SeqCst);
        RequestStamp { common: stamp, private: stamp }
    }

    fn mark_recovered(&self, span: TimeRange, evidence: GapEvidence, stamp: RequestStamp) {
        self.remove(span, stamp.common);
        self.reports.send_modify(|reports| reports.push(Report::Proven(span, evidence)));
    }

    fn mark_unrecoverable(&self, span: TimeRange, evidence: GapEvidence) {
        self.remove(span, u64::MAX);
        self.reports.send_modify(|reports| reports.push(Report::Lost(span, evidence)));
    }

    fn is_plausibly_empty(&self, span: TimeRange) -> bool {
        let minutes = span.to.since(span.from).as_secs_f64() / 60.0;
        (self.due_per_minute.load(Ordering::SeqCst) as f64) * minutes < f64::from(self.due_min())
    }

    fn due_min(&self) -> u32 {
        3
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Wanted {
    pub(super) fn miss(&self, span: TimeRange) {
        let stamp = self.stamp.fetch_add(1, Ordering::SeqCst) + 1;
        self.missing.lock().push((span, stamp));
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn due_per_minute(&self, posts: u64) {
        self.due_per_minute.store(posts, Ordering::SeqCst);
    }

    /// Removes ranges that were missing at or before this stamp.
    fn remove(&self, span: TimeRange, stamp: u64) {
        let mut missing = self.missing.lock();
        let left = |(own, wanted): (TimeRange, u64)| {
            let mut left: TimeRangeSet = [own].into_iter().collect();
            if wanted <= stamp {
                left.remove(span);
            }
            left.iter().map(|span| (span, wanted)).collect::<Vec<_>>()
        };
        *missing = missing.drain(..).flat_map(left).collect();
    }
}

pub(super) struct TestEnv {
    pub x: Arc<X>,
    pub wanted: Arc<Wanted>,
    pub hub: Arc<Hub>,
    pub recovery_jobs: Arc<RecoveryJobs>,
    pub clock: Clock,
    pub shutdown: Shutdown,
    running: JoinHandle<()>,
    _dir: TempDir,
}

/// Returns a minute a day before the start of the tests.
pub(super) fn start(clock: &Clock) -> UnixMillis {
    minute_of(clock.now()).minus(10 * 60 * MINUTE)
}

/// Returns the range between these minutes after `start`.
pub(super) fn minutes(start: UnixMillis, from: u32, to: u32) -> TimeRange {
    TimeRange::new(start.plus(MINUTE * from), start.plus(MINUTE * to))
}

/// Returns a post in the middle of each of these minutes.
pub(super) fn posts(start: UnixMillis, minutes: impl Iterator<Item = u32>) -> Vec<UnixMillis> {
    minutes.map(|minute| start.plus(MINUTE * minute + MINUTE / 2)).collect()
}

pub(super) const COMPLETED: &str = r#"{"info":{"message":"Recovery Request Completed"}}"#;

impl TestEnv {
    pub(super) fn new(clock: Clock, script: impl Fn(usize, TimeRange) -> Answer + Send + Sync + 'static) -> Self {
        Self::restored(clock, JobsState::default(), script)
    }

    pub(super) fn restored(
        clock: Clock,
        state: JobsState,
        script: impl Fn(usize, TimeRange) -> Answer + Send + Sync + 'static,
    ) -> Self {
        // Windows equal the missing minutes.
        let config = Config { overlap_max: Duration::ZERO, ..Config::default() };
        Self::configured(clock, state, config, script)
    }

    pub(super) fn configured(
        clock: Clock,
        state: JobsState,
        settings: Config,
        script: impl Fn(usize, TimeRange) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (hub, _writer) = new_hub(hub::Config::default(), clock.clone());
        let dir = tempfile::tempdir().expect("a directory");
        let bearer = dir.path().join("bearer");
        std::fs::write(&bearer, "bearer").expect("written");
        let x = Arc::new(X {
            script: Box::new(script),
            clock: clock.clone(),
            asked: watch::Sender::default(),
            open: Arc::default(),
            open_max: AtomicUsize::new(0),
        });
        // Nothing goes stale on a slow machine.
        let config = upstream::Config { stale_after: Duration::from_secs(1_000_000), ..upstream::Config::default() };
        let upstream = UpstreamEndpoint {
            transport: x.clone(),
            base_url: "http://127.0.0.1:1".parse().expect("a URL"),
            credentials: Credentials::new(secret::SecretSource::File(bearer)),
            local_dc_only: false,
            config,
            metrics: upstream::Metrics::default(),
        };
        let (queue, intakes) = queue(1 << 20);
        tokio::spawn(write(intakes));
        let wanted = Arc::new(Wanted::default());
        let file = dir.path().join("jobs.json");
        persist::write(&file, &state).expect("written");
        let recovery = RecoveryScheduler::open(SchedulerParts {
            hub: hub.clone(),
            upstream,
            queue,
            demand: wanted.clone(),
            file: Some(file),
            config: settings,
            ingest_metrics: ingest::Metrics::default(),
            metrics: Metrics::default(),
            seed: 1,
        });
        let (recovery_jobs, shutdown) = (recovery.jobs(), Shutdown::new());
        let running = tokio::spawn(recovery.run(shutdown.clone()));
        Self { x, wanted, hub, recovery_jobs, clock, shutdown, running, _dir: dir }
    }

    /// Waits until this many results were reported, and returns them.
    pub(super) async fn reports(&self, count: usize) -> Vec<Report> {
        let mut reports = self.wanted.reports.subscribe();
        let reported =
            Clock::system().timeout(Duration::from_secs(20), reports.wait_for(|reports| reports.len() >= count)).await;
        reported.unwrap_or_else(|_| panic!("only {:?}", self.wanted.reports.borrow())).expect("it lives").clone()
    }

    /// Waits until X has received this many requests.
    pub(super) async fn asked(&self, count: usize) -> Vec<Asked> {
        let mut asked = self.x.asked.subscribe();
        let came = Clock::system().timeout(Duration::from_secs(20), asked.wait_for(|asked| asked.len() >= count)).await;
        came.unwrap_or_else(|_| panic!("only {:?}", self.x.windows())).expect("it lives").clone()
    }

    /// Waits until the jobs match, checked after each change of the job table.
    pub(super) async fn job(&self, what: &str, holds: impl Fn(&Job) -> bool) {
        let mut changes = self.recovery_jobs.changes();
        let seen = changes.wait_for(|_| self.recovery_jobs.list().iter().any(|listed| holds(&listed.job)));
        let seen = Clock::system().timeout(Duration::from_secs(20), seen).await;
        let _ = seen.unwrap_or_else(|_| panic!("{what}: {:?}", self.recovery_jobs.list()));
    }

    pub(super) async fn progress(&self, reached: UnixMillis) {
        self.job("progress", |job| job.progress() == Some(reached)).await;
    }

    pub(super) async fn state(&self, state: JobState) {
        self.job("state", |job| job.state == state).await;
    }

    pub(super) async fn stop(self) -> JobsState {
        self.shutdown.cancel();
        self.running.await.expect("it ends");
        self.recovery_jobs.snapshot()
    }
}

/// Receives from the queue like the sequencer.
async fn write(mut intakes: mpsc::Receiver<IngestItem>) {
    let mut seen = HashSet::new();
    while let Some(intake) = intakes.recv().await {
        match intake {
            IngestItem::Arrivals(batch) => {
                let IngestSource::Recovery { tally, .. } = &batch.source else { panic!("only recovery in this test") };
                for message in &batch.arrivals.messages {
                    if let UpstreamMessage::Post(post) = message {
                        tally.count_post(seen.insert(post.id));
                    }
                }
            }
            IngestItem::GapChanges | IngestItem::Disconnected(_) | IngestItem::Rules(_) => {}
            // The caller may have gone.
            IngestItem::Flush(done) => drop(done.send(())),
        }
    }
}
