use std::time::Duration;

use http::HeaderMap;

use super::sanitize::sanitize;
use crate::model::UnixMillis;

/// The response headers in use. Absent and invalid ones are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `date`: the server's clock, with a resolution of one second.
    pub date: Option<UnixMillis>,
    /// `x-rate-limit-*`.
    pub rate_limit: RateLimit,
    /// `retry-after`, as a duration from `date`.
    pub retry_after: Option<Duration>,
    /// `x-powerstream-datacenter`: datacenter that answered.
    pub datacenter: Option<String>,
    /// `x-powerstream-localdconly`: whether it sends only its own posts.
    pub local_dc_only: Option<bool>,
    /// `x-transaction-id`: identifies the request for X's support.
    pub transaction_id: Option<String>,
}

/// X's limit of requests in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that remain in the window.
    pub remaining: Option<u64>,
    /// When the window ends, by X's clock.
    pub reset: Option<UnixMillis>,
}

impl Headers {
    /// Parses the headers.
    pub fn read(map: &HeaderMap) -> Self {
        let text = |name: &str| map.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        let date = text("date").and_then(http_date);
        Self {
            date,
            rate_limit: RateLimit {
                remaining: number("x-rate-limit-remaining"),
                reset: number("x-rate-limit-reset").and_then(unix_seconds),
            },
            retry_after: text("retry-after").and_then(|value| match value.parse::<u64>() {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => Some(http_date(value)?.since(date?)),
            }),
            datacenter: text("x-powerstream-datacenter").map(sanitize),
            local_dc_only: text("x-powerstream-localdconly").and_then(|value| value.parse().ok()),
            transaction_id: text("x-transaction-id").map(sanitize),
        }
    }
}

fn http_date(text: &str) -> Option<UnixMillis> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(UnixMillis(parsed.as_millisecond()))
}

fn unix_seconds(seconds: u64) -> Option<UnixMillis> {
    i64::try_from(seconds).ok()?.checked_mul(1_000).map(UnixMillis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> Headers {
        Headers::read(
            &lines
                .iter()
                .map(|(name, value)| ((*name).parse().expect("a name"), value.parse().expect("a value")))
                .collect(),
        )
    }

    #[test]
    fn headers_that_matter_are_read() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let read = headers(&[
            date,
            ("x-rate-limit-remaining", "449"),
            ("x-rate-limit-reset", "1677859985"),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"),
            ("x-powerstream-datacenter", "atla"),
            ("x-powerstream-localdconly", "true"),
            ("x-transaction-id", "abc"),
        ]);
        assert_eq!(read.date, Some(UnixMillis(784_111_777_000)));
        assert_eq!(read.rate_limit.remaining, Some(449));
        assert_eq!(read.rate_limit.reset, Some(UnixMillis(1_677_859_985_000)));
        assert_eq!(read.retry_after, Some(Duration::from_secs(10)));
        assert_eq!(read.datacenter.as_deref(), Some("atla"));
        assert_eq!(read.local_dc_only, Some(true));
        assert_eq!(headers(&[date, ("retry-after", "7")]).retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn headers_that_make_no_sense_are_absent() {
        let read = headers(&[
            ("date", "yesterday"),
            ("x-rate-limit-reset", "99999999999999999999"),
            ("x-rate-limit-remaining", "-1"),
            ("retry-after", "soon"),
            ("x-powerstream-localdconly", "yes"),
        ]);
        assert_eq!(read, Headers::default());
    }
}
