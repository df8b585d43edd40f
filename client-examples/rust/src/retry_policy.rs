use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::credential::{CredentialError, CredentialState};
use crate::validator::ContractViolation;

/// Domain of the gateway's reasons; others come from proxies.
const DOMAIN: &str = "powerstream.gateway";

/// End of a session, or of the attempt to open one.
#[derive(Debug)]
pub(crate) enum Disconnect {
    /// A status, of the gateway or of a proxy.
    Status(Box<Status>),
    /// The connection failed or ended.
    Network(String),
    /// No frame arrived for this long.
    Silence(Duration),
    /// A file of the credential cannot be used.
    Credential(CredentialError),
    /// A frame violated the contract.
    Violation(ContractViolation),
}

/// Decision after a [`Disconnect`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// Reconnect with the same token.
    Retry {
        cause: String,
        /// `RetryInfo.retry_delay` of the status.
        retry_delay: Option<Duration>,
    },
    /// The same request would fail again.
    Stop(Refusal),
}

/// The gateway rejects this request permanently: the caller has to change it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// What has to be changed.
    pub kind: RefusalKind,
    /// Reason of the gateway, such as `POSITION_TOO_OLD`.
    pub reason: String,
    /// Message of the gateway.
    pub message: String,
    /// Values that belong to the reason, such as `oldest_time`.
    pub metadata: HashMap<String, String>,
}

/// What a [`Refusal`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request: account, filter or start.
    Request,
    /// The credential, or the rights of its principal.
    Access,
    /// The position: too old, malformed, or of another account.
    Position,
}

impl Disconnect {
    /// A failure of the network, described by its innermost cause.
    pub(crate) fn network(error: &dyn Error) -> Self {
        Self::Network(innermost(error))
    }
}

impl From<Status> for Disconnect {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => f.write_str(&text_of(status)),
            Self::Network(cause) => f.write_str(cause),
            Self::Silence(limit) => write!(f, "no frame for {} s", limit.as_secs()),
            Self::Credential(error) => error.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

/// The table "Decide" of PROTOCOL.md, but for violations: by the reason; by the code only if the reason is unknown.
/// `credential` is called only for reasons that depend on it.
pub(crate) fn classify(end: &Disconnect, credential: impl FnOnce() -> CredentialState) -> RetryDecision {
    let Disconnect::Status(status) = end else {
        return RetryDecision::Retry { cause: end.to_string(), retry_delay: None };
    };
    let details = status.get_error_details();
    let retry_delay = details.retry_info().and_then(|info| info.retry_delay).filter(|delay| !delay.is_zero());
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        return RetryDecision::Retry { cause: end.to_string(), retry_delay };
    };
    let (reason, message) = (info.reason.clone(), text_of(status));
    match refusal_kind(&reason, status.code(), credential) {
        None => RetryDecision::Retry { cause: format!("{reason}: {message}"), retry_delay },
        Some(kind) => RetryDecision::Stop(Refusal { kind, reason, message, metadata: info.metadata.clone() }),
    }
}

/// Returns what a reason is about; `None` if a retry may succeed.
fn refusal_kind(reason: &str, code: Code, credential: impl FnOnce() -> CredentialState) -> Option<RefusalKind> {
    match reason {
        "DRAINING" | "SESSION_ROTATED" | "SESSION_TERMINATED" | "RIGHTS_CHANGED" | "AUTH_UNAVAILABLE"
        | "NOT_LEADER" | "NOT_READY" | "SESSION_LIMIT" | "CONNECTION_LIMIT" | "CALL_LIMIT" | "REPLAY_LIMIT"
        | "RECOVERY_LIMIT" | "FILTER_LIMIT" | "CONSUMER_TOO_SLOW" | "STREAM_DEADLINE" | "INTERNAL" => None,
        // Another process renews what has expired.
        "CREDENTIALS_EXPIRED" => (credential() == CredentialState::None).then_some(RefusalKind::Access),
        "CREDENTIALS_MISSING" | "CREDENTIALS_INVALID" | "CREDENTIALS_REVOKED" => {
            (credential() != CredentialState::Changed).then_some(RefusalKind::Access)
        }
        "ACCESS_DENIED" | "ACCESS_REVOKED" | "TAG_DENIED" => Some(RefusalKind::Access),
        reason if reason.starts_with("CREDENTIALS_") => Some(RefusalKind::Access),
        "ACCOUNT_REQUIRED" | "FILTER_INVALID" | "START_INVALID" => Some(RefusalKind::Request),
        "POSITION_TOO_OLD"
        | "POSITION_IN_FUTURE"
        | "TOKEN_INVALID"
        | "TOKEN_ACCOUNT_MISMATCH"
        | "EXACT_UNAVAILABLE" => Some(RefusalKind::Position),
        _ => match code {
            Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => {
                Some(RefusalKind::Request)
            }
            Code::OutOfRange => Some(RefusalKind::Position),
            Code::PermissionDenied | Code::Unauthenticated => Some(RefusalKind::Access),
            _ => None,
        },
    }
}

