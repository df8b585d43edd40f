use std::time::Duration;

use super::start::from_proto_duration;
use crate::escape::line;
use crate::model::UnixMillis;
use crate::proto::subscribe_response::Frame;
use crate::proto::{Draining, Gap, GapEvidence, GapState, SessionStart, Skipped, StreamNotice, TimeInterval};

/// What a frame says, in words for a person; `None` for posts and heartbeats.
pub fn of(frame: &Frame) -> Option<String> {
    match frame {
        Frame::EventBatch(_) | Frame::Heartbeat(_) => None,
        Frame::SessionStart(start) => Some(session(start)),
        Frame::CaughtUp(_) => Some("caught up: live from here".into()),
        Frame::FellBehind(behind) => Some(format!(
            "fell behind by {} records ({}): reading the journal, nothing is lost",
            behind.lag_events,
            length(behind.lag)
        )),
        Frame::GapNotice(notice) => notice.gap.as_ref().map(gap),
        Frame::Skipped(skipped) => Some(skip(skipped)),
        Frame::StreamNotice(notice) => Some(upstream(notice)),
        Frame::Draining(draining) => Some(describe_draining(draining)),
    }
}

fn session(start: &SessionStart) -> String {
    let mut text = format!(
        "session {} with gateway {} on account {}: {}",
        line(&start.session_id),
        line(&start.server_version),
        line(&start.account),
        name(start.outcome().as_str_name(), "START_OUTCOME_")
    );
    if let Some(missing) = &start.missing {
        text.push_str(&format!("; MISSING {}", interval(missing)));
    }
    for warning in &start.warnings {
        text.push_str(&format!("\nwarning {}: {}", line(&warning.code), line(&warning.message)));
    }
    for open in &start.open_gaps {
        text.push_str(&format!("\n{}", gap(open)));
    }
    text
}

fn gap(gap: &Gap) -> String {
    let window = TimeInterval { from: gap.from, to: gap.to };
    let state = name(gap.state().as_str_name(), "GAP_STATE_");
    let cause = name(gap.cause().as_str_name(), "GAP_CAUSE_");
    let evidence = match gap.evidence() {
        GapEvidence::Unspecified => String::new(),
        evidence => format!("; {}", name(evidence.as_str_name(), "GAP_EVIDENCE_")),
    };
    let whose = if gap.private { "of this consumer " } else { "" };
    let what = match gap.state() {
        GapState::Detected | GapState::Recovering => "posts may be missing",
        GapState::Unrecoverable => "POSTS ARE LOST",
        _ => "nothing of it is missing any more",
    };
    let brought = gap.recovered_count;
    let gap = line(&gap.gap_id);
    format!("gap {gap} {whose}{state}: {} ({cause}{evidence}): {what}, {brought} posts brought back", interval(&window))
}

fn skip(skipped: &Skipped) -> String {
    let reason = name(skipped.reason().as_str_name(), "SKIP_REASON_");
    let when = skipped.interval.as_ref().map(interval).unwrap_or_default();
    format!("SKIPPED {} ({reason}) {when}", skipped.count)
}

fn upstream(notice: &StreamNotice) -> String {
    let kind = name(notice.kind().as_str_name(), "STREAM_NOTICE_KIND_");
    if notice.message.is_empty() { kind } else { format!("{kind}: {}", line(&notice.message)) }
}

fn describe_draining(draining: &Draining) -> String {
    let reason = name(draining.reason().as_str_name(), "DRAIN_REASON_");
    format!(
        "the gateway ends this session soon ({reason}); it asks to come back after {}",
        length(draining.reconnect_after)
    )
}

/// The name of an enum's value without its prefix, as words.
fn name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_lowercase().replace('_', " ")
}

fn interval(interval: &TimeInterval) -> String {
    let side = |time: Option<prost_types::Timestamp>, absent: &str| time.map_or_else(|| absent.into(), instant);
    format!("from {} to {}", side(interval.from, "an unknown time"), side(interval.to, "now"))
}

fn instant(time: prost_types::Timestamp) -> String {
    let millis = time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000));
    UnixMillis(millis).to_string()
}

fn length(duration: Option<prost_types::Duration>) -> String {
    let duration = duration.and_then(from_proto_duration).unwrap_or_default();
    humantime::format_duration(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{GapCause, GapNotice, SkipReason, StartOutcome, Warning};

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn check(frame: Frame, expected: &str) {
        assert_eq!(of(&frame).as_deref(), Some(expected));
    }

    /// A hostile gateway drove the terminal of whoever looked.
    #[test]
    fn strings_of_gateway_are_escaped() {
        let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}x\nerror: forged".to_string();
        let frames = [
            Frame::SessionStart(SessionStart {
                session_id: hostile.clone(),
                server_version: hostile.clone(),
                account: hostile.clone(),
                warnings: vec![Warning { code: hostile.clone(), message: hostile.clone() }],
                open_gaps: vec![Gap { gap_id: hostile.clone(), ..Gap::default() }],
                ..SessionStart::default()
            }),
            Frame::StreamNotice(StreamNotice { message: hostile.clone(), ..StreamNotice::default() }),
            Frame::GapNotice(GapNotice { sequence: 1, gap: Some(Gap { gap_id: hostile, ..Gap::default() }) }),
        ];
        for frame in frames {
            let words = of(&frame).expect("something is said");
            assert!(!words.chars().any(|c| c != '\n' && crate::escape::is_unsafe(c)), "{words:?}");
            assert!(!words.contains("\nerror"), "{words:?}");
        }
    }

    #[test]
    fn control_frames_are_described_in_words() {
        check(
            Frame::SessionStart(SessionStart {
                session_id: "s1".into(),
                server_version: "0.1.0".into(),
                account: "main".into(),
                outcome: StartOutcome::Clamped.into(),
                missing: Some(TimeInterval { from: at(0), to: at(60) }),
                warnings: vec![Warning { code: "UNKNOWN_TAG".into(), message: "did you mean cats?".into() }],
                ..SessionStart::default()
            }),
            "session s1 with gateway 0.1.0 on account main: clamped; MISSING from 1970-01-01T00:00:00.000Z to \
             1970-01-01T00:01:00.000Z\nwarning UNKNOWN_TAG: did you mean cats?",
        );
        check(
            Frame::GapNotice(GapNotice {
                sequence: 4,
                gap: Some(Gap {
                    gap_id: "g1".into(),
                    from: at(0),
                    cause: GapCause::SlowReader.into(),
                    state: GapState::Detected.into(),
                    ..Gap::default()
                }),
            }),
            "gap g1 detected: from 1970-01-01T00:00:00.000Z to now (slow reader): posts may be missing, 0 posts brought back",
        );
        check(
            Frame::Skipped(Skipped { count: 3, reason: SkipReason::Oversized.into(), ..Skipped::default() }),
            "SKIPPED 3 (oversized) ",
        );
    }

    #[test]
    fn unknown_enum_values_do_not_panic() {
        let far = prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX };
        let gap = Gap { state: 99, cause: -1, from: Some(far), to: Some(far), ..Gap::default() };
        assert!(of(&Frame::GapNotice(GapNotice { sequence: 0, gap: Some(gap) })).is_some());
        let odd = prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN };
        assert!(of(&Frame::Draining(Draining { reconnect_after: Some(odd), ..Draining::default() })).is_some());
    }
}
