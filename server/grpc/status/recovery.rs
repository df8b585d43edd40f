//! Statuses of recovery jobs and of the budgets for requests to X.

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use super::start::{in_future, start_invalid};
use crate::ingest::recovery::CreateError;
use crate::model::BudgetExceeded;

/// Returns the status for a job that cannot be created.
pub fn job_refused(error: CreateError) -> Status {
    match error {
        CreateError::Disabled => StatusBuilder::new(
            Code::FailedPrecondition,
            "RECOVERY_NOT_ENTITLED",
            format!("{error}; enable it if X grants recovery to this account"),
        )
        .status(),
        CreateError::Empty => start_invalid("interval.end_time", "must be after interval.start_time"),
        CreateError::Budget(exceeded) => recovery_limit(&exceeded),
        CreateError::InFuture { now } => in_future("interval.end_time is in the future", now),
        CreateError::TooOld { oldest, missing } => {
            let message =
                format!("{error} ({} s of the interval are older); request a later start_time", missing.as_secs());
            StatusBuilder::new(Code::OutOfRange, "POSITION_TOO_OLD", message)
                .with("oldest_time", oldest)
                .with("missing_seconds", missing.as_secs())
                .status()
        }
    }
}

/// Returns the status for an unknown job.
pub fn job_unknown(id: &str) -> Status {
    /// Maximum characters of an id in the message: no valid id is longer.
    const SHOWN_CHARS_MAX: usize = 32;
    let shown: String = id.chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("recovery job {shown:?} not found; it may have been removed after its end");
    let mut ended = StatusBuilder::new(Code::NotFound, "JOB_NOT_FOUND", message);
    ended.details.set_resource_info("recovery_job", shown, "", "not known");
    ended.status()
}

/// Returns the status for requests to X beyond a budget.
pub fn recovery_limit(exceeded: &BudgetExceeded) -> Status {
    let message = format!("recovery limit reached: {exceeded}; retry later, or ask for longer intervals");
    StatusBuilder::new(Code::ResourceExhausted, "RECOVERY_LIMIT", message.clone())
        .quota(exceeded.limit.setting, &message)
        .retry_after(exceeded.retry_after)
        .status()
}
