//! Answers about recovery: jobs, and the budgets of those who cause requests to X.

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use super::start::{in_future, start_invalid};
use crate::ingest::recovery::CreateError;
use crate::model::BudgetExceeded;

/// A recovery job that cannot be made.
pub fn job_refused(error: CreateError) -> Status {
    match error {
        CreateError::Disabled => StatusBuilder::new(
            Code::FailedPrecondition,
            "RECOVERY_NOT_ENTITLED",
            format!("{error}: switch it on if X grants recovery to this account"),
        )
        .status(),
        CreateError::Empty => start_invalid("interval.end_time", "must be after interval.start_time"),
        CreateError::Budget(exceeded) => recovery_limit(&exceeded),
        CreateError::InFuture { now } => in_future("the interval ends in the future", now),
        CreateError::TooOld { oldest, missing } => {
            let message = format!("{error} ({} s of the interval are older): ask for less", missing.as_secs());
            StatusBuilder::new(Code::OutOfRange, "POSITION_TOO_OLD", message)
                .with("oldest_time", oldest)
                .with("missing_seconds", missing.as_secs())
                .status()
        }
    }
}

/// A recovery job that does not exist.
pub fn job_unknown(id: &str) -> Status {
    /// Longer ids are none of ours; an error need not repeat them.
    const SHOWN_CHARS_MAX: usize = 32;
    let shown: String = id.chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("there is no recovery job {shown:?}: it may have ended long ago");
    let mut ended = StatusBuilder::new(Code::NotFound, "JOB_NOT_FOUND", message);
    ended.details.set_resource_info("recovery_job", shown, "", "not known");
    ended.status()
}

/// More was demanded of X than a budget allows.
pub fn recovery_limit(exceeded: &BudgetExceeded) -> Status {
    let message = format!("recovery limit reached: {exceeded}; retry later, or ask for longer intervals");
    StatusBuilder::new(Code::ResourceExhausted, "RECOVERY_LIMIT", message.clone())
        .quota(exceeded.limit.setting, &message)
        .retry_after(exceeded.retry_after)
        .status()
}
