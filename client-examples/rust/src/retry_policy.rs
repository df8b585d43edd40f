use std::time::Duration;

use tonic::Code;

use crate::exit::{Exit, Failure};
use crate::limits::UNSOUND_MAX;

/// How a session ended, or the attempt to open one.
#[derive(Debug)]
pub enum Ending {
    /// A status came, or the transport made one.
    Status {
        code: Code,
        text: String,
        /// The gateway's own; that of a proxy counts as none.
        reason: Option<String>,
        /// `RetryInfo.retry_delay`.
        retry_delay: Option<Duration>,
    },
    /// Nothing came for so long.
    Silence(Duration),
    /// A file that CONNECT needs cannot be read.
    Unreadable(String),
    /// The gateway broke a promise, so many times in this process.
    Unsound { words: String, times: u32 },
}

/// What this process knows about its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialState {
    None,
    Same,
    Changed,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    BackOff { words: String, retry_delay: Option<Duration> },
    Stopped(Failure),
}

/// The table "Decide" of PROTOCOL.md: by the reason; by the code only where the reason is not known.
pub fn decide(ending: Ending, credential: CredentialState) -> Verdict {
    let back_off = |words| Verdict::BackOff { words, retry_delay: None };
    match ending {
        Ending::Silence(limit) => back_off(format!("disconnected: no frame for {} s", limit.as_secs())),
        Ending::Unreadable(words) => back_off(format!("disconnected: {words}")),
        Ending::Unsound { words, times } if times < UNSOUND_MAX => back_off(format!("UNSOUND: {words}")),
        Ending::Unsound { words, .. } => Verdict::Stopped(Failure::new(Exit::Unsound, format!("UNSOUND: {words}"))),
        Ending::Status { text, reason: None, retry_delay, .. } => {
            Verdict::BackOff { words: format!("disconnected: {text}"), retry_delay }
        }
        Ending::Status { code, text, reason: Some(reason), retry_delay } => match exit_of(&reason, code, credential) {
            None => Verdict::BackOff { words: format!("disconnected: {reason}: {text}"), retry_delay },
            Some(exit) => Verdict::Stopped(Failure::new(exit, format!("{reason}: {text}{}", advice(&reason)))),
        },
    }
}

/// How the process ends over this reason; `None` if it is worth coming back.
fn exit_of(reason: &str, code: Code, credential: CredentialState) -> Option<Exit> {
    match reason {
        "DRAINING" | "SESSION_ROTATED" | "SESSION_TERMINATED" | "RIGHTS_CHANGED" | "AUTH_UNAVAILABLE"
        | "NOT_LEADER" | "NOT_READY" | "SESSION_LIMIT" | "CONNECTION_LIMIT" | "CALL_LIMIT" | "REPLAY_LIMIT"
        | "RECOVERY_LIMIT" | "FILTER_LIMIT" | "CONSUMER_TOO_SLOW" | "STREAM_DEADLINE" | "INTERNAL" => None,
        "CREDENTIALS_EXPIRED" if credential != CredentialState::None => None,
        "CREDENTIALS_MISSING" | "CREDENTIALS_INVALID" | "CREDENTIALS_REVOKED"
            if credential == CredentialState::Changed =>
        {
            None
        }
        "ACCESS_DENIED" | "ACCESS_REVOKED" | "TAG_DENIED" => Some(Exit::Refused),
        reason if reason.starts_with("CREDENTIALS_") => Some(Exit::Refused),
        "ACCOUNT_REQUIRED" | "FILTER_INVALID" | "START_INVALID" => Some(Exit::Usage),
        "POSITION_TOO_OLD"
        | "POSITION_IN_FUTURE"
        | "TOKEN_INVALID"
        | "TOKEN_ACCOUNT_MISMATCH"
        | "EXACT_UNAVAILABLE" => Some(Exit::Position),
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

fn advice(reason: &str) -> &'static str {
    match reason {
        "POSITION_TOO_OLD" => "; --resume-policy earliest or latest continues without them",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, reason: Option<&str>, credential: CredentialState, expected: Option<Exit>) {
        let reason = reason.map(String::from);
        let words = format!("{reason:?} {code:?}");
        let ending = Ending::Status { code, text: "words".into(), reason, retry_delay: None };
        let exit = match decide(ending, credential) {
            Verdict::BackOff { .. } => None,
            Verdict::Stopped(failure) => Some(failure.exit),
        };
        assert_eq!(exit, expected, "{words}");
    }

    #[test]
    fn the_reason_decides_and_the_code_only_where_the_reason_is_not_known() {
        let check = |code, reason, expected| check(code, Some(reason), CredentialState::None, expected);
        check(Code::Unavailable, "DRAINING", None);
        check(Code::ResourceExhausted, "CONSUMER_TOO_SLOW", None);
        check(Code::Internal, "INTERNAL", None);
        check(Code::Unavailable, "RIGHTS_CHANGED", None);
        check(Code::PermissionDenied, "ACCESS_REVOKED", Some(Exit::Refused));
        check(Code::InvalidArgument, "FILTER_INVALID", Some(Exit::Usage));
        check(Code::InvalidArgument, "TOKEN_INVALID", Some(Exit::Position));
        check(Code::OutOfRange, "POSITION_TOO_OLD", Some(Exit::Position));
        check(Code::PermissionDenied, "ACCESS_DENIED", Some(Exit::Refused));
        check(Code::OutOfRange, "OF_TOMORROW", Some(Exit::Position));
        check(Code::Unimplemented, "OF_TOMORROW", Some(Exit::Usage));
        check(Code::Unauthenticated, "OF_TOMORROW", Some(Exit::Refused));
        check(Code::Aborted, "OF_TOMORROW", None);
    }

    #[test]
    fn credentials_that_may_be_refreshed_are_waited_for() {
        let check = |reason, credential, expected| check(Code::Unauthenticated, Some(reason), credential, expected);
        check("CREDENTIALS_EXPIRED", CredentialState::Same, None);
        check("CREDENTIALS_EXPIRED", CredentialState::None, Some(Exit::Refused));
        check("CREDENTIALS_INVALID", CredentialState::Same, Some(Exit::Refused));
        check("CREDENTIALS_INVALID", CredentialState::Changed, None);
        check("CREDENTIALS_REVOKED", CredentialState::Same, Some(Exit::Refused));
        check("CREDENTIALS_REVOKED", CredentialState::Changed, None);
    }

    #[test]
    fn an_end_without_a_reason_of_the_gateway_is_the_network() {
        for code in [Code::Ok, Code::Unavailable, Code::PermissionDenied, Code::InvalidArgument] {
            check(code, None, CredentialState::None, None);
        }
    }

    #[test]
    fn the_third_unsound_frame_ends_the_process() {
        let unsound = |times| decide(Ending::Unsound { words: "x".into(), times }, CredentialState::None);
        assert_eq!(unsound(2), Verdict::BackOff { words: "UNSOUND: x".into(), retry_delay: None });
        assert_eq!(unsound(3), Verdict::Stopped(Failure::new(Exit::Unsound, "UNSOUND: x")));
    }
}
