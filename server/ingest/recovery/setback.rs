//! Scope of a failed recovery request: which jobs have to wait. Pure.

use crate::upstream::DisconnectCause;
use crate::xapi::ProblemKind;

/// Scope of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureScope {
    /// Only this request: it was interrupted.
    Cut,
    /// All jobs: X, or the network, accepts no request now.
    Held {
        /// False if the request does not count as an attempt: X had too many connections.
        counts: bool,
    },
    /// All jobs, possibly forever: X does not grant recovery.
    Forbidden,
    /// This window: X rejects it.
    BadWindow,
}

/// Returns the scope of the failure with this cause.
pub(super) fn failure_scope(cause: &DisconnectCause) -> FailureScope {
    match cause {
        DisconnectCause::CleanEof
        | DisconnectCause::Cut(_)
        | DisconnectCause::Stale
        | DisconnectCause::SlowReader
        | DisconnectCause::Operational
        | DisconnectCause::InvalidRules
        | DisconnectCause::ForcedDisconnect => FailureScope::Cut,
        DisconnectCause::TooManyConnections => FailureScope::Held { counts: false },
        DisconnectCause::UsageCapped | DisconnectCause::ConnectFailed(_) | DisconnectCause::NoCredentials(_) => {
            FailureScope::Held { counts: true }
        }
        DisconnectCause::Refused(problem) => match problem.kind {
            ProblemKind::TooManyConnections | ProblemKind::RateLimited { .. } | ProblemKind::Provisioning => {
                FailureScope::Held { counts: false }
            }
            ProblemKind::Forbidden => FailureScope::Forbidden,
            ProblemKind::InvalidRequest | ProblemKind::NotFound | ProblemKind::NotAcceptable => FailureScope::BadWindow,
            ProblemKind::UsageCapped { .. }
            | ProblemKind::Unauthorized
            | ProblemKind::NoRules
            | ProblemKind::Redirect
            | ProblemKind::Server
            | ProblemKind::Other => FailureScope::Held { counts: true },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xapi::{BodyError, BodyErrorKind, Headers, Problem};

    #[test]
    fn failure_scope_by_cause() {
        let refused = |status, body: &str| {
            failure_scope(&DisconnectCause::Refused(Box::new(Problem::read(status, Headers::default(), body))))
        };
        let too_many = r#"{"connection_issue":"TooManyConnections"}"#;
        assert_eq!(refused(429, too_many), FailureScope::Held { counts: false });
        assert_eq!(refused(429, ""), FailureScope::Held { counts: false });
        assert_eq!(failure_scope(&DisconnectCause::TooManyConnections), FailureScope::Held { counts: false });
        assert_eq!(refused(401, ""), FailureScope::Held { counts: true });
        assert_eq!(refused(503, ""), FailureScope::Held { counts: true });
        assert_eq!(refused(429, r#"{"title":"UsageCapExceeded"}"#), FailureScope::Held { counts: true });
        assert_eq!(failure_scope(&DisconnectCause::NoCredentials(String::new())), FailureScope::Held { counts: true });
        assert_eq!(refused(403, ""), FailureScope::Forbidden);
        assert_eq!((refused(400, ""), refused(406, "")), (FailureScope::BadWindow, FailureScope::BadWindow));
        let cut = BodyError { kind: BodyErrorKind::Cut, detail: String::new() };
        assert_eq!(
            (failure_scope(&DisconnectCause::Cut(cut)), failure_scope(&DisconnectCause::Stale)),
            (FailureScope::Cut, FailureScope::Cut)
        );
    }
}
