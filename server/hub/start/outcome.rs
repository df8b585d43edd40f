//! What is asked of a start, and how it was met.

use std::time::Duration;

use crate::hub::side_log::{Coverage, PrivateGaps};
use crate::hub::token::InvalidToken;
use crate::model::{BudgetExceeded, Sequence, UnixMillis};

/// Where a session asks to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Strictly after the position of this token.
    Token(String),
    /// At the first record received at or after this time.
    Time(UnixMillis),
    /// This long before now.
    Lookback(Duration),
    /// At the oldest record held.
    Earliest,
    /// At the tip.
    Latest,
}

/// The subscription start of `earliest`: before any post was created, so that nothing that the log holds is left out for its age.
pub const BEGINNING: UnixMillis = UnixMillis(0);

/// What to do with a start that is older than anything the log can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPolicy {
    /// Refuse it.
    Fail,
    /// Start at the oldest record, and tell what is missing.
    Earliest,
    /// Start at the tip, and tell what is missing.
    Latest,
}

/// How a start was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// At the tip, as asked.
    Live,
    /// Nothing missing, nothing repeated.
    Exact,
    /// By time: the token is of another log, of a lost tail of this one, or older than what the log holds. What is missing
    /// is brought for this subscription.
    TimeBounded,
    /// A policy dropped a part.
    Clamped,
}

/// A start that cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The token is no token of ours.
    Malformed,
    /// The token is of this other account.
    Foreign(String),
    /// The position is older than anything the log can give.
    TooOld {
        /// Where the oldest record is: a token just before it.
        oldest_token: String,
        /// When the oldest record was received.
        oldest_time: Option<UnixMillis>,
        /// How much is missing.
        missing: Duration,
    },
    /// The start lies in the future.
    InFuture {
        /// The time here.
        head_time: UnixMillis,
    },
    /// An exact resume was demanded, and is not possible.
    ExactUnavailable(StartOutcome),
    /// X would have to be asked for more than the caller may demand.
    RecoveryLimit(BudgetExceeded),
    /// The log of the token is lost, and its time has not come by a clock that upstream has not confirmed yet: when the new
    /// log begins, and with it what is missing, is not known.
    ClockUnknown,
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

/// What a subscription carries that begins at this oldest record: a DELTA whose POST is trimmed is for it.
pub(in crate::hub) fn trimmed_before(earliest: Sequence) -> Option<PrivateGaps> {
    (earliest > 1).then(|| PrivateGaps { coverage: Coverage::from(earliest), ..PrivateGaps::default() })
}
