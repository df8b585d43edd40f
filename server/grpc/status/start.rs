//! Statuses of start positions.

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use crate::model::UnixMillis;

/// A start that makes no sense.
pub fn start_invalid(field: &str, description: &str) -> Status {
    StatusBuilder::new(Code::InvalidArgument, "START_INVALID", format!("{field}: {description}"))
        .field(field, description)
        .status()
}

/// A time that has not come yet.
pub fn in_future(what: &str, head_time: UnixMillis) -> Status {
    StatusBuilder::new(Code::OutOfRange, "POSITION_IN_FUTURE", format!("{what}: it is {head_time} here"))
        .with("head_time", head_time)
        .status()
}
