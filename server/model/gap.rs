//! Gaps: time ranges for which completeness is not proven.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TimeInterval, TimeRange, UnixMillis};

/// Id of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GapId(pub u64);

impl fmt::Display for GapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_private() { write!(f, "p{:016x}", self.0) } else { write!(f, "g{}", self.0) }
    }
}

impl GapId {
    /// Flag in ids of private gaps; gaps of a log are numbered from 1.
    const PRIVATE: u64 = 1 << 63;

    /// Returns the id of a private gap: a hash of the interval, so that it is the same in all subscriptions and
    /// processes.
    pub fn private(span: TimeRange) -> Self {
        /// FNV-1a, whose value is the same in every version.
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = span.from.0.to_le_bytes().into_iter().chain(span.to.0.to_le_bytes());
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        Self(hash | Self::PRIVATE)
    }

    /// True for a private gap.
    pub fn is_private(self) -> bool {
        self.0 & Self::PRIVATE != 0
    }
}

/// Current state of a gap: an interval of upstream time for which completeness is not proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Id of the gap.
    pub id: GapId,
    /// The interval.
    pub window: TimeInterval,
    /// Cause of the gap.
    pub cause: GapCause,
    /// State of its recovery.
    pub state: GapState,
    /// Evidence for the state.
    pub evidence: GapEvidence,
    /// Time up to which the interval is known to be complete.
    pub progress: Option<UnixMillis>,
    /// Recovered posts that the log did not have.
    pub recovered: u64,
}

/// Cause of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// X ended the connection, or the network broke it.
    Disconnected,
    /// Neither a message nor a heartbeat arrived within the stale timeout.
    Stale,
    /// X closed the connection because the gateway read too slowly.
    SlowReader,
    /// The gateway was not running.
    GatewayDown,
    /// The journal could not be written.
    JournalUnavailable,
    /// A part of the journal is damaged.
    JournalCorrupt,
    /// The position is older than the retained journal.
    Trimmed,
    /// The log of the position is lost.
    LogLost,
    /// X ended the connection because there were too many.
    TooManyConnections,
    /// X ended the connection because the usage cap was reached.
    UsageCapped,
    /// X ended the connection because it rejected the rules.
    InvalidRules,
}

/// State of a gap's recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapState {
    /// Detected; nothing recovered yet.
    Detected,
    /// A recovery job is running or waiting.
    Recovering,
    /// Closed by backfill.
    Backfilled,
    /// Closed by a recovery job.
    Recovered,
    /// Final. The posts cannot be recovered any more.
    Unrecoverable,
}

impl GapState {
    /// Returns true if the gap does not change any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Detected | Self::Recovering => false,
            Self::Backfilled | Self::Recovered | Self::Unrecoverable => true,
        }
    }

    /// Returns true if every missing post of the gap was logged.
    pub fn is_complete(self) -> bool {
        match self {
            Self::Detected | Self::Recovering | Self::Unrecoverable => false,
            Self::Backfilled | Self::Recovered => true,
        }
    }
}

/// Evidence for the state of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapEvidence {
    /// None yet.
    None,
    /// X reported the job as complete.
    CompletionMessage,
    /// The job ended cleanly without a message, and a second request returned nothing new.
    CleanEof,
    /// No post of the interval arrived any more on an open backfill connection.
    BackfillQuiet,
    /// The interval left the recovery window.
    WindowPassed,
    /// X refused the request.
    Refused,
    /// Fewer than `due_min` posts were expected in the interval, and none arrived.
    NothingDue,
    /// X reported the job as complete, with a count that repeatedly differed from the number of received posts.
    CountMismatch,
    /// Requests were answered, but no response proved that the interval is complete.
    Unproven,
    /// The posts of an interrupted response were in order and reached past the interval.
    PostOrder,
}
