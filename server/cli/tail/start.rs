use powerstream_consumer::{Start, Timestamp};

/// Parses a start position: `latest`, `earliest`, `token:TOKEN`, a time, or a lookback.
pub(super) fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "latest" => return Ok(Start::Latest),
        "earliest" => return Ok(Start::Earliest),
        _ => {}
    }
    if let Some(token) = text.strip_prefix("token:") {
        return match token.trim() {
            "" => Err("expected a resume token after 'token:'".into()),
            token => Ok(Start::Token(token.into())),
        };
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Start::Time(timestamp(time)));
    }
    if let Ok(lookback) = humantime::parse_duration(text) {
        return Ok(Start::Lookback(lookback));
    }
    Err("expected latest, earliest, token:<token>, a time such as 2026-11-21T18:00:00Z, or a lookback such as 10m"
        .into())
}

/// Converts a time; its nanoseconds are never negative in the message.
fn timestamp(time: jiff::Timestamp) -> Timestamp {
    let nanos = time.as_nanosecond();
    Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn start_argument_parses_every_form() {
        let check = |text: &str, expected: Option<Start>| {
            assert_eq!(parse_start(text).ok(), expected, "{text}");
        };
        let time = |seconds, nanos| Some(Start::Time(Timestamp { seconds, nanos }));
        check("latest", Some(Start::Latest));
        check("earliest", Some(Start::Earliest));
        check("token:abc", Some(Start::Token("abc".into())));
        check("2018-10-10T20:19:24.123Z", time(1_539_202_764, 123_000_000));
        check("2018-10-10T22:19:24.123+02:00", time(1_539_202_764, 123_000_000));
        check("1969-12-31T23:59:59.999Z", time(-1, 999_000_000));
        check("10m", Some(Start::Lookback(Duration::from_secs(600))));
        check("token:", None);
        check("yesterday", None);
        check("", None);
    }
}
