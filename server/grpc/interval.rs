//! Intervals of requests.

use std::time::Duration;

use tonic::Status;

use super::{convert, status};
use crate::clock::Clock;
use crate::model::{TimeRange, UnixMillis};
use crate::proto;

/// Returns the interval of a request that must have ended.
///
/// The clock of the caller may be ahead of the account's upstream time: an end within the clock uncertainty (contract,
/// section 1) counts as now. Returns POSITION_IN_FUTURE for a later end.
pub fn past_interval(given: Option<&proto::TimeInterval>, clock: &Clock) -> Result<TimeRange, Status> {
    let required = |field| move || status::start_invalid(field, "is required");
    let (start, end) = bounds(given)?;
    let start = start.ok_or_else(required(START_TIME))?;
    let end = end.ok_or_else(required(END_TIME))?;
    let now = clock.now();
    if end > now.plus(clock.uncertainty()) {
        return Err(status::in_future("interval.end_time is in the future", now));
    }
    // The shortest interval is 1 ms: one that lies within the uncertainty must not become empty.
    let end = end.min(now.max(start.plus(Duration::from_millis(1))));
    Ok(TimeRange::new(start, end))
}

/// Field of the start.
pub const START_TIME: &str = "interval.start_time";
/// Field of the end.
pub const END_TIME: &str = "interval.end_time";

/// Start and end, where they are set.
pub type Bounds = (Option<UnixMillis>, Option<UnixMillis>);

/// Returns the bounds of an interval, where they are set, in order.
pub fn bounds(given: Option<&proto::TimeInterval>) -> Result<Bounds, Status> {
    let parse = |field, time: Option<&prost_types::Timestamp>| {
        let invalid = || status::start_invalid(field, "is not a time between 1970 and 9999");
        time.map(|time| convert::from_timestamp(time).ok_or_else(invalid)).transpose()
    };
    let start = parse(START_TIME, given.and_then(|given| given.start_time.as_ref()))?;
    let end = parse(END_TIME, given.and_then(|given| given.end_time.as_ref()))?;
    match start.zip(end) {
        Some((start, end)) if end <= start => Err(status::start_invalid(END_TIME, "must be after interval.start_time")),
        _ => Ok((start, end)),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn at(time: UnixMillis) -> Option<prost_types::Timestamp> {
        Some(convert::timestamp(time))
    }

    /// An end within the clock uncertainty counts as now; a later end is refused. The interval never becomes empty.
    #[test]
    fn end_within_clock_uncertainty_counts_as_now() {
        // A clock that is 1,000 times slower than real time: it does not advance during the test.
        let clock = Clock::with_rate(0.001, Some(UnixMillis(1_700_000_000_000)));
        let (now, tolerance) = (clock.now(), clock.uncertainty());
        assert!(tolerance >= Duration::from_secs(2), "resolution and transit of Date: {tolerance:?}");
        let of = |start, end| {
            let interval = proto::TimeInterval { start_time: at(start), end_time: at(end) };
            past_interval(Some(&interval), &clock)
        };
        let hour_ago = now.minus(Duration::from_secs(3_600));
        let ahead = |millis| now.plus(Duration::from_millis(millis));
        assert_eq!(of(hour_ago, now.minus(tolerance)).expect("past"), TimeRange::new(hour_ago, now.minus(tolerance)));
        for end in [ahead(1), ahead(1_000), now.plus(tolerance)] {
            let clamped = of(hour_ago, end).expect("within the uncertainty");
            assert_eq!((clamped.from, clamped.to.since(now) <= Duration::from_millis(2)), (hour_ago, true), "{end}");
        }
        assert!(!of(ahead(500), ahead(900)).expect("within the uncertainty").is_empty());
        for end in [now.plus(tolerance + Duration::from_millis(10)), now.plus(tolerance * 100)] {
            assert_eq!(of(hour_ago, end).expect_err("in the future").code(), Code::OutOfRange, "{end}");
        }
    }

    #[test]
    fn invalid_interval_names_its_field() {
        let clock = Clock::with_rate(0.001, None);
        let check = |interval: Option<proto::TimeInterval>, field: &str| {
            let refused = past_interval(interval.as_ref(), &clock).expect_err("refused");
            assert_eq!(refused.code(), Code::InvalidArgument);
            let details = tonic_types::StatusExt::get_error_details(&refused);
            assert_eq!(details.bad_request().expect("a bad request").field_violations[0].field, field);
        };
        let (early, late) = (at(UnixMillis(5_000)), at(UnixMillis(9_000)));
        let outside = Some(prost_types::Timestamp { seconds: -1, nanos: 0 });
        let interval = |start_time, end_time| Some(proto::TimeInterval { start_time, end_time });
        check(None, START_TIME);
        check(interval(None, late), START_TIME);
        check(interval(early, None), END_TIME);
        check(interval(late, early), END_TIME);
        check(interval(early, early), END_TIME);
        check(interval(outside, late), START_TIME);
        check(interval(early, outside), END_TIME);
        assert_eq!(bounds(None).expect("both are optional here"), (None, None));
    }
}
