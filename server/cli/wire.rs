//! Times, durations and names of enum values in messages, as text.

use std::time::Duration;

use crate::model::UnixMillis;

/// Returns a time in RFC 3339.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = time?;
    Some(UnixMillis(time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000))).to_string())
}

/// Returns the seconds of a duration.
pub(super) fn seconds(duration: Option<&prost_types::Duration>) -> f64 {
    duration.map_or(0.0, |own| own.seconds as f64 + f64::from(own.nanos) / 1e9)
}

/// Returns a duration with at most two units.
pub(super) fn span(duration: Option<&prost_types::Duration>) -> String {
    let seconds = seconds(duration).max(0.0);
    let whole = if seconds < 10.0 {
        Duration::from_millis((seconds * 1e3) as u64)
    } else {
        Duration::from_secs(seconds as u64)
    };
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns the name of an enum value without its prefix, in lower case.
pub(super) fn name(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// Converts a duration.
pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
}

/// Converts a time.
pub(super) fn timestamp(time: UnixMillis) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: time.0.div_euclid(1_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, nanos, text) in
            [(0, 0, "0s"), (1, 500_000_000, "1s 500ms"), (75, 900_000_000, "1m 15s"), (90_061, 0, "1day 1h")]
        {
            assert_eq!(span(Some(&prost_types::Duration { seconds, nanos })), text);
        }
        assert_eq!(span(None), "0s");
    }

    #[test]
    fn times_are_converted_both_ways() {
        for millis in [-1, 0, 1_539_202_764_123] {
            let text = time(Some(&timestamp(UnixMillis(millis))));
            assert_eq!(text, Some(UnixMillis(millis).to_string()));
        }
    }
}
