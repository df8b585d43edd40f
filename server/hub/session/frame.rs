use std::sync::Arc;
use std::time::Duration;

use super::super::entry::batch::EncodedBatch;
use super::super::start::StartOutcome;
use super::super::status::upstream_status::{UpstreamNotice, UpstreamState};
use crate::model::{AccountName, Epoch, Gap, Position, Sequence, Skip, TimeInterval, UnixMillis};

/// One frame of a session.
#[derive(Debug)]
pub struct Frame {
    /// Covers everything up to and in this frame; not set where the frame moves nothing.
    pub token: Option<String>,
    /// What it says.
    pub content: FrameContent,
}

/// What a frame says.
#[derive(Debug)]
pub enum FrameContent {
    /// How the session begins.
    Start(Box<SessionStart>),
    /// Posts.
    Batch(EventBatch),
    /// Sign of life.
    Heartbeat(Heartbeat),
    /// The session stands at the tip.
    CaughtUp(TimedPosition),
    /// The session left the hot tail.
    FellBehind {
        /// Where it stands.
        place: TimedPosition,
        /// How far behind the tip.
        lag: Lag,
    },
    /// A gap began, changed or ended.
    Gap {
        /// Record that says so; 0 for a private gap.
        sequence: Sequence,
        /// The gap as it is now.
        gap: Gap,
    },
    /// Gaps that were open where the session begins and are not in its start: a message for each, together in one piece,
    /// for HTTP/2 libraries close a connection on which many small pieces wait to be read.
    OpenGaps(Vec<Gap>),
    /// Something could not be taken or given.
    Skipped {
        /// Record that says so.
        sequence: Sequence,
        /// What.
        skip: Skip,
    },
    /// Something to know about the upstream.
    News(UpstreamNotice),
    /// The session is about to end.
    Draining {
        /// Why.
        reason: EndReason,
        /// When the stream ends at the latest.
        deadline: UnixMillis,
        /// When to come back.
        reconnect_after: Duration,
    },
}

/// How a session begins.
#[derive(Debug)]
pub struct SessionStart {
    /// Id of the session.
    pub session_id: String,
    /// Account read.
    pub account: AccountName,
    /// The log.
    pub epoch: Epoch,
    /// How often the session hears from the gateway at the least.
    pub heartbeat: Duration,
    /// How the start was met.
    pub outcome: StartOutcome,
    /// Strictly after this.
    pub place: TimedPosition,
    /// What is missing.
    pub missing: Option<TimeInterval>,
    /// Gaps of the log that are open where it begins.
    pub open_gaps: Vec<Gap>,
    /// Advice.
    pub warnings: Vec<Warning>,
}

/// Advice on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// For programs.
    pub code: WarningCode,
    /// For people.
    pub message: String,
}

/// Code of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningCode {
    /// No post with a tag of the filter was observed, and the tag is not configured.
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
}

/// A position and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedPosition {
    /// The position.
    pub position: Position,
    /// When its record was received.
    pub time: Option<UnixMillis>,
}

/// Posts, encoded already.
#[derive(Debug)]
pub struct EventBatch {
    /// The posts, and what all that get them share.
    pub chunk: Arc<EncodedBatch>,
    /// Events delivered in the session, these included.
    pub delivered_total: u64,
}

/// Sign of life.
#[derive(Debug)]
pub struct Heartbeat {
    /// The time.
    pub now: UnixMillis,
    /// Everything created before this has been delivered, or told as a gap.
    pub low_watermark: UnixMillis,
    /// How far behind the tip.
    pub lag: Lag,
    /// State of the upstream connection.
    pub upstream: UpstreamState,
    /// How long ago the last byte came.
    pub upstream_age: Option<Duration>,
    /// Events delivered in the session.
    pub delivered_total: u64,
}

/// How far a cursor is behind the tip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records not passed yet.
    pub records: u64,
    /// The same in time.
    pub time: Duration,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The gateway stops.
    Shutdown,
    /// It reached its greatest age.
    Rotated,
    /// The client's own deadline.
    Deadline,
    /// Its position was trimmed before it was read.
    TooSlow,
    /// Too many sessions replay.
    ReplayLimit,
    /// The journal cannot be read now.
    JournalUnavailable,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// Why.
    pub ending: EndReason,
    /// The last valid token.
    pub token: String,
    /// When to come back.
    pub reconnect_after: Duration,
}
