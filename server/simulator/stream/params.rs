use std::time::Duration;

use crate::model::{TimeRange, UnixMillis};
use crate::simulator::faults::ErrorResponse;

/// How far back recovery reaches (X, recovery and redundancy).
const RECOVERY_REACH: Duration = Duration::from_secs(24 * 60 * 60);
/// Margin for a window of exactly that length requested a little late; times have a precision of 1 s.
const RECOVERY_REACH_MARGIN: Duration = Duration::from_secs(60);

/// What a stream request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::simulator) struct StreamParams {
    /// 1 to 5; 0 = none.
    pub(in crate::simulator) backfill_minutes: u64,
    /// A recovery job.
    pub(in crate::simulator) recovery: Option<TimeRange>,
    pub(in crate::simulator) local_dc_only: bool,
}

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum ParamError {
    /// The end of the window is too recent.
    TooFresh(ErrorResponse),
    Else(ErrorResponse),
}

/// True if the query asks for a recovery job, rightly or wrongly.
pub(in crate::simulator) fn is_recovery(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| ["startTime", "endTime"].contains(&&*key))
}

/// Reads the query; anything unknown or wrong is refused.
pub(in crate::simulator) fn parse(
    query: &str,
    now: UnixMillis,
    freshness: Duration,
) -> Result<StreamParams, ParamError> {
    let mut request = StreamParams::default();
    let (mut start, mut end) = (None, None);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "backfillMinutes" => request.backfill_minutes = minutes(&value)?,
            "startTime" => start = Some(time(&key, &value)?),
            "endTime" => end = Some(time(&key, &value)?),
            "localDcOnly" => request.local_dc_only = flag(&value)?,
            _ => {
                return refuse(&format!(
                    "The query parameter [{key}] is not one of [backfillMinutes,startTime,endTime,localDcOnly]"
                ));
            }
        }
    }
    request.recovery = match (start, end) {
        (None, None) => None,
        (Some(from), Some(to)) => Some(window(from, to, now, freshness)?),
        _ => return refuse("Both 'startTime' and 'endTime' are required."),
    };
    if request.recovery.is_some() && request.backfill_minutes > 0 {
        return refuse("'backfillMinutes' cannot be used with 'startTime' and 'endTime'.");
    }
    Ok(request)
}

fn minutes(value: &str) -> Result<u64, ParamError> {
    match value.parse() {
        Ok(minutes @ 1..=5) => Ok(minutes),
        _ => refuse(&format!("The `backfillMinutes` query parameter value [{value}] is not between 1 and 5")),
    }
}

fn flag(value: &str) -> Result<bool, ParamError> {
    value.parse().or_else(|_| refuse(&format!("The `localDcOnly` query parameter value [{value}] is not a boolean")))
}

fn time(key: &str, value: &str) -> Result<UnixMillis, ParamError> {
    let time = value.parse::<jiff::Timestamp>().ok().filter(|_| value.ends_with('Z'));
    time.map(|time| UnixMillis(time.as_millisecond())).ok_or_else(|| {
        ParamError::Else(ErrorResponse::invalid_request(&format!(
            "The `{key}` query parameter value [{value}] is not of the form YYYY-MM-DDTHH:mm:ssZ"
        )))
    })
}

fn window(from: UnixMillis, to: UnixMillis, now: UnixMillis, freshness: Duration) -> Result<TimeRange, ParamError> {
    if from >= to {
        return refuse("'startTime' must be before 'endTime'.");
    }
    if to > now.minus(freshness) {
        let detail = "Invalid date for query parameter 'endTime'. It is too recent.";
        return Err(ParamError::TooFresh(ErrorResponse::invalid_request(detail)));
    }
    if now.since(from) > RECOVERY_REACH + RECOVERY_REACH_MARGIN {
        return refuse("Invalid date for query parameter 'startTime'. It must be within the last 24 hours.");
    }
    Ok(TimeRange::new(from, to))
}

fn refuse<T>(detail: &str) -> Result<T, ParamError> {
    Err(ParamError::Else(ErrorResponse::invalid_request(detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> UnixMillis {
        UnixMillis("2026-05-02T12:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    fn check(query: &str, expected: Option<StreamParams>) {
        let request = parse(query, now(), Duration::from_secs(5));
        assert_eq!(request.as_ref().ok(), expected.as_ref(), "{query}: {request:?}");
        assert!(
            request.is_ok()
                || request
                    .is_err_and(|(ParamError::TooFresh(response) | ParamError::Else(response))| response.status == 400)
        );
    }

    #[test]
    fn parameters_are_read_or_refused() {
        let backfill_minutes = |backfill_minutes| Some(StreamParams { backfill_minutes, ..StreamParams::default() });
        check("", Some(StreamParams::default()));
        check("backfillMinutes=5", backfill_minutes(5));
        check(
            "localDcOnly=true&backfillMinutes=1",
            Some(StreamParams { local_dc_only: true, ..backfill_minutes(1).expect("one") }),
        );
        let window = TimeRange::new(now().minus(Duration::from_secs(120)), now().minus(Duration::from_secs(60)));
        let recovery = Some(StreamParams { recovery: Some(window), ..StreamParams::default() });
        check("startTime=2026-05-02T11:58:00Z&endTime=2026-05-02T11%3A59%3A00Z", recovery);
        for wrong in [
            "backfillMinutes=0",
            "backfillMinutes=6",
            "backfillMinutes=1.5",
            "localDcOnly=1",
            "partition=1",
            "backfill_minutes=1",
            "startTime=2026-05-02T11:58:00Z",
            "startTime=202605021158&endTime=202605021159",
            "startTime=2026-05-02T11:58:00Z&endTime=2026-05-02T11:58:00Z",
            "startTime=2026-05-02T11:58:00Z&endTime=2026-05-02T11:59:58Z",
            "startTime=2026-05-01T11:58:00Z&endTime=2026-05-02T11:00:00Z",
            "startTime=2026-05-02T11:58:00Z&endTime=2026-05-02T12:30:00Z",
            "startTime=2026-05-01T10:00:00Z&endTime=2026-05-02T11:00:00Z",
            "startTime=2026-05-02T11:58:00+00:00&endTime=2026-05-02T11:59:00Z",
            "startTime=2026-05-02T11:58:00Z&endTime=2026-05-02T11:59:00Z&backfillMinutes=2",
        ] {
            check(wrong, None);
        }
    }
}
