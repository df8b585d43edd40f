use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::attempt_result::AttemptResult;
use super::job_table::{JobClock, JobRequest, Resolution};
use super::persist;
use super::planner::RecoveryLimits;
use super::{Config, Job, JobId, JobState, JobTable, JobsState, Metrics, RequestStamp};
use crate::clock::{Clock, Moment};
use crate::model::{AccountName, BudgetExceeded, BudgetScope, Caller, TimeRange, TimeRangeSet, UnixMillis};

/// Shared state of recovery jobs, for the scheduler and for callers of manual jobs: the job table and its change
/// notifications.
pub struct RecoveryJobs {
    book: Mutex<JobsInner>,
    orders: watch::Sender<u64>,
    changes: watch::Sender<u64>,
    /// The state in the file.
    saved: Mutex<JobsState>,
    parts: RecoveryJobsParts,
}

pub(super) struct RecoveryJobsParts {
    pub account: AccountName,
    pub config: Config,
    pub recovery_window: Duration,
    /// Part at the edges of a gap whose posts may have arrived live.
    pub allowed_lateness: Duration,
    /// Stamp of the demand at open.
    pub stamp: RequestStamp,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Path of the job table; `None` for a log in memory.
    pub file: Option<PathBuf>,
}

struct JobsInner {
    jobs: JobTable,
    /// No request is made before this time.
    paused_until: Option<Moment>,
    /// X has accepted no request since: one request at a time is made to probe it.
    doubtful: bool,
    /// Requests that X has not answered yet.
    awaiting_response: usize,
}

/// A job as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub job: Job,
    /// Time until its next request, if it waits for one.
    pub retry_after: Option<Duration>,
}

/// A manual job that cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CreateError {
    /// Recovery is disabled.
    #[error("recovery is disabled (ingest.recovery.enabled)")]
    Disabled,
    /// The interval is empty.
    #[error("invalid interval: end_time must be after start_time")]
    Empty,
    /// The start is older than the recovery window.
    #[error("start_time is older than the recovery window (oldest: {oldest})")]
    TooOld {
        /// The oldest possible start.
        oldest: UnixMillis,
        /// Part of the interval that is older.
        missing: Duration,
    },
    /// The limit of manual jobs within an hour is reached.
    #[error("recovery limit reached: {0}; retry later, or request a longer interval")]
    Budget(BudgetExceeded),
    /// The interval has not ended yet.
    #[error("end_time is in the future (now: {now})")]
    InFuture {
        /// Upstream time.
        now: UnixMillis,
    },
}

impl RecoveryJobs {
    pub(super) fn open(parts: RecoveryJobsParts) -> Self {
        let saved = parts.file.as_deref().map(|path| persist::read(path, &parts.account)).unwrap_or_default();
        let jobs = JobTable::restore(saved.clone(), parts.stamp);
        let book = JobsInner { jobs, paused_until: None, doubtful: false, awaiting_response: 0 };
        Self {
            book: Mutex::new(book),
            orders: watch::Sender::new(0),
            changes: watch::Sender::new(0),
            saved: Mutex::new(saved),
            parts,
        }
    }

    /// Continues after the end of a scheduler, as after a restart: running jobs wait again. A pause that X asked for stays.
    pub(super) fn resume(&self, stamp: RequestStamp) {
        let mut book = self.book.lock();
        book.jobs = JobTable::restore(book.jobs.snapshot(), stamp);
        book.awaiting_response = 0;
        drop(book);
        // Updates the metrics of active jobs.
        self.change(|_, _| ());
    }

    /// Takes over from the leader before, whose jobs this replica has in its file.
    pub fn take_over(&self, stamp: RequestStamp) {
        let Some(path) = &self.parts.file else { return };
        let found = persist::read(path, &self.parts.account);
        *self.saved.lock() = found.clone();
        self.book.lock().jobs = JobTable::restore(found, stamp);
    }

