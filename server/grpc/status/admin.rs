//! Statuses of AdminService, and of sessions that an operator ends or refuses.

use std::time::Duration;

use tonic::{Code, Status};

use super::builder::StatusBuilder;
use crate::access::{RefusalLimitReached, Right};

/// Maximum characters of an id or a name in a message: no valid one is longer.
const SHOWN_CHARS_MAX: usize = 128;
/// Retry delay of an operator whose request is beyond a limit.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Returns the end of a session that an operator ends.
pub(super) fn terminated(reason: Option<&str>) -> StatusBuilder {
    let why = reason.filter(|reason| !reason.is_empty()).map(|reason| format!(" ({reason})")).unwrap_or_default();
    let message = format!("session was ended by an operator{why}; reconnect after the delay and resume");
    StatusBuilder::new(Code::Unavailable, "SESSION_TERMINATED", message)
}

/// Returns the status for a session of a consumer that an operator keeps out.
pub fn session_refused(remaining: Duration) -> Status {
    let message = "an operator refuses sessions of this consumer; reconnect after the delay";
    StatusBuilder::new(Code::Unavailable, "SESSION_TERMINATED", message).retry_after(remaining).status()
}

/// Returns the status for an invalid field of a request to AdminService.
pub fn argument_invalid(field: &str, description: &str) -> Status {
    StatusBuilder::new(Code::InvalidArgument, "ARGUMENT_INVALID", format!("{field}: {description}"))
        .field(field, description)
        .status()
}

/// Returns the status for a session that does not exist, or not for this caller.
pub fn session_unknown(id: &str) -> Status {
    not_found("session", "SESSION_NOT_FOUND", id, "it may have ended")
}

/// Returns the status for a principal that the configuration does not have.
pub fn principal_unknown(name: &str) -> Status {
    let hint = "principals of the configuration can be named; those of JWTs are known only while they call";
    not_found("principal", "PRINCIPAL_NOT_FOUND", name, hint)
}

fn not_found(kind: &str, reason: &'static str, name: &str, hint: &str) -> Status {
    let shown: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    let mut ended = StatusBuilder::new(Code::NotFound, reason, format!("{kind} {shown:?} not found; {hint}"));
    ended.details.set_resource_info(kind, shown, "", "not known");
    ended.status()
}

/// Returns the status for one more refused consumer than allowed.
pub fn refusal_limit(limit: RefusalLimitReached) -> Status {
    StatusBuilder::new(Code::ResourceExhausted, "REFUSAL_LIMIT", format!("{limit}; the session was not ended"))
        .quota("admin.refusals_max", &limit.to_string())
        .retry_after(RETRY_AFTER)
        .status()
}

/// Returns the status for a right that the caller has on no account.
pub fn right_missing_anywhere(right: Right) -> Status {
    let message = format!("right {right} on at least one account is required; ask the operator of the gateway");
    StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).with("right", right).status()
}

/// Returns the status for a right that the caller does not have on every account.
pub fn right_missing_everywhere(right: Right) -> Status {
    let message = format!("right {right} on every account is required; ask the operator of the gateway");
    StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).with("right", right).status()
}

/// Returns the status for an account that does not exist, or whose sessions the caller may not list: the same text for both.
pub fn account_unlisted(asked: &str) -> Status {
    let shown: String = asked.chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("account {shown:?} does not exist, or the right status on it is required");
    StatusBuilder::new(Code::PermissionDenied, "ACCESS_DENIED", message).with("right", Right::Status).status()
}
