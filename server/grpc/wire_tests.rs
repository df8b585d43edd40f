//! Tests of encoded messages: bounds (none exceeds 2 MiB, whatever X sends and however many gaps there are) and wire rules.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use bytes::Buf;
use prost::Message;
use prost_types::DescriptorProto;

use super::convert;
use super::encode::batch;
use super::encode::compress::MessageEncoding;
use crate::gateway::{MissingRange, MissingReason};
use crate::hub::entry::batch::EncodedBatch;
use crate::hub::filter::RulesNotice;
use crate::hub::session::{
    EventBatch, Frame, FrameContent, Phase, START_GAPS_MAX, SessionStart, TimedPosition, Warning, WarningCode,
};
use crate::hub::start::StartOutcome;
use crate::hub::status::upstream_status::{UpstreamNotice, UpstreamNoticeKind};
use crate::model::{
    AccountName, Epoch, Gap, GapCause, GapEvidence, GapId, GapState, Position, Rule, RulesCause, RulesChange, Skip,
    SkipReason, Term, TimeInterval, UnixMillis,
};
use crate::proto::subscribe_response::Frame as Wire;
use crate::proto::{GapNotice, GetCoverageResponse, SubscribeResponse};

const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// The last moment that a message can contain.
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

/// A change of as many rules as a record has, with the longest tags, of which the filter names all.
fn longest_change() -> RulesNotice {
    let tag = |id: u64| format!("{id:\u{10ffff}>255}").into();
    let rule = |id: u64| Rule { id: Some(u64::MAX - id), tag: Some(tag(id)) };
    RulesNotice {
        sequence: u64::MAX,
        revision: u64::MAX,
        added: Vec::new(),
        removed: (0..RulesChange::RULES_MAX as u64).map(rule).collect(),
        cause: RulesCause::Elsewhere,
        effective_by: LATE,
        orphaned_tags: (0..RulesChange::RULES_MAX as u64).map(tag).collect(),
    }
}

#[test]
fn longest_frames_fit_message() {
    let position = Position { epoch: Epoch(u128::MAX), term: Term(u64::MAX), sequence: u64::MAX };
    // An unknown tag and the one that is near it, of 255 characters that are escaped with ten each.
    let warning = || Warning { code: WarningCode::UnknownTag, message: "x".repeat(2 * 255 * 10 + 100) };
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
    // Texts of X are truncated to 300 characters where it is read, of a problem its title and its detail.
    let words = "\u{10ffff}".repeat(2 * 300);
    check("StreamNotice", FrameContent::News(UpstreamNotice { kind: UpstreamNoticeKind::Limited, message: words }));
    check("RULES_CHANGED", FrameContent::Rules(Box::new(longest_change())));
    check("GapNotice", FrameContent::Gap { sequence: u64::MAX, gap: gap() });
    assert!(GapNotice { sequence: u64::MAX, gap: Some(convert::gap(&gap(), true)) }.encoded_len() < 200);
}

/// 4,000 open gaps in a frame each, not read, made h2 close the connection of a Rust client.
#[tokio::test]
async fn open_gaps_are_messages_of_one_piece() {
    let frame = Frame { token: None, content: FrameContent::OpenGaps(vec![gap(); 100]) };
    let mut piece = batch::message(frame, None).await;
    let mut notices = 0;
    while piece.has_remaining() {
        assert_eq!(piece.get_u8(), 0, "not compressed");
        let length = piece.get_u32() as usize;
        let response = SubscribeResponse::decode(piece.copy_to_bytes(length)).expect("a message");
        let Some(Wire::GapNotice(notice)) = response.frame else { panic!("{response:?}") };
        assert_eq!((notice.sequence, notice.gap), (0, Some(convert::gap(&gap(), false))));
        notices += 1;
    }
    assert_eq!(notices, 100);
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

/// A client stores the token of a frame whose kind it does not know. A kind that carries events must therefore be requested by
/// a capability: only EventBatch, which every client knows, needs none.
#[test]
fn frame_kinds_with_events_need_capability() {
    let files = prost_types::FileDescriptorSet::decode(crate::proto::DESCRIPTORS).expect("descriptors").file;
    let messages: HashMap<String, &DescriptorProto> = files
        .iter()
        .flat_map(|file| file.message_type.iter().map(move |own| (format!(".{}.{}", file.package(), own.name()), own)))
        .collect();
    let package = ".powerstream.gateway.v1";
    let carries_events = |kind: &str| {
        let (mut seen, mut next) = (HashSet::new(), vec![kind.to_owned()]);
        while let Some(name) = next.pop() {
            let fields = messages.get(&name).map(|message| &message.field[..]).unwrap_or_default();
            next.extend(
                fields.iter().map(|field| field.type_name().to_owned()).filter(|name| seen.insert(name.clone())),
            );
        }
        seen.contains(&format!("{package}.Event"))
    };
    let capabilities: HashSet<&str> = files
        .iter()
        .flat_map(|file| &file.enum_type)
        .filter(|own| own.name() == "Capability")
        .flat_map(|own| own.value.iter().map(|value| value.name()))
        .collect();
    assert!(capabilities.contains("CAPABILITY_UNSPECIFIED"), "{capabilities:?}");
    let response = messages[&format!("{package}.SubscribeResponse")];
    let kinds: Vec<_> = response.field.iter().filter(|field| field.oneof_index.is_some()).collect();
    assert!(kinds.len() >= 9 && carries_events(&format!("{package}.EventBatch")), "{}", kinds.len());
    for kind in kinds.iter().filter(|kind| kind.name() != "event_batch" && carries_events(kind.type_name())) {
        let capability = format!("CAPABILITY_{}", kind.name().to_uppercase());
        assert!(capabilities.contains(capability.as_str()), "{} carries events: add {capability}", kind.name());
    }
}

/// `closed` and `complete` classify every state.
#[test]
fn gap_reports_closed_and_complete() {
    for (state, closed, complete) in [
        (GapState::Detected, false, false),
        (GapState::Recovering, false, false),
        (GapState::Backfilled, true, true),
        (GapState::Recovered, true, true),
        (GapState::Unrecoverable, true, false),
    ] {
        let own = convert::gap(&Gap { state, ..gap() }, false);
        assert_eq!((own.closed, own.complete), (closed, complete), "{state:?}");
    }
}

/// The term is encoded without prost, plain and compressed.
#[tokio::test]
async fn batch_contains_term_as_text() {
    for (term, text) in [(Term(0xab), "00000000000000ab"), (Term(u64::MAX), "ffffffffffffffff"), (Term(0), "")] {
        for encoding in [None, Some(MessageEncoding::Gzip)] {
            let chunk = Arc::new(EncodedBatch::new(Vec::new(), Phase::Live, (term, true), 1));
            let content = FrameContent::Batch(EventBatch { chunk, delivered_total: 7 });
            let mut piece = batch::message(Frame { token: Some("t".into()), content }, encoding).await;
            assert_eq!(piece.get_u8(), u8::from(encoding.is_some()));
            let length = piece.get_u32() as usize;
            let bytes = piece.copy_to_bytes(length);
            let mut plain = Vec::new();
            match encoding {
                None => plain.extend_from_slice(&bytes),
                Some(_) => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip")),
            }
            let response = SubscribeResponse::decode(&plain[..]).expect("a message");
            let Some(Wire::EventBatch(own)) = response.frame else { panic!("{response:?}") };
            assert_eq!((own.term.as_str(), own.delivered_total, own.possible_duplicate), (text, 7, true));
            assert_eq!((own.phase(), response.resume_token.as_str()), (crate::proto::Phase::Live, "t"));
        }
    }
}
