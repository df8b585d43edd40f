//! Frames as lines for people: the table "stderr" of PROTOCOL.md, with details behind a semicolon.

use std::time::Duration;

use prost_types::Timestamp;

use crate::delivery::Disconnected;
use crate::proto::subscribe_response::Frame;
use crate::proto::{
    DrainReason, Draining, FellBehind, Gap, GapCause, GapEvidence, GapState, SessionStart, SkipReason, Skipped,
    StartOutcome, StreamNotice, StreamNoticeKind, TimeInterval, WarningCode,
};
use crate::wire_time::from_wire;

/// Describes a frame; nothing for events and heartbeats, nor for missing intervals and gaps of a start.
pub(crate) fn frame(frame: &Frame) -> Vec<String> {
    match frame {
        Frame::EventBatch(_) | Frame::Heartbeat(_) => Vec::new(),
        Frame::SessionStart(start) => session_start(start),
        Frame::CaughtUp(_) => vec!["caught up: live from here".into()],
        Frame::FellBehind(behind) => vec![fell_behind(behind)],
        Frame::GapNotice(notice) => notice.gap.iter().map(gap).collect(),
        Frame::Skipped(range) => vec![skipped(range)],
        Frame::StreamNotice(notice) => vec![stream_notice(notice)],
        Frame::Draining(frame) => vec![draining(frame)],
    }
}

/// Describes the end of a session.
pub(crate) fn disconnected(end: &Disconnected) -> String {
    let kind = if end.violation.is_some() { "UNSOUND" } else { "disconnected" };
    format!("{kind}: {}; reconnecting in {}", printable(&end.cause), seconds(end.retry_in))
}

fn session_start(start: &SessionStart) -> Vec<String> {
    let outcome = name(start.outcome, |value| Some(StartOutcome::try_from(value).ok()?.as_str_name()));
    let mut lines = vec![format!(
        "session {} with gateway {} on account {}: {outcome}",
        printable(&start.session_id),
        printable(&start.server_version),
        printable(&start.account),
    )];
    lines.extend(start.warnings.iter().map(|warning| {
        let code = name(warning.code, |value| Some(WarningCode::try_from(value).ok()?.as_str_name()));
        format!("warning ({code}): {}", printable(&warning.message))
    }));
    lines
}

/// Describes an interval that is not delivered.
pub(crate) fn missing(missing: &TimeInterval) -> String {
    format!("missing: {}", interval(missing))
}

fn fell_behind(behind: &FellBehind) -> String {
    let lag = behind.lag.and_then(from_wire).map(|lag| format!("; {} of records", seconds(lag))).unwrap_or_default();
    format!("fell behind by {} records: late, nothing is lost{lag}", behind.lag_records)
}

/// Describes a gap.
pub(crate) fn gap(gap: &Gap) -> String {
    let scope = if gap.private { " of this consumer" } else { "" };
    let state = gap_state(gap);
    let cause = name(gap.cause, |value| Some(GapCause::try_from(value).ok()?.as_str_name()));
    // Not by the state: a newer gateway may have further states.
    let result = match (gap.closed, gap.complete) {
        (_, true) => "every missing post was delivered",
        (true, false) => "POSTS ARE LOST",
        (false, false) => "posts may be missing",
    };
    let evidence = if gap.evidence == GapEvidence::Unspecified as i32 {
        String::new()
    } else {
        format!("; {}", name(gap.evidence, |value| Some(GapEvidence::try_from(value).ok()?.as_str_name())))
    };
    let recovered = match gap.recovered_count {
        0 => String::new(),
        count => format!("; {count} posts recovered"),
    };
    format!(
        "gap {}{scope} {state}: {} ({cause}): {result}{evidence}{recovered}",
        printable(&gap.gap_id),
        interval(&gap.interval.unwrap_or_default()),
    )
}

/// Returns the state of a gap in words.
pub(crate) fn gap_state(gap: &Gap) -> String {
    name(gap.state, |value| Some(GapState::try_from(value).ok()?.as_str_name()))
}

/// Describes records that cannot be delivered.
pub(crate) fn skipped(skipped: &Skipped) -> String {
    let reason = name(skipped.reason, |value| Some(SkipReason::try_from(value).ok()?.as_str_name()));
    let when = interval(&skipped.interval.unwrap_or_default());
    format!("skipped {} ({reason}) {when}: they cannot be delivered", skipped.count)
}

fn stream_notice(notice: &StreamNotice) -> String {
    let kind = name(notice.kind, |value| Some(StreamNoticeKind::try_from(value).ok()?.as_str_name()));
    format!("upstream {}: {}", kind.trim_start_matches("upstream "), printable(&notice.message))
}

fn draining(draining: &Draining) -> String {
    let reason = name(draining.reason, |value| Some(DrainReason::try_from(value).ok()?.as_str_name()));
    format!("draining ({reason}): the gateway ends this session soon")
}

/// Returns the name of an enum value without its prefix, as words; the number if it is unknown.
fn name(value: i32, full: impl Fn(i32) -> Option<&'static str>) -> String {
    // The value 0 of every enum is its prefix and UNSPECIFIED.
    let prefix = full(0).unwrap_or_default().trim_end_matches("UNSPECIFIED");
    let words = |full: &str| full.trim_start_matches(prefix).to_lowercase().replace('_', " ");
    full(value).map_or_else(|| value.to_string(), words)
}

