use std::fmt::Write;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::cli::Exit;

/// Domain of the gateway's own reasons; others are of proxies on the way.
const DOMAIN: &str = "powerstream.gateway";

/// What follows from the status that a session ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Come back with the token kept.
    Retry {
        /// The reason, for people.
        why: String,
        /// How long the gateway asks to wait.
        after: Option<Duration>,
    },
    /// Coming back with the same request would give the same answer.
    Stop(FatalStatus),
}

/// The gateway will not serve this request, now or later: whoever made it has to change it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}: {message}{advice}")]
pub struct FatalStatus {
    /// The gateway's reason, such as `POSITION_TOO_OLD`.
    pub reason: String,
    /// Its words.
    pub message: String,
    /// What can be done about it: empty, or a sentence that begins with "; ".
    pub advice: String,
    /// What a command that ends because of it says to the system.
    pub exit: Exit,
}

/// Judges by the reason; by the code only where this client does not know the reason.
pub(super) fn classify(status: &Status) -> RetryDecision {
    let details = status.get_error_details();
    let after = details.retry_info().and_then(|info| info.retry_delay);
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        return RetryDecision::Retry { why: transport(status), after };
    };
    match exit(&info.reason, status.code()) {
        None => RetryDecision::Retry { why: format!("{}: {}", info.reason, status.message()), after },
        Some(exit) => RetryDecision::Stop(FatalStatus {
            reason: info.reason.clone(),
            message: status.message().into(),
            advice: advice(&info.reason, &details),
            exit,
        }),
    }
}

/// How a command ends over this reason; `None` if it is worth coming back.
fn exit(reason: &str, code: Code) -> Option<Exit> {
    match reason {
        "DRAINING" | "SESSION_ROTATED" | "NOT_LEADER" | "NOT_READY" | "SESSION_LIMIT" | "REPLAY_LIMIT"
        | "CONSUMER_TOO_SLOW" | "STREAM_DEADLINE" | "INTERNAL" => None,
        "FILTER_INVALID" | "START_INVALID" => Some(Exit::Usage),
        "TOKEN_INVALID"
        | "TOKEN_ACCOUNT_MISMATCH"
        | "POSITION_TOO_OLD"
        | "POSITION_IN_FUTURE"
        | "EXACT_UNAVAILABLE" => Some(Exit::Position),
        "CREDENTIALS_MISSING" | "CREDENTIALS_INVALID" | "CREDENTIALS_EXPIRED" | "ACCESS_DENIED" => Some(Exit::Refused),
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
    let said = |key| metadata.and_then(|metadata| metadata.get(key)).filter(|value| !value.is_empty());
    match reason {
        "POSITION_TOO_OLD" => {
            if let Some(time) = said("oldest_time") {
                write!(text, "; the oldest record is of {time}").ok();
            }
            text.push_str("; --on-too-old earliest or latest goes on without them");
        }
        "POSITION_IN_FUTURE" => {
            if let Some(time) = said("head_time") {
                write!(text, "; is this machine's clock right? The gateway's says {time}").ok();
            }
        }
        "TOKEN_INVALID" => text.push_str(", as with --from 10m (and without the token file, if there is one)"),
        _ => {}
    }
    text
}

/// Words for an end that the gateway did not explain: the innermost cause says more than "transport error".
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
        assert_eq!(verdict, RetryDecision::Retry { why: "DRAINING: words".into(), after });
    }

    #[test]
    fn status_without_reason_counts_as_network_failure() {
        for code in [Code::Unavailable, Code::Internal, Code::PermissionDenied] {
            let verdict = classify(&Status::new(code, "reset"));
            assert_eq!(verdict, RetryDecision::Retry { why: "reset".into(), after: None });
        }
    }

    #[test]
    fn position_too_old_describes_gap_and_remedy() {
        let RetryDecision::Stop(refusal) = classify(&status(Code::OutOfRange, "POSITION_TOO_OLD", None)) else {
            panic!("stops")
        };
        let words = refusal.to_string();
        assert!(words.starts_with("POSITION_TOO_OLD: words; --on-too-old"), "{words}");
        assert!(words.contains("--on-too-old"), "{words}");
    }
}
