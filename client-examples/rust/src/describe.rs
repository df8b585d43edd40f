use prost_types::Timestamp;

use crate::proto::subscribe_response::Frame;
use crate::proto::{
    DrainReason, Gap, GapCause, GapState, SessionStart, SkipReason, Skipped, StartOutcome, StreamNotice,
    StreamNoticeKind, TimeInterval, WarningCode,
};

/// What a frame says to a person, a line each.
pub fn words_of(frame: &Frame) -> Vec<String> {
    match frame {
        Frame::EventBatch(_) | Frame::Heartbeat(_) => Vec::new(),
        Frame::SessionStart(start) => session_start(start),
        Frame::CaughtUp(_) => vec!["caught up: live from here".into()],
        Frame::FellBehind(behind) => {
            vec![format!("fell behind by {} records: late, nothing is lost", behind.lag_records)]
        }
        Frame::GapNotice(notice) => notice.gap.iter().map(gap).collect(),
        Frame::Skipped(told) => vec![skipped(told)],
        Frame::StreamNotice(notice) => vec![stream_notice(notice)],
        Frame::Draining(draining) => {
            let reason = named(DrainReason::try_from(draining.reason).map(|it| it.as_str_name()), draining.reason);
            vec![format!("draining ({}): the gateway ends this session soon", short(reason, "drain reason "))]
        }
    }
}

fn session_start(start: &SessionStart) -> Vec<String> {
    let outcome = named(StartOutcome::try_from(start.outcome).map(|it| it.as_str_name()), start.outcome);
    let mut lines = vec![format!(
        "session {} with gateway {} on account {}: {}",
        start.session_id,
        start.server_version,
        start.account,
        short(outcome, "start outcome ")
    )];
    lines.extend(start.missing.iter().map(|missing| format!("missing: {}", interval(missing))));
    lines.extend(start.warnings.iter().map(|warning| {
        let code = named(WarningCode::try_from(warning.code).map(|it| it.as_str_name()), warning.code);
        format!("warning ({}): {}", short(code, "warning code "), warning.message)
    }));
    lines.extend(start.open_gaps.iter().map(gap));
    lines
}

fn gap(gap: &Gap) -> String {
    let whose = if gap.private { " of this consumer" } else { "" };
    let state = named(GapState::try_from(gap.state).map(|it| it.as_str_name()), gap.state);
    let cause = named(GapCause::try_from(gap.cause).map(|it| it.as_str_name()), gap.cause);
    // Not by the state: a newer gateway may have further states.
    let result = match (gap.closed, gap.complete) {
        (_, true) => "every missing post was delivered",
        (true, false) => "POSTS ARE LOST",
        (false, false) => "posts may be missing",
    };
    format!(
        "gap {}{whose} {}: {} ({}): {result}",
        gap.gap_id,
        short(state, "gap state "),
        interval(&gap.interval.unwrap_or_default()),
        short(cause, "gap cause ")
    )
}

fn skipped(skipped: &Skipped) -> String {
    let reason = named(SkipReason::try_from(skipped.reason).map(|it| it.as_str_name()), skipped.reason);
    let reason = short(reason, "skip reason ");
    format!(
        "skipped {} ({reason}) {}: they cannot be delivered",
        skipped.count,
        interval(&skipped.interval.unwrap_or_default())
    )
}

fn stream_notice(notice: &StreamNotice) -> String {
    let kind = named(StreamNoticeKind::try_from(notice.kind).map(|it| it.as_str_name()), notice.kind);
    let kind = short(kind, "stream notice kind ");
    format!("upstream {}: {}", kind.trim_start_matches("upstream "), notice.message)
}

/// The name of an enum's value as words; the number where it is unknown.
fn named<E>(name: Result<&str, E>, number: i32) -> String {
    name.map_or_else(|_| number.to_string(), |name| name.to_lowercase().replace('_', " "))
}

fn short(name: String, prefix: &str) -> String {
    name.strip_prefix(prefix).map(String::from).unwrap_or(name)
}

fn interval(interval: &TimeInterval) -> String {
    let side = |time: Option<Timestamp>, absent: &str| time.map_or_else(|| absent.into(), |time| time.to_string());
    format!("from {} to {}", side(interval.start_time, "an unknown time"), side(interval.end_time, "now"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::GapNotice;

    #[test]
    fn gaps_are_told_in_words_and_unknown_numbers_as_numbers() {
        let check = |gap: Gap, expected: &str| {
            assert_eq!(words_of(&Frame::GapNotice(GapNotice { sequence: 1, gap: Some(gap) })), [expected]);
        };
        let gap = Gap {
            gap_id: "g1".into(),
            interval: Some(TimeInterval { start_time: Some(Timestamp::default()), end_time: None }),
            closed: true,
            cause: GapCause::SlowReader.into(),
            state: GapState::Unrecoverable.into(),
            ..Gap::default()
        };
        let lost = "gap g1 unrecoverable: from 1970-01-01T00:00:00Z to now (slow reader): POSTS ARE LOST";
        check(gap.clone(), lost);
        let odd = "gap g1 of this consumer 99: from an unknown time to now (slow reader): posts may be missing";
        check(Gap { state: 99, private: true, closed: false, interval: None, ..gap.clone() }, odd);
        let new = "gap g1 99: from an unknown time to now (slow reader): every missing post was delivered";
        check(Gap { state: 99, complete: true, interval: None, ..gap }, new);
    }
}
