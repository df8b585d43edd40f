use std::fmt::Write;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::cli::Exit;

/// Domain of the gateway's reasons; others come from proxies.
const DOMAIN: &str = "powerstream.gateway";

/// Decision after the status of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Reconnect with the stored token.
    Retry {
        /// Cause, for people.
        cause: String,
        /// Delay that the gateway requested.
        after: Option<Duration>,
    },
    /// The same request would fail again.
    Stop(FatalStatus),
}

/// The gateway rejects this request permanently: the caller has to change it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}: {message}{advice}")]
pub struct FatalStatus {
    /// The gateway's reason, such as `POSITION_TOO_OLD`.
    pub reason: String,
    /// Message of the gateway.
    pub message: String,
    /// Advice: empty, or a clause that begins with "; ".
    pub advice: String,
    /// Exit of a command that ends because of it.
    pub exit: Exit,
}

/// Classifies a status by its reason; by its code only if the reason is unknown.
pub(super) fn classify(status: &Status) -> RetryDecision {
    let details = status.get_error_details();
    let after = details.retry_info().and_then(|info| info.retry_delay);
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        return RetryDecision::Retry { cause: transport(status), after };
    };
    match exit(&info.reason, status.code()) {
        None => RetryDecision::Retry { cause: format!("{}: {}", info.reason, status.message()), after },
        Some(exit) => RetryDecision::Stop(FatalStatus {
            reason: info.reason.clone(),
            message: status.message().into(),
            advice: advice(&info.reason, &details),
            exit,
        }),
    }
}

/// Returns the exit of a command for this reason; `None` if a retry may succeed.
fn exit(reason: &str, code: Code) -> Option<Exit> {
    match reason {
        "DRAINING" | "SESSION_ROTATED" | "SESSION_TERMINATED" | "NOT_LEADER" | "NOT_READY" | "SESSION_LIMIT"
        | "REPLAY_LIMIT" | "CONSUMER_TOO_SLOW" | "STREAM_DEADLINE" | "INTERNAL" => None,
        "ACCOUNT_REQUIRED" | "FILTER_INVALID" | "START_INVALID" => Some(Exit::Usage),
        "TOKEN_INVALID"
        | "TOKEN_ACCOUNT_MISMATCH"
        | "POSITION_TOO_OLD"
        | "POSITION_IN_FUTURE"
        | "EXACT_UNAVAILABLE" => Some(Exit::Position),
        "CREDENTIALS_MISSING"
        | "CREDENTIALS_INVALID"
        | "CREDENTIALS_EXPIRED"
        | "CREDENTIALS_REVOKED"
        | "ACCESS_DENIED"
        | "ACCESS_REVOKED"
        | "TAG_DENIED" => Some(Exit::Refused),
        _ => match code {
            Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => {
                Some(Exit::Usage)
            }
            Code::OutOfRange => Some(Exit::Position),
            Code::PermissionDenied | Code::Unauthenticated => Some(Exit::Refused),
            _ => None,
        },
    }
}

fn advice(reason: &str, details: &ErrorDetails) -> String {
    let mut text = String::new();
    let metadata = details.error_info().map(|info| &info.metadata);
    let value = |key| metadata.and_then(|metadata| metadata.get(key)).filter(|value| !value.is_empty());
    match reason {
        "POSITION_TOO_OLD" => {
            if let Some(time) = value("oldest_time") {
                write!(text, "; the oldest record was received at {time}").ok();
            }
            text.push_str("; --resume-policy earliest or latest continues without them");
        }
        "POSITION_IN_FUTURE" => {
            if let Some(time) = value("head_time") {
                write!(text, "; check the clock of this machine: the gateway's time is {time}").ok();
            }
        }
        "TOKEN_INVALID" => text.push_str(", as with --start 10m (and without the token file, if there is one)"),
        _ => {}
    }
    text
}

/// Describes an end without reason of the gateway. The innermost cause is more specific than "transport error".
fn transport(status: &Status) -> String {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    let mut words = status.message().to_owned();
    while let Some(error) = cause {
        words = error.to_string();
        cause = error.source();
    }
    if words.is_empty() { status.code().description().to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn status(code: Code, reason: &str, after: Option<Duration>) -> Status {
        let mut details = ErrorDetails::new();
        let metadata = HashMap::from([("missing_seconds".to_owned(), "90".to_owned())]);
        details.set_error_info(reason, DOMAIN, metadata).set_retry_info(after);
        Status::with_error_details(code, "words", details)
    }

    #[test]
    fn reason_decides_and_not_code() {
        let check = |code: Code, reason: &str, expected: Option<Exit>| match classify(&status(code, reason, None)) {
            RetryDecision::Retry { .. } => assert_eq!(None, expected, "{reason}"),
            RetryDecision::Stop(refusal) => assert_eq!(Some(refusal.exit), expected, "{reason}"),
        };
        check(Code::Unavailable, "DRAINING", None);
        check(Code::ResourceExhausted, "CONSUMER_TOO_SLOW", None);
        check(Code::DeadlineExceeded, "STREAM_DEADLINE", None);
        check(Code::InvalidArgument, "FILTER_INVALID", Some(Exit::Usage));
        check(Code::FailedPrecondition, "TOKEN_ACCOUNT_MISMATCH", Some(Exit::Position));
        check(Code::PermissionDenied, "ACCESS_DENIED", Some(Exit::Refused));
        check(Code::Unauthenticated, "CREDENTIALS_EXPIRED", Some(Exit::Refused));
        check(Code::Unavailable, "A_REASON_OF_TOMORROW", None);
        check(Code::OutOfRange, "A_REASON_OF_TOMORROW", Some(Exit::Position));
    }

    #[test]
    fn retry_delay_of_gateway_is_respected() {
        let after = Some(Duration::from_secs(7));
        let verdict = classify(&status(Code::Unavailable, "DRAINING", after));
        assert_eq!(verdict, RetryDecision::Retry { cause: "DRAINING: words".into(), after });
    }

    #[test]
    fn status_without_reason_counts_as_network_failure() {
        for code in [Code::Unavailable, Code::Internal, Code::PermissionDenied] {
            let verdict = classify(&Status::new(code, "reset"));
            assert_eq!(verdict, RetryDecision::Retry { cause: "reset".into(), after: None });
        }
    }

    #[test]
    fn position_too_old_describes_gap_and_remedy() {
        let RetryDecision::Stop(refusal) = classify(&status(Code::OutOfRange, "POSITION_TOO_OLD", None)) else {
            panic!("stops")
        };
        let words = refusal.to_string();
        assert!(words.starts_with("POSITION_TOO_OLD: words; --resume-policy"), "{words}");
        assert!(words.contains("--resume-policy"), "{words}");
    }
}
