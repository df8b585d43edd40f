//! Conversions from the model to proto messages, and of times from requests.

use std::time::Duration;

use crate::gateway::{MissingRange, MissingReason, StreamInfo};
use crate::hub::TagInfo;
use crate::hub::session::{self, EndReason, FrameContent, Heartbeat, Lag, SessionStart, TimedPosition, WarningCode};
use crate::hub::start::StartOutcome;
use crate::hub::status::replica_link::ReplicaStatus;
use crate::hub::status::upstream_status::{UpstreamNoticeKind, UpstreamState};
use crate::ingest::recovery::{JobState, JobStatus};
use crate::model::{
    AccountName, Gap, GapCause, GapEvidence, GapId, GapState, Skip, SkipReason, TimeInterval, TimeRange, UnixMillis,
};
use crate::proto::subscribe_response::Frame as Wire;
use crate::proto::{self, Phase};

mod rules;

/// Converts a frame other than a batch.
pub fn frame(content: FrameContent) -> Wire {
    match content {
        FrameContent::Start(start) => Wire::SessionStart(session_start(*start)),
        FrameContent::Batch(_) => unreachable!("batches are encoded by encode::batch, from bytes"),
        FrameContent::OpenGaps(_) => unreachable!("each is a frame of its own"),
        FrameContent::Heartbeat(beat) => Wire::Heartbeat(heartbeat(&beat)),
        FrameContent::CaughtUp(at) => Wire::CaughtUp(proto::CaughtUp { position: Some(position(&at)) }),
        FrameContent::FellBehind { place: at, lag: Lag { records, time } } => Wire::FellBehind(proto::FellBehind {
            position: Some(position(&at)),
            lag_records: records,
            lag: Some(duration(time)),
        }),
        FrameContent::Gap { sequence, gap: own } => {
            Wire::GapNotice(proto::GapNotice { sequence, gap: Some(gap(&own, own.id.is_private())) })
        }
        FrameContent::Skipped { sequence, skip } => Wire::Skipped(skipped(sequence, &skip)),
        FrameContent::News(notice) => {
            let kind = notice_kind(notice.kind).into();
            Wire::StreamNotice(proto::StreamNotice { kind, message: notice.message, ..proto::StreamNotice::default() })
        }
        FrameContent::Rules(notice) => {
            let effective_by = timestamp(notice.effective_by);
            Wire::StreamNotice(rules::notice(*notice, effective_by))
        }
        FrameContent::Draining { reason, deadline, reconnect_after } => Wire::Draining(proto::Draining {
            reason: drain_reason(reason).into(),
            deadline: Some(timestamp(deadline)),
            reconnect_after: Some(duration(reconnect_after)),
        }),
    }
}

fn session_start(start: SessionStart) -> proto::SessionStart {
    let warning = |own: session::Warning| proto::Warning { code: warning_code(own.code).into(), message: own.message };
    proto::SessionStart {
        session_id: start.session_id,
        server_version: env!("CARGO_PKG_VERSION").into(),
        account: start.account.to_string(),
        epoch: start.epoch.to_string(),
        heartbeat_interval: Some(duration(start.heartbeat)),
        outcome: outcome(start.outcome).into(),
        position: Some(position(&start.place)),
        missing: start.missing.iter().map(interval).collect(),
        open_gaps: start.open_gaps.iter().map(|own| gap(own, false)).collect(),
        warnings: start.warnings.into_iter().map(warning).collect(),
    }
}

fn heartbeat(beat: &Heartbeat) -> proto::Heartbeat {
    proto::Heartbeat {
        server_time: Some(timestamp(beat.now)),
        low_watermark: Some(timestamp(beat.low_watermark)),
        lag_records: beat.lag.records,
        lag: Some(duration(beat.lag.time)),
        upstream_state: upstream_state(beat.upstream).into(),
        upstream_age: beat.upstream_age.map(duration),
        delivered_total: beat.delivered_total,
    }
}

