use prometheus_client::metrics::counter::Counter;

use crate::telemetry::metrics::Histogram;

/// What a replica found in the shared log that should not be there, and what it did about it. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct FollowCounters {
    /// Messages that did not count.
    pub passed_over: Counter,
    /// Times the shared log had lost messages that this replica has read.
    pub rollbacks: Counter,
    /// Records that this replica appended again to a shared log that had lost them.
    pub restored: Counter,
    /// Duration of the appends of this leader, up to the acknowledgement by a quorum.
    pub append_duration: Histogram,
    /// Repeated attempts of appends whose outcome was not known.
    pub append_retries: Counter,
}