    /// Shows the jobs of the leader, whose checkpoint this is, while this replica follows. A checkpoint that cannot be read
    /// changes nothing.
    pub fn follow(&self, checkpoint: &[u8]) {
        let Some(found) = persist::parse(checkpoint) else { return };
        self.book.lock().jobs = JobTable::shown(found);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Returns the exhausted budget that another replica reports.
    pub fn budget_exceeded(&self, scope: BudgetScope, retry_after: Duration) -> BudgetExceeded {
        self.parts.config.manual_limits().exceeded(scope, retry_after)
    }

    /// Returns the content of the file for other replicas.
    pub fn shared_checkpoint(&self) -> Vec<u8> {
        persist::encode(&self.snapshot()).expect("the state is numbers, text and lists of them")
    }

    /// Returns the persisted state.
    pub fn snapshot(&self) -> JobsState {
        self.book.lock().jobs.snapshot()
    }

    /// Persists the state, if it has changed.
    pub fn save(&self) -> std::io::Result<()> {
        let Some(path) = &self.parts.file else { return Ok(()) };
        let (now, mut saved) = (self.snapshot(), self.saved.lock());
        if *saved != now {
            persist::write(path, &now)?;
            *saved = now;
        }
        Ok(())
    }

    /// Notifies changes of the job table.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns all active jobs, and finished ones within the retention, newest first.
    pub fn list(&self) -> Vec<JobStatus> {
        let book = self.book.lock();
        book.jobs.list().map(|job| self.listed(&book, job)).collect()
    }

    /// Returns the ranges that wait because X refuses them: it does not grant recovery, or not for these intervals now.
    pub fn refused(&self) -> TimeRangeSet {
        self.book.lock().jobs.refused()
    }

    /// Creates a manual job. If a job that still has to deliver the whole interval exists, it is returned; a waiting
    /// manual job that touches the interval is extended. A new job is charged to the account and to this caller.
    pub fn create(&self, span: TimeRange, caller: Caller) -> Result<JobStatus, CreateError> {
        let now = self.parts.clock.now();
        let oldest = self.limits().earliest_recoverable(now);
        if !self.parts.config.enabled {
            return Err(CreateError::Disabled);
        }
        if span.is_empty() {
            return Err(CreateError::Empty);
        }
        if span.to > now {
            return Err(CreateError::InFuture { now });
        }
        if span.from < oldest {
            return Err(CreateError::TooOld { oldest, missing: span.to.min(oldest).since(span.from) });
        }
        let config = &self.parts.config;
        let created = self.change(|jobs, now| jobs.create_charged(span, caller, config, now.time));
        let id = created.map_err(CreateError::Budget)?;
        self.orders.send_modify(|orders| *orders += 1);
        Ok(self.find(id).expect("created or found above"))
    }

    /// True if an interval needs a new job.
    pub fn needs_job(&self, span: TimeRange) -> bool {
        self.book.lock().jobs.needs_job(span)
    }

    /// Returns the number of jobs of a caller that wait or run.
    pub fn active_of(&self, caller: &Caller) -> usize {
        let book = self.book.lock();
        book.jobs.list().filter(|job| job.state.is_active() && job.caller.as_ref() == Some(caller)).count()
    }

    /// Cancels a job; a finished one is not changed. Returns `None` if the id is unknown.
    pub fn cancel(&self, id: JobId) -> Option<JobStatus> {
        self.change(|jobs, now| jobs.cancel(id, now.time)).then_some(())?;
        self.orders.send_modify(|orders| *orders += 1);
        self.find(id)
    }

    fn find(&self, id: JobId) -> Option<JobStatus> {
        let book = self.book.lock();
        book.jobs.get(id).map(|job| self.listed(&book, job))
    }

    fn listed(&self, book: &JobsInner, job: &Job) -> JobStatus {
        let until = book.jobs.retry_at(job.id).max(book.paused_until).filter(|_| job.state == JobState::Waiting);
        let retry_after = until.map(|until| until.since(self.parts.clock.moment())).filter(|wait| !wait.is_zero());
        JobStatus { job: job.clone(), retry_after }
    }

    /// Notifies when a manual job was created or cancelled, and when X has answered.
    pub(super) fn requests(&self) -> watch::Receiver<u64> {
        self.orders.subscribe()
    }

    fn now(&self) -> JobClock {
        JobClock { time: self.parts.clock.now(), moment: self.parts.clock.moment() }
    }

    /// Changes the job table; logs and counts the jobs that have ended by the change.
    fn change<T>(&self, change: impl FnOnce(&mut JobTable, JobClock) -> T) -> T {
        let mut book = self.book.lock();
        let result = change(&mut book.jobs, self.now());
        for job in book.jobs.drain_finished() {
            self.parts.metrics.ended(job.state);
            let (account, from, to) = (&self.parts.account, job.window.from, job.window.to);
            let (received, new, attempts) = (job.received, job.recovered, job.attempts);
            let (job_id, state, error) = (job.id, job.state.name(), &job.last_error);
            if job.state == JobState::Failed {
                tracing::error!(%account, job = %job_id, %from, %to, attempts, received, new, error, "recovery job failed");
            } else {
                tracing::info!(%account, job = %job_id, %from, %to, attempts, received, new, state, "recovery job finished");
            }
        }
        for state in [JobState::Waiting, JobState::Running] {
            self.parts.metrics.set_active(state, book.jobs.count(state));
        }
        self.parts.metrics.refused(book.jobs.list().filter(|job| job.is_refused()).count());
        // Notified readers take the lock.
        drop(book);
        self.changes.send_modify(|changes| *changes += 1);
        result
    }

    /// Creates jobs for missing ranges.
    pub(super) fn plan(&self, missing: &TimeRangeSet) {
        let (limits, config) = (self.limits(), &self.parts.config);
        self.change(|jobs, now| jobs.plan(missing, now.time, &limits, config));
    }

    fn limits(&self) -> RecoveryLimits {
        let RecoveryJobsParts { config, recovery_window, allowed_lateness, clock, .. } = &self.parts;
        config.limits(*recovery_window, clock.uncertainty(), *allowed_lateness)
    }

    /// Starts the next request, unless none may be made now. `stamp` is the stamp of the demand, taken before
    /// `missing`.
    pub(super) fn begin(&self, missing: &TimeRangeSet, stamp: RequestStamp) -> Option<JobRequest> {
        let (limits, config) = (self.limits(), &self.parts.config);
        let waits = |book: &JobsInner| book.doubtful && book.awaiting_response > 0;
        if self.is_paused() || waits(&self.book.lock()) {
            return None;
        }
        let order = self.change(|jobs, now| jobs.begin(missing, stamp, now, &limits, config))?;
        self.book.lock().awaiting_response += 1;
        Some(order)
    }

    /// Records that X has answered a request, or that the request has ended without an answer.
    pub(super) fn on_response(&self, taken: bool) {
        let mut book = self.book.lock();
        book.awaiting_response -= 1;
        book.doubtful &= !taken;
        drop(book);
        self.orders.send_modify(|orders| *orders += 1);
    }

    fn is_paused(&self) -> bool {
        let until = self.book.lock().paused_until;
        until.is_some_and(|until| until > self.parts.clock.moment())
    }

    /// Pauses all requests. Returns false if they are paused already: requests in progress do not extend the pause.
    pub(super) fn pause_all(&self, wait: impl FnOnce() -> Duration) -> bool {
        if self.is_paused() {
            return false;
        }
        let until = self.parts.clock.moment().plus(wait());
        let mut book = self.book.lock();
        (book.paused_until, book.doubtful) = (Some(until), true);
        true
    }

    /// Counts posts of a running job.
    pub(super) fn add_posts(&self, id: JobId, received: u64, recovered: u64) {
        self.parts.metrics.posts_received.inc_by(received);
        self.parts.metrics.posts_new.inc_by(recovered);
        self.change(|jobs, _| jobs.add_posts(id, received, recovered));
    }

    /// Records that a running job has appended its request up to here.
    pub(super) fn advance(&self, id: JobId, reached: UnixMillis) {
        self.change(|jobs, _| jobs.advance(id, reached));
    }

    /// Applies the end of a request; see [`JobTable::finish_attempt`].
    pub(super) fn finish_attempt(&self, id: JobId, result: &AttemptResult, found: u64) -> bool {
        self.change(|jobs, now| jobs.finish_attempt(id, result, found, now.time))
    }

    pub(super) fn is_active(&self, id: JobId) -> bool {
        self.book.lock().jobs.get(id).is_some_and(|job| job.state.is_active())
    }

    /// Changes a job in ways without a method of their own.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut JobTable, JobClock) -> T) -> T {
        self.change(change)
    }

    /// Takes the results to be reported.
    pub(super) fn take_resolutions(&self) -> Vec<Resolution> {
        self.book.lock().jobs.drain_resolutions()
    }

    /// Returns the time until something is due.
    pub(super) fn wait(&self, missing: &TimeRangeSet) -> Option<Duration> {
        let (book, now) = (self.book.lock(), self.now());
        let held = book.paused_until.map(|until| until.since(now.moment)).filter(|wait| !wait.is_zero());
        book.jobs.wait(missing, now, &self.limits()).into_iter().chain(held).min()
    }

    /// Records that X refused a request, with its window if that may be the reason. Returns the number of consecutive
    /// refusals.
    pub(super) fn record_refusal(&self, id: JobId, window: Option<TimeRange>) -> u32 {
        self.parts.metrics.refusals.inc();
        self.change(|jobs, now| jobs.record_refusal(id, window, now.time))
    }

    /// Returns the settings.
    pub(super) fn config(&self) -> &Config {
        &self.parts.config
    }
}
