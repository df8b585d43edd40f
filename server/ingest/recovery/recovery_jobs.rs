use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use super::attempt_result::AttemptResult;
use super::job_table::{JobClock, JobRequest, Resolution};
use super::persist;
use super::planner::RecoveryLimits;
use super::{Config, Job, JobId, JobState, JobTable, JobsState, Metrics, RequestStamp};
use crate::clock::{Clock, Moment};
use crate::model::{AccountName, BudgetExceeded, Caller, TimeRange, TimeRangeSet, UnixMillis};

/// Where the scheduler and those who ask for jobs by hand meet: the job table, and what is told of its changes.
pub struct RecoveryJobs {
    book: Mutex<JobsInner>,
    orders: watch::Sender<u64>,
    changes: watch::Sender<u64>,
    /// What the file has.
    saved: Mutex<JobsState>,
    parts: RecoveryJobsParts,
}

pub(super) struct RecoveryJobsParts {
    pub account: AccountName,
    pub config: Config,
    pub recovery_window: Duration,
    /// Posts of this much of a gap's edges may have come live.
    pub allowed_lateness: Duration,
    /// Of the demand, when it was opened.
    pub stamp: RequestStamp,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Where the job table is kept; `None` for a log in memory.
    pub file: Option<PathBuf>,
}

struct JobsInner {
    jobs: JobTable,
    /// No request is made before.
    paused_until: Option<Moment>,
    /// X took none since: one request at a time is made to see whether it does again.
    doubtful: bool,
    /// Requests that X has not answered yet.
    awaiting_response: usize,
}

/// A job as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The job.
    pub job: Job,
    /// How long until its next request, if it waits for one.
    pub retry_after: Option<Duration>,
}

