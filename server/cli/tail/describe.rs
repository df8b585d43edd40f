use std::time::Duration;

use super::start::from_proto_duration;
use crate::escape::line;
use crate::model::UnixMillis;
use crate::proto::subscribe_response::Frame;
use crate::proto::{Draining, Gap, GapEvidence, SessionStart, Skipped, StreamNotice, TimeInterval};

/// Describes a frame for people; `None` for events and heartbeats.
pub fn of(frame: &Frame) -> Option<String> {
    match frame {
        Frame::EventBatch(_) | Frame::Heartbeat(_) => None,
        Frame::SessionStart(start) => Some(session(start)),
        Frame::CaughtUp(_) => Some("caught up: live from here".into()),
        Frame::FellBehind(behind) => Some(format!(
            "fell behind by {} records ({}): reading the journal, nothing is lost",
            behind.lag_records,
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
    for missing in &start.missing {
        text.push_str(&format!("; MISSING {}", interval(missing)));
    }
    for warning in &start.warnings {
        let code = name(warning.code().as_str_name(), "WARNING_CODE_");
        text.push_str(&format!("\nwarning ({code}): {}", line(&warning.message)));
    }
    for open in &start.open_gaps {
        text.push_str(&format!("\n{}", gap(open)));
    }
    text
}

fn gap(gap: &Gap) -> String {
    let state = name(gap.state().as_str_name(), "GAP_STATE_");
    let cause = name(gap.cause().as_str_name(), "GAP_CAUSE_");
    let evidence = match gap.evidence() {
        GapEvidence::Unspecified => String::new(),
        evidence => format!("; {}", name(evidence.as_str_name(), "GAP_EVIDENCE_")),
    };
    let scope = if gap.private { "of this consumer " } else { "" };
    let result = match (gap.closed, gap.complete) {
        (_, true) => "every missing post was delivered",
        (true, false) => "POSTS ARE LOST",
        (false, false) => "posts may be missing",
    };
    let when = interval(&gap.interval.unwrap_or_default());
    let id = line(&gap.gap_id);
    format!("gap {id} {scope}{state}: {when} ({cause}{evidence}): {result}, {} posts recovered", gap.recovered_count)
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
        "draining ({reason}): the gateway ends this session soon; reconnect after {}",
        length(draining.reconnect_after)
    )
}

/// Returns the name of an enum value without its prefix, as words.
fn name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_lowercase().replace('_', " ")
}

fn interval(interval: &TimeInterval) -> String {
    let side = |time: Option<prost_types::Timestamp>, absent: &str| time.map_or_else(|| absent.into(), instant);
    format!("from {} to {}", side(interval.start_time, "an unknown time"), side(interval.end_time, "now"))
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
    use crate::proto::{GapCause, GapNotice, GapState, SkipReason, StartOutcome, Warning, WarningCode};

    fn between(start: i64, end: Option<i64>) -> TimeInterval {
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        TimeInterval { start_time: Some(at(start)), end_time: end.map(at) }
    }

    fn check(frame: Frame, expected: &str) {
        assert_eq!(of(&frame).as_deref(), Some(expected));
    }

    /// Control characters of a hostile gateway do not reach the terminal.
    #[test]
    fn strings_of_gateway_are_escaped() {
        let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}x\nerror: forged".to_string();
        let frames = [
            Frame::SessionStart(SessionStart {
                session_id: hostile.clone(),
                server_version: hostile.clone(),
                account: hostile.clone(),
                warnings: vec![Warning { code: i32::MIN, message: hostile.clone() }],
                open_gaps: vec![Gap { gap_id: hostile.clone(), ..Gap::default() }],
                ..SessionStart::default()
            }),
            Frame::StreamNotice(StreamNotice { message: hostile.clone(), ..StreamNotice::default() }),
            Frame::GapNotice(GapNotice { sequence: 1, gap: Some(Gap { gap_id: hostile, ..Gap::default() }) }),
        ];
        for frame in frames {
            let words = of(&frame).expect("a description");
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
                missing: vec![between(0, Some(60)), between(90, Some(120))],
                warnings: vec![Warning { code: WarningCode::UnknownTag.into(), message: "did you mean cats?".into() }],
                ..SessionStart::default()
            }),
            "session s1 with gateway 0.1.0 on account main: clamped; MISSING from 1970-01-01T00:00:00.000Z to \
             1970-01-01T00:01:00.000Z; MISSING from 1970-01-01T00:01:30.000Z to 1970-01-01T00:02:00.000Z\n\
             warning (unknown tag): did you mean cats?",
        );
        check(
            Frame::GapNotice(GapNotice {
                sequence: 4,
                gap: Some(Gap {
                    gap_id: "g1".into(),
                    interval: Some(between(0, None)),
                    cause: GapCause::SlowReader.into(),
                    state: GapState::Detected.into(),
                    ..Gap::default()
                }),
            }),
            "gap g1 detected: from 1970-01-01T00:00:00.000Z to now (slow reader): posts may be missing, 0 posts recovered",
        );
        check(
            Frame::Skipped(Skipped { count: 3, reason: SkipReason::Oversized.into(), ..Skipped::default() }),
            "SKIPPED 3 (oversized) ",
        );
    }

    /// A state that a later version adds is classified by `closed` and `complete`.
    #[test]
    fn gap_result_follows_closed_and_complete() {
        for state in [GapState::Detected as i32, GapState::Recovered as i32, GapState::Unrecoverable as i32, 99] {
            for (closed, complete, expected) in [
                (false, false, "posts may be missing"),
                (true, false, "POSTS ARE LOST"),
                (true, true, "every missing post was delivered"),
            ] {
                let gap = Gap { state, closed, complete, ..Gap::default() };
                let words = of(&Frame::GapNotice(GapNotice { sequence: 1, gap: Some(gap) })).expect("a description");
                assert!(words.contains(expected), "{words}");
            }
        }
    }

    #[test]
    fn unknown_enum_values_do_not_panic() {
        let far = prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX };
        let interval = Some(TimeInterval { start_time: Some(far), end_time: Some(far) });
        let gap = Gap { state: 99, cause: -1, interval, ..Gap::default() };
        assert!(of(&Frame::GapNotice(GapNotice { sequence: 0, gap: Some(gap) })).is_some());
        let odd = prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN };
        assert!(of(&Frame::Draining(Draining { reconnect_after: Some(odd), ..Draining::default() })).is_some());
    }
}
