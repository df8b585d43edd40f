//! Recovery: what is missing is asked for again, in jobs beside the live connection.
//!
//! Owns: which windows to ask X for and when (`planner`, `young`, pure), the job table that outlives the process (`job`,
//! `job_table`), one request and what it brings (`attempt`), what arrived in it and what its end proves (`transcript`,
//! `attempt_result`, pure), whom a failure concerns and how often it may be repeated (`setback`, `pace`, pure), the task that
//! keeps the rules of X for all of them (`scheduler`), and jobs made and ended by hand (`recovery_jobs`). Does not own: what is missing and
//! what a gap's state is (the [`MissingRanges`], which is the gap tracker), nor where posts go (the sequencer; what a job brings
//! passes the same queue as live posts).
//!
//! A job has a *rest*, whole minutes that it still has to bring, and what it has *brought* of the demand without a word
//! yet that it is complete. A request is for the first piece of the rest. It proves only what was demanded when it was made
//! ([`RequestStamp`]): what is demanded later is asked for again.
//!
//! Progress of a request is the longest prefix of its minutes that the order of its posts proves (`transcript`). A refusal
//! is not an end: the job waits longer each time, until its interval leaves what X recovers.
//!
//! Invariants and the tests that hold them:
//! - Never more than `jobs_max` requests at once, and none before the socket of an earlier one is closed (I11):
//!   `tests::never_more_than_two_at_once`.
//! - What is demanded is asked for, proven or lost, never forgotten: `planner::tests`, `job_table::tests`.
//! - Nothing is proven that X did not say is complete, or repeat without a new post: `attempt_result::tests`. Whatever X answers,
//!   nothing that it holds back is proven, unless it claims to be complete or too little to be noticed: `tests::histories`.
//! - A private gap is proven only by requests made after it was demanded: `job_table::tests`, `hub::side_log::tests`.
//! - Attempts that bring nothing new are bounded, whatever they prove meanwhile: `pace::tests`, `tests::answers`.
//! - Manual jobs are charged to the caller and to the account, also over a restart: `job_table::budget`,
//!   `job_table::tests::manual_jobs_have_persisted_budget`.
//! - A plan outlives the process: `job_table::tests::running_job_continues_after_restart`.
//! - A refusal for too many connections waits and is no attempt: `tests::rate_limit_pauses_all_jobs_without_attempt`.

use tokio::sync::watch;

use crate::model::{Gap, GapEvidence, TimeRange, TimeRangeSet, UnixMillis};

mod attempt;
mod attempt_result;
mod config;
mod job;
mod job_table;
mod metrics;
mod pace;
mod persist;
mod planner;
mod recovery_jobs;
mod scheduler;
mod setback;
mod stamp;
mod transcript;
mod young;

pub use super::gap_tracker::account_gaps::AccountGaps;
pub use config::Config;
pub use job::{Job, JobId, JobState, LastAttempt};
pub use job_table::{JobTable, JobsState};
pub use metrics::Metrics;
pub use recovery_jobs::{CreateError, JobStatus, RecoveryJobs};
pub use scheduler::{RecoveryScheduler, SchedulerParts};
pub use stamp::RequestStamp;

/// What recovery is to bring, and who is told how far it came. The gap tracker is it.
pub trait MissingRanges: Send + Sync {
    /// What is missing, of intervals that have ended.
    fn missing(&self) -> TimeRangeSet;

    /// Stamp of the demands made so far. A request that is made afterwards answers them, and none that follow.
    fn stamp(&self) -> RequestStamp;

    /// All that X has of this interval has been appended, by requests made at this stamp or later: what was demanded by
    /// then is proven, and nothing else. The evidence is `None` where a job ended early, for what it had brought by then:
    /// X sends minute by minute, and later minutes had come. A job by hand proves all that it brought, also what was lost
    /// before.
    fn mark_recovered(&self, span: TimeRange, evidence: GapEvidence, stamp: RequestStamp);

    /// This interval cannot be brought any more. What of it is not missing stays as it is.
    fn mark_unrecoverable(&self, span: TimeRange, evidence: GapEvidence);

    /// True if fewer than `due_min` posts were due in this span at the rate before it, or too little is known of the rate:
    /// that nothing arrived of it is plausible.
    fn is_plausibly_empty(&self, span: TimeRange) -> bool;

    /// Number of posts of which it is implausible that none arrives where they were due.
    fn due_min(&self) -> u32;

    /// Changes whenever there may be more that is missing.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The gaps of an account, as an operator sees them.
pub trait GapList: Send + Sync {
    /// All that are known: open ones, and those that ended within the retention; ordered by id.
    fn gaps(&self) -> Vec<Gap>;

    /// Since when the log holds what was created; `None` while it holds nothing.
    fn complete_from(&self) -> Option<UnixMillis>;

    /// Until when it does, gaps aside: later posts may still be on their way. `None` while it holds nothing.
    fn complete_to(&self) -> Option<UnixMillis>;
}

#[cfg(test)]
mod tests;
