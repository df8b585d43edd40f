use std::sync::Arc;
use std::time::Duration;

use super::super::entry::batch::EncodedBatch;
use super::super::filter::RulesNotice;
use super::super::start::StartOutcome;
use super::super::status::upstream_status::{UpstreamNotice, UpstreamState};
use crate::model::{AccountName, Epoch, Gap, Position, Sequence, Skip, TimeInterval, UnixMillis};

/// One frame of a session.
#[derive(Debug)]
pub struct Frame {
    /// Resume token that covers everything up to and including this frame; `None` if the frame moves nothing.
    pub token: Option<String>,
    /// Content.
    pub content: FrameContent,
}

/// Content of a frame.
#[derive(Debug)]
pub enum FrameContent {
    /// Start of the session.
    Start(Box<SessionStart>),
    /// Posts.
    Batch(EventBatch),
    /// Heartbeat.
    Heartbeat(Heartbeat),
    /// The session reached the tip.
    CaughtUp(TimedPosition),
    /// The session is behind the ring buffer.
    FellBehind {
        /// Its position.
        place: TimedPosition,
        /// Distance to the tip.
        lag: Lag,
    },
    /// A change of a gap.
    Gap {
        /// Record that announces it; 0 for a private gap.
        sequence: Sequence,
        /// The gap as it is now.
        gap: Gap,
    },
    /// Gaps that are open at the start and not in `SessionStart`: one message each, written together, because HTTP/2
    /// libraries close a connection on which many small writes are queued.
    OpenGaps(Vec<Gap>),
    /// Messages that could not be accepted, or damaged records.
    Skipped {
        /// Record that announces it.
        sequence: Sequence,
        /// Reason, count and time range.
        skip: Skip,
    },
    /// Upstream notice.
    News(UpstreamNotice),
    /// A change of the account's rules.
    Rules(Box<RulesNotice>),
    /// The session is about to end.
    Draining {
        /// Reason.
        reason: EndReason,
        /// Time at which the stream ends at the latest.
        deadline: UnixMillis,
        /// Delay before reconnecting.
        reconnect_after: Duration,
    },
}

/// Start of a session.
#[derive(Debug)]
pub struct SessionStart {
    /// Id of the session.
    pub session_id: String,
    /// Account read.
    pub account: AccountName,
    /// The log.
    pub epoch: Epoch,
    /// Maximum time between two frames.
    pub heartbeat: Duration,
    /// Outcome of the start.
    pub outcome: StartOutcome,
    /// Start position; delivery begins strictly after it.
    pub place: TimedPosition,
    /// Missing interval.
    pub missing: Option<TimeInterval>,
    /// Gaps of the log that are open at the start.
    pub open_gaps: Vec<Gap>,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

/// A warning about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Machine-readable code.
    pub code: WarningCode,
    /// Text.
    pub message: String,
}

/// Code of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningCode {
    /// No post with a tag of the filter was observed, no known rule has it, and it is not configured.
    UnknownTag,
    /// The resume token was issued under another filter.
    FilterChanged,
    /// The upstream connection is down.
    UpstreamDown,
    /// The requested heartbeat interval was outside its bounds.
    HeartbeatClamped,
    /// A requested batch option was outside its bounds.
    BatchClamped,
    /// The name of the consumer was too long.
    ConsumerNameTruncated,
    /// The caller may see only a part of what the filter selects.
    FilterNarrowed,
}

/// A position and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedPosition {
    /// The position.
    pub position: Position,
    /// Receive time of its record.
    pub time: Option<UnixMillis>,
}

/// An encoded batch of posts.
#[derive(Debug)]
pub struct EventBatch {
    /// The posts, shared by all sessions that receive them.
    pub chunk: Arc<EncodedBatch>,
    /// Events delivered in the session, including these.
    pub delivered_total: u64,
}

/// Heartbeat.
#[derive(Debug)]
pub struct Heartbeat {
    /// Current time.
    pub now: UnixMillis,
    /// Everything created before this has been delivered or announced as a gap.
    pub low_watermark: UnixMillis,
    /// Distance to the tip.
    pub lag: Lag,
    /// State of the upstream connection.
    pub upstream: UpstreamState,
    /// Time since the last byte was received.
    pub upstream_age: Option<Duration>,
    /// Events delivered in the session.
    pub delivered_total: u64,
}

/// Distance of a cursor to the tip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records not passed yet.
    pub records: u64,
    /// Age of the oldest of them.
    pub time: Duration,
}

/// Reason of a session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The gateway shuts down.
    Shutdown,
    /// An operator drains the gateway.
    Drained,
    /// An operator ends the session.
    Terminated,
    /// The session reached its maximum age.
    Rotated,
    /// The client's deadline.
    Deadline,
    /// Its position was trimmed before it was read.
    TooSlow,
    /// Too many sessions replay.
    ReplayLimit,
    /// Too many sessions of the caller replay.
    CallerReplayLimit,
    /// The journal cannot be read now.
    JournalUnavailable,
    /// The validity of the caller's credential is over.
    CredentialsExpired,
    /// The caller's credential is not accepted any more.
    CredentialsRevoked,
    /// The caller may not read the account any more.
    AccessRevoked,
    /// Other posts are visible to the caller than when the session began.
    RightsChanged,
}

impl EndReason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::Shutdown,
        Self::Drained,
        Self::Terminated,
        Self::Rotated,
        Self::Deadline,
        Self::TooSlow,
        Self::ReplayLimit,
        Self::CallerReplayLimit,
        Self::JournalUnavailable,
        Self::CredentialsExpired,
        Self::CredentialsRevoked,
        Self::AccessRevoked,
        Self::RightsChanged,
    ];

    /// Returns a short name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Drained => "drained",
            Self::Terminated => "terminated",
            Self::Rotated => "rotated",
            Self::Deadline => "deadline",
            Self::TooSlow => "too_slow",
            Self::ReplayLimit => "replay_limit",
            Self::CallerReplayLimit => "caller_replay_limit",
            Self::JournalUnavailable => "journal_unavailable",
            Self::CredentialsExpired => "credentials_expired",
            Self::CredentialsRevoked => "credentials_revoked",
            Self::AccessRevoked => "access_revoked",
            Self::RightsChanged => "rights_changed",
        }
    }
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// Reason.
    pub ending: EndReason,
    /// Last valid token.
    pub token: String,
    /// Delay before reconnecting.
    pub reconnect_after: Duration,
    /// Reason of the operator's request to end the session.
    pub reason: Option<Arc<str>>,
}
