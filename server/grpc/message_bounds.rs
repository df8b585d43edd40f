//! The longest messages of each kind: none exceeds 2 MiB, whatever X sends and however many gaps there are.

use bytes::Buf;
use prost::Message;

use super::convert;
use super::encode::batch;
use crate::gateway::{MissingRange, MissingReason};
use crate::hub::session::{Frame, FrameContent, START_GAPS_MAX, SessionStart, TimedPosition, Warning};
use crate::hub::start::StartOutcome;
use crate::hub::status::upstream_status::{UpstreamNotice, UpstreamNoticeKind};
use crate::model::{
    AccountName, Epoch, Gap, GapCause, GapEvidence, GapId, GapState, Position, Skip, SkipReason, Term, TimeInterval,
    UnixMillis,
};
use crate::proto::subscribe_response::Frame as Wire;
use crate::proto::{GapNotice, GetCoverageResponse, SubscribeResponse};

const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// The last moment that a message can tell.
const LATE: UnixMillis = UnixMillis(253_402_300_799_999);

fn gap() -> Gap {
    Gap {
        id: GapId(u64::MAX >> 1),
        window: TimeInterval { from: LATE, to: Some(LATE) },
        cause: GapCause::InvalidRules,
        state: GapState::Unrecoverable,
        evidence: GapEvidence::Unproven,
        progress: Some(LATE),
        recovered: u64::MAX,
    }
}

fn check(what: &str, content: FrameContent) {
    let frame = SubscribeResponse { resume_token: "t".repeat(1_024), frame: Some(convert::frame(content)) };
    assert!(frame.encoded_len() <= MESSAGE_BYTES_MAX, "{what}: {}", frame.encoded_len());
}

#[test]
fn longest_frames_fit_message() {
    let position = Position { epoch: Epoch(u128::MAX), term: Term(u64::MAX), sequence: u64::MAX };
    // An unknown tag and the one that is near it, of 255 characters that are escaped with ten each.
    let warning = || Warning { code: "UNKNOWN_TAG", message: "x".repeat(2 * 255 * 10 + 100) };
    let start = SessionStart {
        session_id: "s".repeat(16),
        account: AccountName::new("a").expect("a name"),
        epoch: position.epoch,
        heartbeat: std::time::Duration::from_secs(60),
        outcome: StartOutcome::TimeBounded,
        place: TimedPosition { position, time: Some(LATE) },
        missing: Some(gap().window),
        open_gaps: vec![gap(); START_GAPS_MAX],
        warnings: (0..20).map(|_| warning()).collect(),
    };
    check("SessionStart", FrameContent::Start(Box::new(start)));
    // What X says is cut to 300 characters where it is read, of a problem its title and its detail.
    let words = "\u{10ffff}".repeat(2 * 300);
    check("StreamNotice", FrameContent::News(UpstreamNotice { kind: UpstreamNoticeKind::Limited, message: words }));
    check("GapNotice", FrameContent::Gap { sequence: u64::MAX, gap: gap() });
    assert!(GapNotice { sequence: u64::MAX, gap: Some(convert::gap(&gap(), true)) }.encoded_len() < 200);
}

/// 4,000 open gaps in a frame each, not read, made h2 close the connection of a Rust client.
#[tokio::test]
async fn open_gaps_are_messages_of_one_piece() {
    let frame = Frame { token: None, content: FrameContent::OpenGaps(vec![gap(); 100]) };
    let mut piece = batch::message(frame, None).await;
    let mut told = 0;
    while piece.has_remaining() {
        assert_eq!(piece.get_u8(), 0, "not compressed");
        let length = piece.get_u32() as usize;
        let response = SubscribeResponse::decode(piece.copy_to_bytes(length)).expect("a message");
        let Some(Wire::GapNotice(notice)) = response.frame else { panic!("{response:?}") };
        assert_eq!((notice.sequence, notice.gap), (0, Some(convert::gap(&gap(), false))));
        told += 1;
    }
    assert_eq!(told, 100);
}

#[test]
fn longest_coverage_fits_message() {
    let skip = Skip { reason: SkipReason::ForeignFormat, count: u64::MAX, window: gap().window };
    let missing =
        || MissingRange { span: crate::model::TimeRange::new(LATE, LATE), why: MissingReason::Gap(Box::new(gap())) };
    let answer = GetCoverageResponse {
        missing: (0..crate::gateway::MISSING_MAX).map(|_| convert::missing(missing())).collect(),
        skipped: (0..crate::gateway::SKIPS_MAX).map(|_| convert::skipped(u64::MAX, &skip)).collect(),
        ..GetCoverageResponse::default()
    };
    assert!(answer.encoded_len() <= MESSAGE_BYTES_MAX / 4, "{}", answer.encoded_len());
}
