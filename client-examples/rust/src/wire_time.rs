use std::time::Duration;

/// Longest duration of protobuf, in seconds (google/protobuf/duration.proto).
const SECONDS_MAX: u64 = 315_576_000_000;

/// Converts a duration to its message; a longer one becomes the longest that a message can contain.
pub(crate) fn to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs().min(SECONDS_MAX)).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// Converts a duration of the gateway; `None` if it is negative or malformed. prost's conversion overflows on `i64::MIN`.
pub(crate) fn from_wire(wire: prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, nanos))
}

/// Converts a duration of the gateway; `None` if it is not over 0.
pub(crate) fn positive(wire: prost_types::Duration) -> Option<Duration> {
    from_wire(wire).filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_and_invalid_are_rejected() {
        for duration in [Duration::ZERO, Duration::from_millis(1_500)] {
            assert_eq!(from_wire(to_wire(duration)), Some(duration));
        }
        assert_eq!(to_wire(Duration::MAX).seconds, 315_576_000_000);
        for (seconds, nanos) in [(i64::MIN, i32::MIN), (-1, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(from_wire(prost_types::Duration { seconds, nanos }), None);
        }
        assert_eq!(positive(prost_types::Duration { seconds: 0, nanos: 0 }), None);
    }
}
