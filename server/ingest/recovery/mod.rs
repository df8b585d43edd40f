//! Recovery: requests missing ranges again, in jobs parallel to the live connection.
//!
//! Owns: which windows to request from X and when (`planner`, `young`, pure), the persisted job table (`job`,
//! `job_table`), one request and its posts (`attempt`), the received messages and what their end proves (`transcript`,
//! `attempt_result`, pure), the scope of failures and the rate of requests (`setback`, `pace`, pure), the task that
//! applies X's rules to all jobs (`scheduler`), and manual jobs (`recovery_jobs`). Does not own: missing ranges and
//! states of gaps (the [`MissingRanges`], implemented by the gap tracker), or the path of posts (the sequencer;
//! recovered posts pass through the same queue as live ones).
//!
//! # Design
//! A job has a *rest*, the whole minutes that it still has to request, and *delivered* ranges of the demand without a
//! confirmation that they are complete. A request is for the first part of the rest. It proves only ranges that were
//! demanded when it was made ([`RequestStamp`]): later demands are requested again.
//!
//! Progress of a request is the longest prefix of its minutes that the order of its posts proves (`transcript`). A
//! refusal is not an end: the backoff of the job grows until its interval leaves the recovery window.
//!
//! # Invariants
//! - Never more than `jobs_max` requests at once, and none before the socket of an earlier one is closed (I11):
//!   `tests::never_more_than_two_at_once`.
//! - Every demanded range is requested, proven or lost, never forgotten: `planner::tests`, `job_table::tests`.
//! - A range is proven only if X reports it as complete, or repeats it without a new post: `attempt_result::tests`. For
//!   any response, posts that X withholds are not proven, unless X claims to be complete or withholds too few to be
//!   noticed: `tests::histories`.
//! - A private gap is proven only by requests made after it was demanded: `job_table::tests`, `hub::side_log::tests`.
//! - Attempts without new posts are bounded, whatever they prove: `pace::tests`, `tests::answers`.
//! - Manual jobs are charged to the caller and to the account, also across a restart: `job_table::budget`,
//!   `job_table::tests::manual_jobs_have_persisted_budget`.
//! - A plan survives the process: `job_table::tests::running_job_continues_after_restart`.
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

/// Source of missing ranges, and receiver of the results of recovery. The gap tracker implements it.
pub trait MissingRanges: Send + Sync {
    /// Returns the missing ranges of bounded intervals.
    fn missing(&self) -> TimeRangeSet;

    /// Returns the stamp of the demands so far. A later request answers these demands, and none that follow.
    fn stamp(&self) -> RequestStamp;

    /// Reports that everything X has of this interval was appended, by requests with this stamp or later: ranges
    /// demanded by then are proven, and no others. The evidence is `None` for the deliveries of a job that ended early:
    /// X sends minute by minute, and later minutes had arrived. A manual job proves everything that it delivered,
    /// including ranges that were given up before.
    fn mark_recovered(&self, span: TimeRange, evidence: GapEvidence, stamp: RequestStamp);

    /// Reports that this interval is unrecoverable. Parts of it that are not missing are not affected.
    fn mark_unrecoverable(&self, span: TimeRange, evidence: GapEvidence);

    /// True if fewer than `due_min` posts were expected in this span at the rate before it, or if the rate is unknown:
    /// an empty response is plausible.
    fn is_plausibly_empty(&self, span: TimeRange) -> bool;

    /// Returns the number of expected posts from which on an empty response is not plausible.
    fn due_min(&self) -> u32;

    /// Notifies when more may be missing.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The gaps of an account, for operators.
pub trait GapList: Send + Sync {
    /// Returns all known gaps: open ones, and closed ones within the retention; ordered by id.
    fn gaps(&self) -> Vec<Gap>;

    /// Returns the creation time from which on the log is complete, except for gaps; `None` while the log is empty.
    fn complete_from(&self) -> Option<UnixMillis>;

    /// Returns the creation time up to which it is: later posts may still arrive. `None` while the log is empty.
    fn complete_to(&self) -> Option<UnixMillis>;
}

#[cfg(test)]
mod tests;