fn text_of(status: &Status) -> String {
    match status.source() {
        Some(source) => innermost(source),
        None if status.message().is_empty() => status.code().description().into(),
        None => status.message().into(),
    }
}

/// Returns the innermost cause of an error: it is more specific than "transport error".
pub fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, domain: &str, delay: Option<Duration>) -> Disconnect {
        let mut details = ErrorDetails::new();
        let metadata = HashMap::from([("oldest_time".to_owned(), "today".to_owned())]);
        details.set_error_info(reason, domain, metadata).set_retry_info(delay);
        Status::with_error_details(code, "words", details).into()
    }

    fn check(code: Code, reason: &str, credential: CredentialState, expected: Option<RefusalKind>) {
        let kind = match classify(&status(code, reason, DOMAIN, None), || credential) {
            RetryDecision::Retry { cause, .. } => {
                assert_eq!(cause, format!("{reason}: words"));
                None
            }
            RetryDecision::Stop(refusal) => {
                assert_eq!(refusal.to_string(), format!("{reason}: words"));
                assert_eq!(refusal.metadata["oldest_time"], "today");
                Some(refusal.kind)
            }
        };
        assert_eq!(kind, expected, "{reason} {code:?}");
    }

    #[test]
    fn reason_decides_and_code_if_unknown() {
        let check = |code, reason, expected| check(code, reason, CredentialState::None, expected);
        check(Code::Unavailable, "DRAINING", None);
        check(Code::ResourceExhausted, "CONSUMER_TOO_SLOW", None);
        check(Code::DeadlineExceeded, "STREAM_DEADLINE", None);
        check(Code::Internal, "INTERNAL", None);
        check(Code::Unavailable, "RIGHTS_CHANGED", None);
        check(Code::PermissionDenied, "ACCESS_REVOKED", Some(RefusalKind::Access));
        check(Code::PermissionDenied, "ACCESS_DENIED", Some(RefusalKind::Access));
        check(Code::Unauthenticated, "CREDENTIALS_OF_TOMORROW", Some(RefusalKind::Access));
        check(Code::InvalidArgument, "FILTER_INVALID", Some(RefusalKind::Request));
        check(Code::InvalidArgument, "TOKEN_INVALID", Some(RefusalKind::Position));
        check(Code::FailedPrecondition, "TOKEN_ACCOUNT_MISMATCH", Some(RefusalKind::Position));
        check(Code::OutOfRange, "POSITION_TOO_OLD", Some(RefusalKind::Position));
        check(Code::OutOfRange, "A_REASON_OF_TOMORROW", Some(RefusalKind::Position));
        check(Code::Unimplemented, "A_REASON_OF_TOMORROW", Some(RefusalKind::Request));
        check(Code::Unauthenticated, "A_REASON_OF_TOMORROW", Some(RefusalKind::Access));
        check(Code::Aborted, "A_REASON_OF_TOMORROW", None);
    }

    #[test]
    fn replaceable_credentials_are_retried() {
        let check = |reason, credential, is_retried: bool| {
            check(Code::Unauthenticated, reason, credential, (!is_retried).then_some(RefusalKind::Access));
        };
        check("CREDENTIALS_EXPIRED", CredentialState::Same, true);
        check("CREDENTIALS_EXPIRED", CredentialState::None, false);
        for reason in ["CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED"] {
            check(reason, CredentialState::None, false);
            check(reason, CredentialState::Same, false);
            check(reason, CredentialState::Changed, true);
        }
    }

    #[test]
    fn status_without_own_reason_is_network_failure() {
        let none = || CredentialState::None;
        for code in [Code::Ok, Code::Unavailable, Code::PermissionDenied, Code::InvalidArgument] {
            let retry = RetryDecision::Retry { cause: "words".into(), retry_delay: None };
            assert_eq!(classify(&Status::new(code, "words").into(), none), retry);
            assert_eq!(classify(&status(code, "DENIED", "proxy.example", None), none), retry);
        }
    }

    #[test]
    fn retry_delay_over_zero_is_returned() {
        for (delay, expected) in [(Some(Duration::from_secs(7)), true), (Some(Duration::ZERO), false), (None, false)] {
            let end = status(Code::Unavailable, "DRAINING", DOMAIN, delay);
            let expected =
                RetryDecision::Retry { cause: "DRAINING: words".into(), retry_delay: delay.filter(|_| expected) };
            assert_eq!(classify(&end, || CredentialState::None), expected);
        }
    }
}