/// Converts a range of skipped messages or damaged records.
pub fn skipped(sequence: u64, skip: &Skip) -> proto::Skipped {
    let reason = match skip.reason {
        SkipReason::Malformed => proto::SkipReason::Malformed,
        SkipReason::Oversized => proto::SkipReason::Oversized,
        SkipReason::JournalCorrupt => proto::SkipReason::JournalCorrupt,
        SkipReason::ForeignFormat => proto::SkipReason::ForeignFormat,
    };
    proto::Skipped { sequence, count: skip.count, interval: Some(interval(&skip.window)), reason: reason.into() }
}

/// Converts a gap. `closed` and `complete` classify its state for clients that do not know the state.
pub fn gap(gap: &Gap, private: bool) -> proto::Gap {
    let evidence = match gap.evidence {
        GapEvidence::None => proto::GapEvidence::Unspecified,
        GapEvidence::CompletionMessage => proto::GapEvidence::CompletionMessage,
        GapEvidence::CleanEof => proto::GapEvidence::CleanEof,
        GapEvidence::BackfillQuiet => proto::GapEvidence::BackfillQuiet,
        GapEvidence::WindowPassed => proto::GapEvidence::WindowPassed,
        GapEvidence::Refused => proto::GapEvidence::Refused,
        GapEvidence::NothingDue => proto::GapEvidence::NothingDue,
        GapEvidence::CountMismatch => proto::GapEvidence::CountMismatch,
        GapEvidence::Unproven => proto::GapEvidence::Unproven,
        GapEvidence::PostOrder => proto::GapEvidence::PostOrder,
    };
    proto::Gap {
        gap_id: gap.id.to_string(),
        interval: Some(interval(&gap.window)),
        cause: gap_cause(gap.cause).into(),
        state: gap_state(gap.state).into(),
        closed: gap.state.is_final(),
        complete: gap.state.is_complete(),
        evidence: evidence.into(),
        complete_until: gap.progress.map(timestamp),
        recovered_count: gap.recovered,
        private,
    }
}

fn gap_cause(cause: GapCause) -> proto::GapCause {
    match cause {
        GapCause::Disconnected => proto::GapCause::Disconnected,
        GapCause::Stale => proto::GapCause::Stale,
        GapCause::SlowReader => proto::GapCause::SlowReader,
        GapCause::GatewayDown => proto::GapCause::GatewayDown,
        GapCause::JournalUnavailable => proto::GapCause::JournalUnavailable,
        GapCause::JournalCorrupt => proto::GapCause::JournalCorrupt,
        GapCause::Trimmed => proto::GapCause::Trimmed,
        GapCause::LogLost => proto::GapCause::LogLost,
        GapCause::TooManyConnections => proto::GapCause::TooManyConnections,
        GapCause::UsageCapped => proto::GapCause::UsageCap,
        GapCause::InvalidRules => proto::GapCause::InvalidRules,
    }
}

/// Converts the state of a gap.
pub fn gap_state(state: GapState) -> proto::GapState {
    match state {
        GapState::Detected => proto::GapState::Detected,
        GapState::Recovering => proto::GapState::Recovering,
        GapState::Backfilled => proto::GapState::Backfilled,
        GapState::Recovered => proto::GapState::Recovered,
        GapState::Unrecoverable => proto::GapState::Unrecoverable,
    }
}

/// Converts a missing part of an interval. A part that no gap explains has no id.
pub fn missing(missing: MissingRange) -> proto::Gap {
    let MissingRange { span, why } = missing;
    let clipped = match &why {
        MissingReason::Gap(own) => gap(own, false),
        MissingReason::Trimmed | MissingReason::NotYet => proto::Gap {
            cause: why.cause().map_or(proto::GapCause::Unspecified, gap_cause).into(),
            state: proto::GapState::Detected.into(),
            ..proto::Gap::default()
        },
    };
    proto::Gap { interval: Some(closed_interval(span)), ..clipped }
}

/// Converts the state of a recovery job.
pub fn recovery_job_state(state: JobState) -> proto::RecoveryJobState {
    match state {
        JobState::Waiting => proto::RecoveryJobState::Waiting,
        JobState::Running => proto::RecoveryJobState::Running,
        JobState::Succeeded => proto::RecoveryJobState::Succeeded,
        JobState::Failed => proto::RecoveryJobState::Failed,
        JobState::Cancelled => proto::RecoveryJobState::Cancelled,
    }
}

