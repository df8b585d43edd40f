use std::str::FromStr;
use std::time::Duration;

use crate::model::UnixMillis;
use crate::proto::subscribe_request::Start as Wire;
use crate::proto::{Earliest, Latest};

/// Start position of a consumer without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartArg {
    /// Only new records.
    Latest,
    /// The oldest record of the log.
    Earliest,
    /// After the position of this resume token.
    Token(String),
    /// The first record received at or after this time.
    Time(UnixMillis),
    /// The first record received at or after now minus this duration.
    Lookback(Duration),
}

impl FromStr for StartArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => return Ok(Self::Latest),
            "earliest" => return Ok(Self::Earliest),
            _ => {}
        }
        if let Some(token) = text.strip_prefix("token:") {
            return match token.trim() {
                "" => Err("expected a resume token after 'token:'".into()),
                token => Ok(Self::Token(token.into())),
            };
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::Time(UnixMillis(time.as_millisecond())));
        }
        if let Ok(lookback) = humantime::parse_duration(text) {
            return Ok(Self::Lookback(lookback));
        }
        Err("expected latest, earliest, token:<token>, a time such as 2026-11-21T18:00:00Z, or a lookback such as 10m"
            .into())
    }
}

impl StartArg {
    /// Returns the field of the request.
    pub(super) fn wire(&self) -> Wire {
        match self {
            Self::Latest => Wire::Latest(Latest {}),
            Self::Earliest => Wire::Earliest(Earliest {}),
            Self::Token(token) => Wire::ResumeToken(token.clone()),
            Self::Time(time) => Wire::StartTime(prost_types::Timestamp {
                seconds: time.0.div_euclid(1_000),
                nanos: i32::try_from(time.0.rem_euclid(1_000) * 1_000_000).unwrap_or(0),
            }),
            Self::Lookback(lookback) => Wire::Lookback(wire_duration(*lookback)),
        }
    }
}

/// Converts a duration to its proto message; longer ones become the longest that a message can contain.
pub(super) fn wire_duration(duration: Duration) -> prost_types::Duration {
    /// The longest duration of protobuf, in seconds (google/protobuf/duration.proto).
    const SECONDS_MAX: u64 = 315_576_000_000;
    let seconds = duration.as_secs().min(SECONDS_MAX);
    prost_types::Duration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// Converts a proto duration; `None` if it is negative or malformed. prost's conversion overflows on `i64::MIN`.
pub(super) fn from_proto_duration(wire: prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(wire.seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_argument_parses_every_form() {
        let check = |text: &str, expected: Option<StartArg>| {
            assert_eq!(text.parse::<StartArg>().ok(), expected, "{text}");
        };
        check("latest", Some(StartArg::Latest));
        check("earliest", Some(StartArg::Earliest));
        check("token:abc", Some(StartArg::Token("abc".into())));
        check("2018-10-10T20:19:24.123Z", Some(StartArg::Time(UnixMillis(1_539_202_764_123))));
        check("2018-10-10T22:19:24.123+02:00", Some(StartArg::Time(UnixMillis(1_539_202_764_123))));
        check("10m", Some(StartArg::Lookback(Duration::from_secs(600))));
        check("token:", None);
        check("yesterday", None);
        check("", None);
    }

    #[test]
    fn times_before_1970_keep_their_milliseconds() {
        let Wire::StartTime(time) = StartArg::Time(UnixMillis(-1)).wire() else { panic!("a time") };
        assert_eq!((time.seconds, time.nanos), (-1, 999_000_000));
    }

    #[test]
    fn durations_round_trip_and_invalid_are_rejected() {
        for duration in [Duration::ZERO, Duration::from_millis(1_500)] {
            assert_eq!(from_proto_duration(wire_duration(duration)), Some(duration));
        }
        for (seconds, nanos) in [(i64::MIN, i32::MIN), (-1, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(from_proto_duration(prost_types::Duration { seconds, nanos }), None);
        }
    }
}
