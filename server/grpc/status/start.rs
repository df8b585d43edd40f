//! Statuses of start positions.

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use crate::model::UnixMillis;

/// Returns the status for an invalid start, interval or page, with its field.
pub fn start_invalid(field: &str, description: &str) -> Status {
    StatusBuilder::new(Code::InvalidArgument, "START_INVALID", format!("{field}: {description}"))
        .field(field, description)
        .status()
}

/// Returns the status for a time in the future.
pub fn in_future(what: &str, head_time: UnixMillis) -> Status {
    StatusBuilder::new(Code::OutOfRange, "POSITION_IN_FUTURE", format!("{what}; the time is {head_time}"))
        .with("head_time", head_time)
        .status()
}