/// Maximum number of gap ids of a job.
const JOB_GAPS_MAX: usize = 1_000;

/// Converts a recovery job with the gaps that it closes a part of.
pub fn recovery_job(listed: &JobStatus, gaps: impl Iterator<Item = GapId>) -> proto::RecoveryJob {
    let JobStatus { job, retry_after } = listed;
    proto::RecoveryJob {
        job_id: job.id.to_string(),
        gap_ids: gaps.take(JOB_GAPS_MAX).map(|id| id.to_string()).collect(),
        interval: Some(closed_interval(job.window)),
        state: recovery_job_state(job.state).into(),
        complete_until: job.progress().map(timestamp),
        attempts: job.attempts,
        received_count: job.received,
        recovered_count: job.recovered,
        last_error: job.last_error.clone(),
        create_time: Some(timestamp(job.created)),
        end_time: job.ended.map(timestamp),
        retry_after: retry_after.map(duration),
        manual: job.manual,
        blocked_reason: blocked_reason(job.is_refused()),
    }
}

/// Returns the reason why recovery makes no progress; empty if X does not refuse it.
pub fn blocked_reason(refused: bool) -> String {
    if refused { "RECOVERY_NOT_ENTITLED".to_owned() } else { String::new() }
}

/// Maximum bytes of an account's last error.
pub const ERROR_BYTES_MAX: usize = 1_024;

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text
}

/// Converts the statistics of a tag.
pub fn tag_info(tag: &TagInfo) -> proto::TagInfo {
    proto::TagInfo {
        tag: tag.tag.to_string(),
        posts: tag.posts,
        posts_per_second: tag.per_second,
        configured: tag.configured,
    }
}

/// Converts the state of an open account.
pub fn stream_info(info: StreamInfo) -> proto::StreamInfo {
    proto::StreamInfo {
        account: info.account.to_string(),
        epoch: info.epoch.to_string(),
        earliest: info.earliest.as_ref().map(position),
        newest: info.newest.as_ref().map(position),
        upstream_state: upstream_state(info.upstream).into(),
        upstream_age: info.upstream_age.map(duration),
        upstream_last_error: bounded(info.upstream_last_error),
        low_watermark: info.low_watermark.map(timestamp),
        sessions: u32::try_from(info.sessions).unwrap_or(u32::MAX),
        recovery_blocked_reason: blocked_reason(info.recovery_refused),
        replica: info.replica.map(|(leads, own)| replica(leads, own)),
    }
}

fn replica(leads: bool, own: ReplicaStatus) -> proto::StreamReplica {
    let role = if leads { proto::ReplicaRole::Leader } else { proto::ReplicaRole::Follower };
    let ReplicaStatus { name, leader, lag_messages } = own;
    proto::StreamReplica { name, role: role.into(), leader, lag_messages }
}

/// Returns the state of an account whose log cannot be opened. The gateway's log contains the error, which names paths.
pub fn unopened_stream_info(account: &AccountName) -> proto::StreamInfo {
    proto::StreamInfo {
        account: account.to_string(),
        upstream_state: proto::UpstreamState::Stopped.into(),
        upstream_last_error: "the log of the account cannot be opened; the gateway tries again".into(),
        ..proto::StreamInfo::default()
    }
}

/// Converts the delivery phase of a batch.
pub fn phase(phase: session::Phase) -> Phase {
    match phase {
        session::Phase::Replay => Phase::Replay,
        session::Phase::Live => Phase::Live,
        session::Phase::Recovery => Phase::Recovery,
    }
}

/// Converts a position with its receive time.
pub fn position(place: &TimedPosition) -> proto::Position {
    proto::Position {
        epoch: place.position.epoch.to_string(),
        term: place.position.term.to_string(),
        sequence: place.position.sequence,
        time: place.time.map(timestamp),
    }
}

