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
    /// Set in ids of private gaps; gaps of a log are counted from 1.
    const PRIVATE: u64 = 1 << 63;

    /// The id of a hole that only some subscriptions have: the same for all that lack the same interval, whoever tells it.
    pub fn private(span: TimeRange) -> Self {
        /// FNV-1a, whose value never changes from one version of a program to the next.
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = span.from.0.to_le_bytes().into_iter().chain(span.to.0.to_le_bytes());
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        Self(hash | Self::PRIVATE)
    }

    /// True if only some subscriptions have the gap.
    pub fn is_private(self) -> bool {
        self.0 & Self::PRIVATE != 0
    }
}

/// An interval of upstream time for which completeness is not proven, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its id.
    pub id: GapId,
    /// The interval.
    pub window: TimeInterval,
    /// Why there is a gap.
    pub cause: GapCause,
    /// How far its closing has come.
    pub state: GapState,
    /// What the state rests on.
    pub evidence: GapEvidence,
    /// Up to where it is known to be complete.
    pub progress: Option<UnixMillis>,
    /// Posts brought back that the log lacked.
    pub recovered: u64,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// X ended the connection, or the network cut it.
    Disconnected,
    /// Nothing came for longer than the heartbeat allows.
    Stale,
    /// X closed the connection because the gateway read too slowly.
    SlowReader,
    /// The gateway was not running.
    GatewayDown,
    /// The journal could not be written.
    JournalUnavailable,
    /// A part of the journal is damaged.
    JournalCorrupt,
    /// The position is older than what the journal keeps.
    Trimmed,
    /// The log that the position belongs to is lost.
    LogLost,
    /// X ended the connection because there were too many.
    TooManyConnections,
    /// X ended the connection because the usage cap was reached.
    UsageCapped,
    /// X ended the connection because it does not accept the rules.
    InvalidRules,
}

/// How far the closing of a gap has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapState {
    /// Seen; nothing brought back yet.
    Detected,
    /// A recovery job is running or waits for its turn.
    Recovering,
    /// Closed by backfill.
    Backfilled,
    /// Closed by a recovery job.
    Recovered,
    /// Cannot be brought back any more.
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

/// What the state of a gap rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapEvidence {
    /// Nothing yet.
    None,
    /// X said that the job is complete.
    CompletionMessage,
    /// The job ended cleanly without a message, and a second request brought nothing new.
    CleanEof,
    /// No post of the interval arrived any more on a backfill connection that is still up.
    BackfillQuiet,
    /// The interval left the window that X recovers.
    WindowPassed,
    /// X refused the request.
    Refused,
    /// Fewer posts were due in the interval than `due_min`: nothing arrived, and nothing contradicts that.
    NothingDue,
    /// X reported the job as complete with a count that repeatedly differed from the number of posts that arrived.
    CountMismatch,
    /// Requests were answered, but no answer proved that the interval is complete.
    Unproven,
}