/// A job that cannot be made by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CreateError {
    /// Recovery is switched off.
    #[error("recovery is switched off (ingest.recovery.enabled)")]
    Disabled,
    /// The interval holds no time.
    #[error("the interval is empty")]
    Empty,
    /// X does not recover its start any more.
    #[error("X recovers nothing from before {oldest}")]
    TooOld {
        /// The oldest start that can be asked for.
        oldest: UnixMillis,
        /// How much of the interval is older.
        missing: Duration,
    },
    /// As many manual jobs as allowed were created within the last hour.
    #[error("recovery limit reached: {0}; retry later, or ask for a longer interval")]
    Budget(BudgetExceeded),
    /// It has not ended yet.
    #[error("the interval ends in the future: it is {now} now")]
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

    /// What outlives the process.
    pub fn snapshot(&self) -> JobsState {
        self.book.lock().jobs.snapshot()
    }

    /// Keeps what outlives the process, if it has changed.
    pub fn save(&self) -> std::io::Result<()> {
        let Some(path) = &self.parts.file else { return Ok(()) };
        let (now, mut saved) = (self.snapshot(), self.saved.lock());
        if *saved != now {
            persist::write(path, &now)?;
            *saved = now;
        }
        Ok(())
    }

    /// Changes with the job table.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All jobs that have not ended, or ended within the retention, the newest first.
    pub fn list(&self) -> Vec<JobStatus> {
        let book = self.book.lock();
        book.jobs.list().map(|job| self.listed(&book, job)).collect()
    }

    /// What waits because X refuses it: it does not grant recovery, or not of these intervals now.
    pub fn refused(&self) -> TimeRangeSet {
        self.book.lock().jobs.refused()
    }

    /// Makes a job by hand. If one exists that still has to bring all of the interval, it is that one; if one by hand
    /// waits that touches it, that one becomes longer. A new job is charged to the account and to this caller.
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
        Ok(self.find(id).expect("it was made, or found, just now"))
    }

    /// Ends a job by hand; one that has ended is left as it is. `None` if there is none of that id.
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

    /// Changes when a person made or ended a job, and when X answered.
    pub(super) fn requests(&self) -> watch::Receiver<u64> {
        self.orders.subscribe()
    }

    fn now(&self) -> JobClock {
        JobClock { time: self.parts.clock.now(), moment: self.parts.clock.moment() }
    }

    /// Changes the job table, and tells and counts what has ended by that.
    fn change<T>(&self, change: impl FnOnce(&mut JobTable, JobClock) -> T) -> T {
        let mut book = self.book.lock();
        let result = change(&mut book.jobs, self.now());
        for job in book.jobs.drain_finished() {
            self.parts.metrics.ended(job.state);
            let (account, from, to) = (&self.parts.account, job.window.from, job.window.to);
            let (received, new, attempts) = (job.received, job.recovered, job.attempts);
            let (state, error) = (job.state.name(), &job.last_error);
            if job.state == JobState::Failed {
                tracing::error!(%account, job = %job.id, %from, %to, attempts, received, new, error, "a recovery job {state}");
            } else {
                tracing::info!(%account, job = %job.id, %from, %to, attempts, received, new, "a recovery job {state}");
            }
        }
        for state in [JobState::Waiting, JobState::Running] {
            self.parts.metrics.set_active(state, book.jobs.count(state));
        }
        self.parts.metrics.refused(book.jobs.list().filter(|job| job.is_refused()).count());
        // Whoever looks then takes the lock itself.
        drop(book);
        self.changes.send_modify(|changes| *changes += 1);
        result
    }

    /// Makes jobs for what is missing.
    pub(super) fn plan(&self, missing: &TimeRangeSet) {
        let (limits, config) = (self.limits(), &self.parts.config);
        self.change(|jobs, now| jobs.plan(missing, now.time, &limits, config));
    }

    fn limits(&self) -> RecoveryLimits {
        let RecoveryJobsParts { config, recovery_window, allowed_lateness, clock, .. } = &self.parts;
        config.limits(*recovery_window, clock.uncertainty(), *allowed_lateness)
    }

    /// The next request, unless none may be made now. `stamp` is that of the demand, taken before `missing` was.
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

    /// X has answered a request, or will not.
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

    /// No request is made for so long. False if all are held already: those that were under way change nothing.
    pub(super) fn pause_all(&self, wait: impl FnOnce() -> Duration) -> bool {
        if self.is_paused() {
            return false;
        }
        let until = self.parts.clock.moment().plus(wait());
        let mut book = self.book.lock();
        (book.paused_until, book.doubtful) = (Some(until), true);
        true
    }

    /// Posts that a running job has brought.
    pub(super) fn add_posts(&self, id: JobId, received: u64, recovered: u64) {
        self.parts.metrics.posts_received.inc_by(received);
        self.parts.metrics.posts_new.inc_by(recovered);
        self.change(|jobs, _| jobs.add_posts(id, received, recovered));
    }

    /// What a running job has appended proves its request up to here.
    pub(super) fn advance(&self, id: JobId, reached: UnixMillis) {
        self.change(|jobs, _| jobs.advance(id, reached));
    }

    /// A request has ended; see [`JobTable::finish_attempt`].
    pub(super) fn finish_attempt(&self, id: JobId, verdict: &AttemptResult, found: u64) -> bool {
        self.change(|jobs, now| jobs.finish_attempt(id, verdict, found, now.time))
    }

    pub(super) fn is_active(&self, id: JobId) -> bool {
        self.book.lock().jobs.get(id).is_some_and(|job| job.state.is_active())
    }

    /// Other changes of a job, without a word of their own.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut JobTable, JobClock) -> T) -> T {
        self.change(change)
    }

    /// What the demand is to be told.
    pub(super) fn take_resolutions(&self) -> Vec<Resolution> {
        self.book.lock().jobs.drain_resolutions()
    }

    /// How long until something is due by time alone.
    pub(super) fn wait(&self, missing: &TimeRangeSet) -> Option<Duration> {
        let (book, now) = (self.book.lock(), self.now());
        let held = book.paused_until.map(|until| until.since(now.moment)).filter(|wait| !wait.is_zero());
        book.jobs.wait(missing, now, &self.limits()).into_iter().chain(held).min()
    }

    /// X refused a request, of this window if it may be the window's fault. Returns how often in a row.
    pub(super) fn record_refusal(&self, id: JobId, window: Option<TimeRange>) -> u32 {
        self.parts.metrics.refusals.inc();
        self.change(|jobs, now| jobs.record_refusal(id, window, now.time))
    }

    /// The settings.
    pub(super) fn config(&self) -> &Config {
        &self.parts.config
    }
}
