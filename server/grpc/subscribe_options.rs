//! Parses and validates a `SubscribeRequest`: defaults, bounds, warnings.

use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{convert, status};
use crate::hub::filter;
use crate::hub::session::{Warning, WarningCode};
use crate::hub::start::{Start, StartPolicy};
use crate::proto::{ResumePolicy, SubscribeRequest, TagFilter, subscribe_request};

/// Validated options of a session.
#[derive(Debug)]
pub struct SubscribeOptions {
    /// Start position.
    pub start: Start,
    /// Policy for a start that is too old.
    pub policy: StartPolicy,
    /// Whether to refuse a start that is not exact.
    pub require_exact: bool,
    /// Name of the consumer.
    pub consumer: String,
    /// Maximum events per batch.
    pub batch_events_max: usize,
    /// Maximum bytes of events per batch.
    pub batch_bytes_max: usize,
    /// Maximum time that a batch waits to fill.
    pub batch_delay_max: Duration,
    /// Heartbeat interval.
    pub heartbeat: Duration,
    /// Timeout of the stream, from the client's deadline.
    pub timeout: Option<Duration>,
    /// Warnings about options that were changed.
    pub warnings: Vec<Warning>,
}

const BATCH_EVENTS_DEFAULT: u32 = 1_000;
const BATCH_EVENTS_MAX: u32 = 10_000;
/// With the fields around the events, four HTTP/2 frames of 16 KiB.
const BATCH_BYTES_DEFAULT: u32 = (64 << 10) - 512;
const BATCH_BYTES_MIN: u32 = 1 << 10;
const BATCH_BYTES_MAX: u32 = 1 << 20;
const BATCH_DELAY_MAX: Duration = Duration::from_secs(10);
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(10);
const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);
const CONSUMER_BYTES_MAX: usize = 128;

/// Parses a request and its headers. Returns START_INVALID for an invalid start, duration or policy.
pub fn parse_subscribe(request: &SubscribeRequest, headers: &MetadataMap) -> Result<SubscribeOptions, Status> {
    let mut warnings = Vec::new();
    let delay = duration(request.max_batch_delay.as_ref(), "max_batch_delay")?.unwrap_or_default();
    let heartbeat = duration(request.heartbeat_interval.as_ref(), "heartbeat_interval")?;
    Ok(SubscribeOptions {
        start: start(request.start.as_ref())?,
        policy: match ResumePolicy::try_from(request.resume_policy) {
            Ok(ResumePolicy::Unspecified | ResumePolicy::Fail) => StartPolicy::Fail,
            Ok(ResumePolicy::Earliest) => StartPolicy::Earliest,
            Ok(ResumePolicy::Latest) => StartPolicy::Latest,
            Err(_) => return Err(status::start_invalid("resume_policy", "must be FAIL, EARLIEST or LATEST")),
        },
        require_exact: request.require_exact,
        consumer: consumer(&request.consumer, &mut warnings),
        batch_events_max: clamp_with_warning(
            "max_batch_events",
            if request.max_batch_events == 0 { BATCH_EVENTS_DEFAULT } else { request.max_batch_events },
            (1, BATCH_EVENTS_MAX),
            &mut warnings,
        ) as usize,
        batch_bytes_max: clamp_with_warning(
            "max_batch_bytes",
            if request.max_batch_bytes == 0 { BATCH_BYTES_DEFAULT } else { request.max_batch_bytes },
            (BATCH_BYTES_MIN, BATCH_BYTES_MAX),
            &mut warnings,
        ) as usize,
        batch_delay_max: granted_time("max_batch_delay", delay, (Duration::ZERO, BATCH_DELAY_MAX), &mut warnings),
        heartbeat: granted_time(
            "heartbeat_interval",
            heartbeat.unwrap_or(HEARTBEAT_DEFAULT),
            (HEARTBEAT_MIN, HEARTBEAT_MAX),
            &mut warnings,
        ),
        timeout: timeout(headers),
        warnings,
    })
}

/// Converts the filter.
pub fn filter(filter: Option<&TagFilter>) -> filter::FilterSpec {
    let filter = filter.cloned().unwrap_or_default();
    filter::FilterSpec {
        any_of: filter.any_of,
        all_of: filter.all_of,
        none_of: filter.none_of,
        rule_ids: filter.rule_ids,
    }
}

fn start(start: Option<&subscribe_request::Start>) -> Result<Start, Status> {
    use subscribe_request::Start as Asked;
    Ok(match start {
        None | Some(Asked::Latest(_)) => Start::Latest,
        Some(Asked::Earliest(_)) => Start::Earliest,
        Some(Asked::ResumeToken(token)) if token.is_empty() => {
            return Err(status::start_invalid("resume_token", "is empty; omit it to start at the tip"));
        }
        Some(Asked::ResumeToken(token)) => Start::Token(token.clone()),
        Some(Asked::StartTime(time)) => match convert::from_timestamp(time) {
            Some(time) => Start::Time(time),
            None => return Err(status::start_invalid("start_time", "is not a time between 1970 and 9999")),
        },
        Some(Asked::Lookback(back)) => match convert::from_duration(back) {
            Some(back) => Start::Lookback(back),
            None => return Err(status::start_invalid("lookback", "is malformed or negative")),
        },
    })
}

