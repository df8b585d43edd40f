//! Texts of X: bodies of refusals, and messages that are no posts.

use crate::app::tests::truth::{Ms, SECOND};

/// A web page where a stream was expected.
pub(in crate::app::tests) const PAGE: &str =
    "<!DOCTYPE html>\r\n<html><head><title>Over capacity</title></head>\r\n<body>Sorry</body></html>\r\n";

/// Bytes that are no message.
pub(in crate::app::tests) const GARBAGE: &str = "%%% ]} not a message \u{1}";

/// Messages that state nothing about the end of the stream.
pub(in crate::app::tests) const CONTROL: [&str; 8] = [
    r#"{"info":{"message":"Hello","sent":"2017-01-11T18:12:52+00:00"}}"#,
    r#"{"warning":{"code":"FALLING_BEHIND","message":"behind","percent_full":60}}"#,
    r#"{"limit":{"track":3}}"#,
    r#"{"something":{"new":1}}"#,
    r#"{"delete":{"status":{"id":900,"id_str":"900"},"timestamp_ms":"1700000000123"}}"#,
    r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"OperationalDisconnect","detail":"x"}]}"#,
    r#"{"warn":{"message":"x","sent":"2017-01-11T18:12:52+00:00"}}"#,
    r#"{"warning":{"code":"FALLING_BEHIND","message":"behind","percent_full":96}}"#,
];

/// Those of them that are announced as skipped.
pub(in crate::app::tests) const SLOW_READER: &str =
    r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"SlowReader","detail":"slow"}]}"#;
pub(in crate::app::tests) const OPERATIONAL: &str = r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"UpstreamOperationalDisconnect","detail":"This stream has been disconnected upstream for operational reasons."}]}"#;
pub(in crate::app::tests) const RECOVERY_ERROR: &str = r#"{"error":{"message":"Internal error, please reconnect"}}"#;

/// The body of a refusal: X's document, or a web page.
pub(in crate::app::tests) fn refusal(status: u16, document: bool) -> String {
    if !document {
        return PAGE.to_owned();
    }
    let title = match status {
        400 => "Invalid Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        429 => "ConnectionException",
        _ => "Service Unavailable",
    };
    let issue = if status == 429 { r#","connection_issue":"TooManyConnections""# } else { "" };
    format!(r#"{{"title":"{title}","detail":"x","type":"about:blank","status":{status}{issue}}}"#)
}

/// A completion message.
pub(in crate::app::tests) fn completed(count: Option<usize>) -> String {
    let count = count.map(|count| format!(r#","activity_count":{count}"#)).unwrap_or_default();
    format!(r#"{{"info":{{"message":"Recovery Request Completed"{count}}}}}"#)
}

/// The same where these minutes were left out.
pub(in crate::app::tests) fn with_errors(minutes: &[Ms]) -> String {
    let named: Vec<String> = minutes.iter().map(|minute| format!("\"{}\"", iso(*minute))).collect();
    let named = named.join(",");
    format!(r#"{{"info":{{"message":"Recovery Request Completed with Errors","minutes_failed":[{named}]}}}}"#)
}

/// The same where this range was left out.
pub(in crate::app::tests) fn failed(from: Ms, to: Ms) -> String {
    let (from, to) = (iso(from), iso(to));
    format!(
        r#"{{"info":{{"message":"Recovery Request Failed to Complete","unprocessed_range":{{"fromDate":"{from}","toDate":"{to}"}}}}}}"#
    )
}

/// `2013-02-20T00:05:00+00:00`.
fn iso(time: Ms) -> String {
    let seconds = time.div_euclid(SECOND);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the proleptic calendar, as in Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

#[test]
fn times_are_written_as_x_does() {
    assert_eq!(iso(1_361_318_700_000), "2013-02-20T00:05:00+00:00");
    assert_eq!(iso(951_868_799_000), "2000-02-29T23:59:59+00:00");
}
