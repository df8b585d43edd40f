//! A running job and its request.

use crate::ingest::recovery::job::NextRequest;
use crate::ingest::recovery::{JobId, RequestStamp};
use crate::model::{TimeRange, TimeRangeSet};
use crate::task::Shutdown;

/// A request in progress.
#[derive(Debug)]
pub(super) struct RunningJob {
    pub request: NextRequest,
    /// The part that was demanded when the request was made; for a manual job everything, including ranges given up.
    /// Later demands are requested again.
    pub asked: TimeRangeSet,
    /// Stamp of the demand at that time.
    pub stamp: RequestStamp,
    pub stop: Shutdown,
}

/// A request to be made.
#[derive(Clone, Debug)]
pub(in crate::ingest::recovery) struct JobRequest {
    pub id: JobId,
    /// In whole minutes.
    pub request: TimeRange,
    /// The demanded part; everything for a manual job.
    pub demanded: TimeRangeSet,
    /// The demanded part whose posts cannot have arrived live.
    pub core: TimeRangeSet,
    /// The previous request ended cleanly, with this many posts of this interval.
    pub confirms: Option<u64>,
    /// How often a count mismatch may still be answered with another request.
    pub counts_left: u32,
    /// Cancelled when the job is not active any more.
    pub stop: Shutdown,
}