fn outcome(outcome: StartOutcome) -> proto::StartOutcome {
    match outcome {
        StartOutcome::Live => proto::StartOutcome::Live,
        StartOutcome::Exact => proto::StartOutcome::Exact,
        StartOutcome::TimeBounded => proto::StartOutcome::TimeBounded,
        StartOutcome::Clamped => proto::StartOutcome::Clamped,
    }
}

/// Converts an upstream state.
pub fn upstream_state(state: UpstreamState) -> proto::UpstreamState {
    match state {
        UpstreamState::Connecting => proto::UpstreamState::Connecting,
        UpstreamState::Connected => proto::UpstreamState::Connected,
        UpstreamState::BackingOff => proto::UpstreamState::BackingOff,
        UpstreamState::Stopped => proto::UpstreamState::Stopped,
    }
}

fn notice_kind(kind: UpstreamNoticeKind) -> proto::StreamNoticeKind {
    match kind {
        UpstreamNoticeKind::Connected => proto::StreamNoticeKind::UpstreamConnected,
        UpstreamNoticeKind::Reconnecting => proto::StreamNoticeKind::UpstreamReconnecting,
        UpstreamNoticeKind::AuthFailed => proto::StreamNoticeKind::UpstreamAuthFailed,
        UpstreamNoticeKind::UsageCap => proto::StreamNoticeKind::UpstreamUsageCap,
        UpstreamNoticeKind::Limited => proto::StreamNoticeKind::UpstreamLimited,
    }
}

fn drain_reason(ending: EndReason) -> proto::DrainReason {
    match ending {
        EndReason::Rotated => proto::DrainReason::SessionRotated,
        EndReason::Shutdown | EndReason::Drained => proto::DrainReason::Shutdown,
        EndReason::Terminated => proto::DrainReason::Terminated,
        EndReason::CredentialsExpired => proto::DrainReason::CredentialsExpire,
        // These sessions end with a status only, without a Draining frame.
        EndReason::Deadline
        | EndReason::TooSlow
        | EndReason::ReplayLimit
        | EndReason::CallerReplayLimit
        | EndReason::JournalUnavailable
        | EndReason::CredentialsRevoked
        | EndReason::AccessRevoked
        | EndReason::RightsChanged => proto::DrainReason::Unspecified,
    }
}

fn interval(window: &TimeInterval) -> proto::TimeInterval {
    proto::TimeInterval { start_time: Some(timestamp(window.from)), end_time: window.to.map(timestamp) }
}

fn closed_interval(range: TimeRange) -> proto::TimeInterval {
    interval(&TimeInterval { from: range.from, to: Some(range.to) })
}

fn warning_code(code: WarningCode) -> proto::WarningCode {
    match code {
        WarningCode::UnknownTag => proto::WarningCode::UnknownTag,
        WarningCode::FilterChanged => proto::WarningCode::FilterChanged,
        WarningCode::UpstreamDown => proto::WarningCode::UpstreamDown,
        WarningCode::HeartbeatClamped => proto::WarningCode::HeartbeatClamped,
        WarningCode::BatchClamped => proto::WarningCode::BatchClamped,
        WarningCode::ConsumerNameTruncated => proto::WarningCode::ConsumerNameTruncated,
        WarningCode::FilterNarrowed => proto::WarningCode::FilterNarrowed,
    }
}

/// Converts a time to its proto message.
pub fn timestamp(time: UnixMillis) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1_000) * 1_000_000).expect("less than a second");
    prost_types::Timestamp { seconds: time.0.div_euclid(1_000), nanos }
}

/// Converts a duration to its proto message.
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).expect("less than a second"),
    }
}

/// Converts a time of a request; `None` if it is outside the years 1970 to 9999.
pub fn from_timestamp(time: &prost_types::Timestamp) -> Option<UnixMillis> {
    /// End of year 9999, the last that a Timestamp may contain (its definition).
    const SECONDS_MAX: i64 = 253_402_300_799;
    let valid = (0..=SECONDS_MAX).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    valid.then(|| UnixMillis(time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000))
}

/// Converts a duration of a request; `None` if it is malformed or negative.
pub fn from_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}
