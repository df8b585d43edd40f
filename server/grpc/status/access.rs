//! Statuses of credentials and rights.

use std::time::Duration;

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use crate::access::{AccessEnd, AuthError, LimitKind, LimitReached, Right};
use crate::hub::filter::{FilterError, InvalidFilter};
use crate::model::AccountName;

/// Maximum number of account names in an error: more make it unreadable.
pub(super) const NAMES_MAX: usize = 20;
/// Retry delay after a call whose credential could not be checked.
const RETRY_AFTER_KEYS: Duration = Duration::from_secs(5);

/// Returns the status for an account that is unknown or that the caller may not read: the same text for both.
pub(super) fn access_denied<'a>(asked: &str, readable: impl Iterator<Item = &'a AccountName>) -> Status {
    let names: Vec<_> = readable.take(NAMES_MAX).map(AccountName::as_str).collect();
    let shown: String = asked.chars().take(AccountName::BYTES_MAX).collect();
    let message =
        format!("account {shown:?} does not exist or is not readable; readable accounts: {}", names.join(", "));
    StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).with("accounts", names.join(",")).status()
}

/// Returns the status for a right that the caller does not have on an account that the caller may read.
pub fn right_missing(right: Right, account: &AccountName) -> Status {
    let message = format!("right {right} on account {account} is required; ask the owner of the account");
    StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).with("right", right).status()
}

/// Returns the status for a call without a valid credential.
pub fn unauthenticated(error: AuthError) -> Status {
    let reason = match error {
        AuthError::Missing => "CREDENTIALS_MISSING",
        AuthError::Invalid | AuthError::KeyUnknown => "CREDENTIALS_INVALID",
        AuthError::Expired => "CREDENTIALS_EXPIRED",
        AuthError::Unavailable => {
            let refused = StatusBuilder::new(Code::Unavailable, "AUTH_UNAVAILABLE", error.to_string());
            return refused.retry_after(RETRY_AFTER_KEYS).status();
        }
    };
    StatusBuilder::new(Code::Unauthenticated, reason, error.to_string()).status()
}

/// Returns the end of a stream whose caller has lost its right, before its token and retry delay are added.
pub(super) fn ending(end: AccessEnd) -> StatusBuilder {
    match end {
        AccessEnd::Expired => {
            StatusBuilder::new(Code::Unauthenticated, "CREDENTIALS_EXPIRED", AuthError::Expired.to_string())
        }
        AccessEnd::Revoked => StatusBuilder::new(
            Code::Unauthenticated,
            "CREDENTIALS_REVOKED",
            "credentials are not accepted any more; obtain new ones, then resume",
        ),
        AccessEnd::AccessRevoked => StatusBuilder::new(
            Code::PermissionDenied,
            "ACCESS_REVOKED",
            "the right to read this account was withdrawn; ask the owner of the account",
        ),
        AccessEnd::RightsChanged => StatusBuilder::new(
            Code::Unavailable,
            "RIGHTS_CHANGED",
            "other posts are readable for this caller than before; reconnect and resume",
        ),
    }
}

/// Returns the end of a stream without a position whose caller has lost its right.
pub fn access_ended(end: AccessEnd) -> Status {
    ending(end).status()
}

/// Returns the status for an invalid filter.
fn filter_invalid(fault: &InvalidFilter) -> Status {
    StatusBuilder::new(Code::InvalidArgument, "FILTER_INVALID", fault.to_string())
        .field(&fault.field, &fault.description)
        .status()
}

/// Returns the status for a filter that cannot be served.
pub fn filter_refused(error: &FilterError) -> Status {
    match error {
        FilterError::Invalid(fault) => filter_invalid(fault),
        FilterError::Denied(denied) => StatusBuilder::new(Code::PermissionDenied, "TAG_DENIED", denied.to_string())
            .with("field", &denied.field)
            .with("tag", &denied.tag)
            .status(),
    }
}

/// Returns the status for a resume token of an account that the caller may not read: the account is not named.
pub fn foreign_token() -> Status {
    let message = "resume token belongs to another account; subscribe to that account, or start by time";
    StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).status()
}

/// Returns the status for a call beyond a limit of its principal.
pub fn limit_reached(reached: &LimitReached) -> Status {
    let reason = match reached.limit {
        LimitKind::Sessions => "SESSION_LIMIT",
        LimitKind::Connections => "CONNECTION_LIMIT",
        LimitKind::Replays => "REPLAY_LIMIT",
        LimitKind::RecoveryJobs => "RECOVERY_LIMIT",
        LimitKind::Calls | LimitKind::Bytes => "CALL_LIMIT",
    };
    let name = reached.limit.name();
    let subject = format!("{}/{name}", reached.principal);
    let message = format!(
        "limit of principal {:?} reached: {} is {} (roles[].limits); retry later, or ask the operator for a higher limit",
        reached.principal, name, reached.max
    );
    StatusBuilder::new(Code::ResourceExhausted, reason, message)
        .quota(&subject, "limit of the principal")
        .retry_after(reached.retry_after)
        .status()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn refused_credentials_have_reason() {
        for (error, code, reason) in [
            (AuthError::Missing, Code::Unauthenticated, "CREDENTIALS_MISSING"),
            (AuthError::Invalid, Code::Unauthenticated, "CREDENTIALS_INVALID"),
            (AuthError::KeyUnknown, Code::Unauthenticated, "CREDENTIALS_INVALID"),
            (AuthError::Expired, Code::Unauthenticated, "CREDENTIALS_EXPIRED"),
            (AuthError::Unavailable, Code::Unavailable, "AUTH_UNAVAILABLE"),
        ] {
            let status = unauthenticated(error);
            let info = status.get_details_error_info().expect("every end has ErrorInfo");
            assert_eq!((status.code(), info.reason.as_str()), (code, reason));
            assert_eq!(status.get_details_retry_info().is_some(), error == AuthError::Unavailable, "{reason}");
        }
        let [unknown, invalid] = [AuthError::KeyUnknown, AuthError::Invalid].map(|error| error.to_string());
        assert_eq!(unknown, invalid, "one text");
    }
}