fn duration(given: Option<&prost_types::Duration>, field: &str) -> Result<Option<Duration>, Status> {
    let read = |duration| {
        convert::from_duration(duration).ok_or_else(|| status::start_invalid(field, "is malformed or negative"))
    };
    given.map(read).transpose()
}

fn consumer(name: &str, warnings: &mut Vec<Warning>) -> String {
    if name.len() <= CONSUMER_BYTES_MAX {
        return name.to_owned();
    }
    let end = name.floor_char_boundary(CONSUMER_BYTES_MAX);
    warnings.push(Warning {
        code: WarningCode::ConsumerNameTruncated,
        message: format!("consumer was truncated to {CONSUMER_BYTES_MAX} bytes"),
    });
    name[..end].to_owned()
}

fn clamp_with_warning(field: &str, asked: u32, (min, max): (u32, u32), warnings: &mut Vec<Warning>) -> u32 {
    let granted = asked.clamp(min, max);
    if granted != asked {
        let message = format!("{field} is {granted}: {asked} is outside of {min} to {max}");
        warnings.push(Warning { code: WarningCode::BatchClamped, message });
    }
    granted
}

fn granted_time(
    field: &str,
    asked: Duration,
    (min, max): (Duration, Duration),
    warnings: &mut Vec<Warning>,
) -> Duration {
    let granted = asked.clamp(min, max);
    if granted != asked {
        let message = format!("{field} is {granted:?}: {asked:?} is outside of {min:?} to {max:?}");
        let is_heartbeat = field == "heartbeat_interval";
        let code = if is_heartbeat { WarningCode::HeartbeatClamped } else { WarningCode::BatchClamped };
        warnings.push(Warning { code, message });
    }
    granted
}

/// Returns the client's deadline (`grpc-timeout`) minus the time for the last frame: otherwise the client would end the call
/// before the status with the token arrives.
fn timeout(headers: &MetadataMap) -> Option<Duration> {
    const MARGIN_MAX: Duration = Duration::from_secs(1);
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // gRPC over HTTP/2: at most 8 digits and a unit.
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(value * 3_600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    };
    Some(timeout - (timeout / 10).min(MARGIN_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_is_read_as_grpc_writes_it() {
        let check = |text: &'static str, expected: Option<u64>| {
            let mut headers = MetadataMap::new();
            headers.insert("grpc-timeout", text.parse().expect("ASCII"));
            assert_eq!(timeout(&headers).map(|t| t.as_millis() as u64), expected, "{text}");
        };
        check("1S", Some(900));
        check("20S", Some(19_000));
        check("500m", Some(450));
        check("2M", Some(119_000));
        check("99999999H", Some(99_999_999 * 3_600_000 - 1_000));
        for bad in ["", "S", "5", "123456789S", "-5S", "5x"] {
            check(bad, None);
        }
    }

    #[test]
    fn values_are_clamped_with_warnings() {
        let request = SubscribeRequest {
            max_batch_events: 1_000_000,
            max_batch_bytes: 1,
            heartbeat_interval: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
            consumer: "ä".repeat(100),
            ..SubscribeRequest::default()
        };
        let ask = parse_subscribe(&request, &MetadataMap::new()).expect("taken");
        assert_eq!((ask.batch_events_max, ask.batch_bytes_max), (10_000, 1_024));
        assert_eq!((ask.heartbeat, ask.consumer.len()), (HEARTBEAT_MAX, 128));
        let codes: Vec<_> = ask.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes.len(), 4, "{codes:?}");
    }

    /// A client may list the capabilities of a later version.
    #[test]
    fn unknown_capabilities_are_ignored() {
        let plain = parse_subscribe(&SubscribeRequest::default(), &MetadataMap::new()).expect("accepted");
        let request = SubscribeRequest { capabilities: vec![0, 7, -1, i32::MAX, 7], ..SubscribeRequest::default() };
        let options = parse_subscribe(&request, &MetadataMap::new()).expect("accepted");
        assert_eq!(format!("{options:?}"), format!("{plain:?}"));
    }

    #[test]
    fn starts_that_make_no_sense_are_refused() {
        let refused = |start| {
            let request = SubscribeRequest { start: Some(start), ..SubscribeRequest::default() };
            let error = parse_subscribe(&request, &MetadataMap::new()).expect_err("refused");
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
        };
        refused(subscribe_request::Start::ResumeToken(String::new()));
        refused(subscribe_request::Start::StartTime(prost_types::Timestamp { seconds: -1, nanos: 0 }));
        refused(subscribe_request::Start::StartTime(prost_types::Timestamp { seconds: 0, nanos: -1 }));
        refused(subscribe_request::Start::Lookback(prost_types::Duration { seconds: -5, nanos: 0 }));
    }
}
