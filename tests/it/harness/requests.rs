//! What a request to the simulator asks for.

use powerstream_gateway::simulator::RequestLine;

/// The minutes of backfill that a request asks for.
pub fn backfill_asked(request: &RequestLine) -> Option<u8> {
    let (_, rest) = request.target.split_once("backfillMinutes=")?;
    rest.split('&').next()?.parse().ok()
}

/// True for requests for a recovery job.
pub fn is_recovery(request: &RequestLine) -> bool {
    request.target.contains("startTime=")
}

/// The window that a request for a recovery job asks for, in whole minutes since 1970.
pub fn window_asked(request: &RequestLine) -> (i64, i64) {
    let minute = |name: &str| {
        let (_, rest) = request.target.split_once(name).expect("a job has a window");
        let text = rest.split('&').next().unwrap_or(rest).replace("%3A", ":");
        let time: jiff::Timestamp = text.parse().expect("it is RFC 3339");
        assert_eq!(time.as_second() % 60, 0, "whole minutes: {text}");
        time.as_second() / 60
    };
    (minute("startTime="), minute("endTime="))
}
