//! A job that a request is running for.

use crate::ingest::recovery::{JobId, RequestStamp};
use crate::model::{TimeRange, TimeRangeSet};
use crate::task::Shutdown;

/// A request under way.
#[derive(Debug)]
pub(super) struct RunningJob {
    pub request: TimeRange,
    /// What was demanded of it when it was made; all of it for a job by hand, also what is given up. What is demanded later
    /// is asked for again.
    pub asked: TimeRangeSet,
    /// When that was.
    pub stamp: RequestStamp,
    pub stop: Shutdown,
}

/// A request to be made.
#[derive(Clone, Debug)]
pub(in crate::ingest::recovery) struct JobRequest {
    pub id: JobId,
    /// In whole minutes.
    pub request: TimeRange,
    /// What of it is demanded: all of it for a job by hand.
    pub demanded: TimeRangeSet,
    /// What of that cannot have come live.
    pub core: TimeRangeSet,
    /// The request before this one ended cleanly, and found so many posts of this interval.
    pub confirms: Option<u64>,
    /// How often a count of X may still be met with another request.
    pub counts_left: u32,
    /// Cancelled when nobody wants it any more.
    pub stop: Shutdown,
}
