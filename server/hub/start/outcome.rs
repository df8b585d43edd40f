//! Requested start and its outcome.

use std::time::Duration;

use crate::hub::side_log::{PrivateGaps, SubscriptionCoverage};
use crate::hub::status::replica_link::PrivateWants;
use crate::hub::token::InvalidToken;
use crate::model::{BudgetExceeded, Sequence, UnixMillis};

/// Requested start of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Strictly after the position of this token.
    Token(String),
    /// At the first record received at or after this time.
    Time(UnixMillis),
    /// This long before now.
    Lookback(Duration),
    /// At the oldest record.
    Earliest,
    /// At the tip.
    Latest,
}

/// Subscription start of `earliest`: before any post was created, so that no record of the log is skipped for its age.
pub const BEGINNING: UnixMillis = UnixMillis(0);

/// Policy for a start that is older than the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPolicy {
    /// Refuse it.
    Fail,
    /// Start at the oldest record, and report the missing interval.
    Earliest,
    /// Start at the tip, and report the missing interval.
    Latest,
}

/// Outcome of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// At the tip, as asked.
    Live,
    /// Nothing is missing or repeated.
    Exact,
    /// By time: the token belongs to another log or to a lost tail of this one, or is older than the log. The missing
    /// range is recovered for this subscription.
    TimeBounded,
    /// A policy dropped a part.
    Clamped,
}

impl StartOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Live, Self::Exact, Self::TimeBounded, Self::Clamped];

    /// Returns a short name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Exact => "exact",
            Self::TimeBounded => "time_bounded",
            Self::Clamped => "clamped",
        }
    }
}

/// A start that cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The token is invalid.
    Malformed,
    /// The token belongs to this other account.
    Foreign(String),
    /// The position is older than the log.
    TooOld {
        /// A token just before the oldest record.
        oldest_token: String,
        /// Receive time of the oldest record.
        oldest_time: Option<UnixMillis>,
        /// Duration of the missing interval.
        missing: Duration,
    },
    /// The start lies in the future.
    InFuture {
        /// Current time.
        head_time: UnixMillis,
    },
    /// An exact resume was required and is not possible.
    ExactUnavailable(StartOutcome),
    /// The request to X exceeds the budget of the caller.
    RecoveryLimit(BudgetExceeded),
    /// The log of the token is lost, and its time is in the future by a clock that upstream has not confirmed yet. The
    /// start of the new log, and with it the missing range, is unknown.
    ClockUnknown,
    /// This replica has not read the log up to the position of the token.
    ReplicaBehind,
    /// Only the leader can request these private gaps of the start.
    NotLeader(PrivateWants),
}

impl From<BudgetExceeded> for StartError {
    fn from(exceeded: BudgetExceeded) -> Self {
        Self::RecoveryLimit(exceeded)
    }
}

impl From<InvalidToken> for StartError {
    fn from(_: InvalidToken) -> Self {
        Self::Malformed
    }
}

/// Returns the private state of a subscription that begins at this oldest record: a DELTA whose POST is trimmed is for
/// it.
pub(in crate::hub) fn trimmed_before(earliest: Sequence) -> Option<PrivateGaps> {
    (earliest > 1).then(|| PrivateGaps { coverage: SubscriptionCoverage::from(earliest), ..PrivateGaps::default() })
}