fn interval(interval: &TimeInterval) -> String {
    let side = |time: Option<Timestamp>, absent: &str| time.map_or_else(|| absent.into(), |time| time.to_string());
    format!("from {} to {}", side(interval.start_time, "an unknown time"), side(interval.end_time, "now"))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Returns a text of the gateway on one line, without characters that control a terminal or the direction of text.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_unsafe(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "tables of cases")]
mod tests {
    use super::*;
    use crate::proto::{GapNotice, Warning};

    fn between(start: i64, end: Option<i64>) -> TimeInterval {
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        TimeInterval { start_time: Some(at(start)), end_time: end.map(at) }
    }

    fn check(frame: Frame, expected: &[&str]) {
        assert_eq!(super::frame(&frame), expected);
    }

    fn notice(gap: Gap) -> Frame {
        Frame::GapNotice(GapNotice { sequence: 1, gap: Some(gap) })
    }

    /// Control characters of a hostile gateway do not reach the terminal.
    #[test]
    fn strings_of_gateway_are_escaped() {
        let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}x\nerror: forged".to_string();
        let end = Disconnected { cause: hostile.clone(), violation: None, retry_in: Duration::ZERO };
        let mut lines = vec![disconnected(&end)];
        lines.extend(frame(&Frame::SessionStart(SessionStart {
            session_id: hostile.clone(),
            server_version: hostile.clone(),
            account: hostile.clone(),
            warnings: vec![Warning { code: i32::MIN, message: hostile.clone() }],
            ..SessionStart::default()
        })));
        let message = hostile.clone();
        lines.extend(frame(&Frame::StreamNotice(StreamNotice { message, ..StreamNotice::default() })));
        lines.extend(frame(&notice(Gap { gap_id: hostile, ..Gap::default() })));
        assert_eq!(lines.len(), 5);
        for line in lines {
            assert!(
                line.contains("owned") && !line.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\n', '\u{7}']),
                "{line:?}"
            );
        }
    }

    #[test]
    fn start_is_described_with_warnings() {
        let start = SessionStart {
            session_id: "s1".into(),
            server_version: "0.1.0".into(),
            account: "main".into(),
            outcome: StartOutcome::Clamped.into(),
            warnings: vec![Warning { code: WarningCode::UnknownTag.into(), message: "did you mean cats?".into() }],
            ..SessionStart::default()
        };
        check(
            Frame::SessionStart(start),
            &["session s1 with gateway 0.1.0 on account main: clamped", "warning (unknown tag): did you mean cats?"],
        );
        assert_eq!(missing(&between(0, Some(60))), "missing: from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z");
        assert_eq!(missing(&between(90, None)), "missing: from 1970-01-01T00:01:30Z to now");
    }

    #[test]
    fn gap_result_follows_closed_and_complete() {
        let gap = Gap {
            gap_id: "g1".into(),
            interval: Some(between(0, None)),
            cause: GapCause::SlowReader.into(),
            state: GapState::Unrecoverable.into(),
            closed: true,
            recovered_count: 7,
            ..Gap::default()
        };
        let lost =
            "gap g1 unrecoverable: from 1970-01-01T00:00:00Z to now (slow reader): POSTS ARE LOST; 7 posts recovered";
        check(notice(gap.clone()), &[lost]);
        let odd = "gap g1 of this consumer 99: from an unknown time to now (slow reader): posts may be missing";
        let open = Gap { state: 99, private: true, closed: false, interval: None, recovered_count: 0, ..gap };
        check(notice(open.clone()), &[odd]);
        let new =
            "gap g1 99: from an unknown time to now (slow reader): every missing post was delivered; backfill quiet";
        let evidence = GapEvidence::BackfillQuiet.into();
        check(notice(Gap { complete: true, private: false, evidence, ..open }), &[new]);
    }

    #[test]
    fn other_frames_are_described_in_words() {
        let lag = Some(prost_types::Duration { seconds: 12, nanos: 0 });
        check(
            Frame::FellBehind(FellBehind { lag_records: 9, lag, ..FellBehind::default() }),
            &["fell behind by 9 records: late, nothing is lost; 12.0 s of records"],
        );
        check(
            Frame::Skipped(Skipped { count: 3, reason: SkipReason::Oversized.into(), ..Skipped::default() }),
            &["skipped 3 (oversized) from an unknown time to now: they cannot be delivered"],
        );
        check(
            Frame::Draining(Draining {
                reason: DrainReason::Shutdown.into(),
                reconnect_after: lag,
                ..Draining::default()
            }),
            &["draining (shutdown): the gateway ends this session soon"],
        );
    }

    #[test]
    fn unknown_enum_values_do_not_panic() {
        let far = Timestamp { seconds: i64::MAX, nanos: i32::MAX };
        let interval = Some(TimeInterval { start_time: Some(far), end_time: Some(far) });
        assert_eq!(frame(&notice(Gap { state: 99, cause: -1, interval, ..Gap::default() })).len(), 1);
        let odd = prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN };
        let draining = Draining { reconnect_after: Some(odd), ..Draining::default() };
        check(Frame::Draining(draining), &["draining (unspecified): the gateway ends this session soon"]);
    }
}
