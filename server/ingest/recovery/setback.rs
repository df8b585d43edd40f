//! Whom the failure of a recovery request concerns: pure.

use crate::upstream::EndCause;
use crate::xapi::Kind;

/// Whom a failure concerns, and so who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// This request alone: it had begun.
    Cut,
    /// All jobs: X, or the way to it, takes no request now.
    Held {
        /// False if the request does not count as one: X had no room for it.
        counts: bool,
    },
    /// All jobs, and X may never take them: it does not grant recovery.
    Forbidden,
    /// This window: X does not take it.
    BadWindow,
}

/// Judges what a failed request ended with.
pub(super) fn setback(cause: &EndCause) -> Setback {
    match cause {
        EndCause::CleanEof
        | EndCause::Cut(_)
        | EndCause::Stale
        | EndCause::SlowReader
        | EndCause::Operational
        | EndCause::InvalidRules
        | EndCause::ForcedDisconnect
        | EndCause::Stopped => Setback::Cut,
        EndCause::TooManyConnections => Setback::Held { counts: false },
        EndCause::UsageCapped | EndCause::ConnectFailed(_) | EndCause::NoCredentials(_) => {
            Setback::Held { counts: true }
        }
        EndCause::Refused(problem) => match problem.kind {
            Kind::TooManyConnections | Kind::RateLimited { .. } | Kind::Provisioning => Setback::Held { counts: false },
            Kind::Forbidden => Setback::Forbidden,
            Kind::InvalidRequest | Kind::NotFound | Kind::NotAcceptable => Setback::BadWindow,
            Kind::UsageCapped { .. }
            | Kind::Unauthorized
            | Kind::NoRules
            | Kind::Redirect
            | Kind::Server
            | Kind::Other => Setback::Held { counts: true },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xapi::{BodyError, BodyErrorKind, Headers, Problem};

    #[test]
    fn a_failure_holds_up_those_whom_it_concerns() {
        let refused =
            |status, body: &str| setback(&EndCause::Refused(Box::new(Problem::read(status, Headers::default(), body))));
        let too_many = r#"{"connection_issue":"TooManyConnections"}"#;
        assert_eq!(refused(429, too_many), Setback::Held { counts: false });
        assert_eq!(refused(429, ""), Setback::Held { counts: false });
        assert_eq!(setback(&EndCause::TooManyConnections), Setback::Held { counts: false });
        assert_eq!(refused(401, ""), Setback::Held { counts: true });
        assert_eq!(refused(503, ""), Setback::Held { counts: true });
        assert_eq!(refused(429, r#"{"title":"UsageCapExceeded"}"#), Setback::Held { counts: true });
        assert_eq!(setback(&EndCause::NoCredentials(String::new())), Setback::Held { counts: true });
        assert_eq!(refused(403, ""), Setback::Forbidden);
        assert_eq!((refused(400, ""), refused(406, "")), (Setback::BadWindow, Setback::BadWindow));
        let cut = BodyError { kind: BodyErrorKind::Cut, detail: String::new() };
        assert_eq!((setback(&EndCause::Cut(cut)), setback(&EndCause::Stale)), (Setback::Cut, Setback::Cut));
    }
}
