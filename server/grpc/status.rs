//! Builds every `tonic::Status`: code, reason and details of each error in the contract.
//!
//! A client switches on the reason (`google.rpc.ErrorInfo`), not on the code. Trailers repeat the reason and the last token for
//! clients that do not decode details.

use std::time::Duration;

use tonic::{Code, Status};

use crate::access::AccessEnd;
use crate::gateway::NoAccount;
use crate::hub::session::{EndReason, SessionEnd};
use crate::hub::start::{StartError, StartOutcome};
use crate::model::{AccountName, PostId};

mod access;
mod admin;
mod builder;
mod recovery;
mod rules;
mod start;

use access::{NAMES_MAX, access_denied};
pub use access::{access_ended, filter_refused, foreign_token, limit_reached, right_missing, unauthenticated};
pub use admin::{
    account_unlisted, argument_invalid, principal_unknown, refusal_limit, right_missing_anywhere,
    right_missing_everywhere, session_refused, session_unknown,
};
use builder::StatusBuilder;
pub use builder::{REASON_TRAILER, TOKEN_TRAILER};
pub use recovery::{job_refused, job_unknown, recovery_limit};
pub use rules::{operation_unknown, rule_change_refused, rule_invalid, rule_set_denied};
pub use start::{in_future, start_invalid};

/// Returns the reason of a status in these headers; empty if there is none.
pub fn reason(headers: &http::HeaderMap) -> &str {
    headers.get(REASON_TRAILER).and_then(|reason| reason.to_str().ok()).unwrap_or_default()
}

/// Retry delay for what another replica can do, or this one soon.
const RETRY_AFTER_BEHIND: Duration = Duration::from_millis(250);
/// Retry delay after a call that took too long.
const RETRY_AFTER_SLOW: Duration = Duration::from_secs(1);

/// Returns the status for a request that is too long, compressed or not: about rules, or another one.
pub fn request_too_long(bytes_max: usize, about_rules: bool) -> Status {
    let (reason, message) = match about_rules {
        true => (
            "RULE_INVALID",
            format!("request exceeds {bytes_max} bytes (grpc.rules_request_bytes_max); send fewer rules"),
        ),
        false => (
            "FILTER_INVALID",
            format!("request exceeds {bytes_max} bytes (grpc.request_bytes_max); shorten the filter"),
        ),
    };
    StatusBuilder::new(Code::InvalidArgument, reason, message).status()
}

/// Returns the status for a request that cannot be decoded.
pub fn request_malformed(why: &str) -> Status {
    StatusBuilder::new(Code::InvalidArgument, "REQUEST_MALFORMED", format!("the request cannot be decoded: {why}"))
        .status()
}

/// Returns the status for an unknown method or encoding.
pub fn unimplemented(why: &str) -> Status {
    StatusBuilder::new(Code::Unimplemented, "UNIMPLEMENTED", why).status()
}

/// Returns the status for a name that the health service does not know.
pub fn service_unknown() -> Status {
    let message = "unknown service or account; use the empty name for the process";
    StatusBuilder::new(Code::NotFound, "SERVICE_UNKNOWN", message).status()
}

/// Returns the status for a start that cannot be served.
pub fn refused(refused: StartError) -> Status {
    match refused {
        StartError::Malformed => StatusBuilder::new(
            Code::InvalidArgument,
            "TOKEN_INVALID",
            "resume token is malformed, damaged, or signed with an unknown key; start by time",
        ),
        StartError::Foreign(account) => StatusBuilder::new(
            Code::FailedPrecondition,
            "TOKEN_ACCOUNT_MISMATCH",
            format!("resume token belongs to account {account}; subscribe to that account, or start by time"),
        )
        .with("account", account),
        StartError::TooOld { oldest_token, oldest_time, missing } => {
            let ended = StatusBuilder::new(
                Code::OutOfRange,
                "POSITION_TOO_OLD",
                format!(
                    "start is older than the oldest record ({} s are missing); \
                     set resume_policy to RESUME_POLICY_EARLIEST or RESUME_POLICY_LATEST to continue without them",
                    missing.as_secs()
                ),
            );
            let time = oldest_time.map(|time| time.to_string()).unwrap_or_default();
            ended
                .with("oldest_token", oldest_token)
                .with("oldest_time", time)
                .with("missing_seconds", missing.as_secs())
        }
        StartError::InFuture { head_time } => return in_future("start is in the future", head_time),
        StartError::ReplicaBehind => {
            return not_ready(
                "replica has not reached the position of the resume token yet; retry",
                RETRY_AFTER_BEHIND,
            );
        }
        StartError::NotLeader(_) => return not_leader(),
        StartError::ClockUnknown => {
            return not_ready(
                "log of the resume token is lost, and X has not confirmed the time of the token; resume later",
                RETRY_AFTER_SLOW,
            );
        }
        StartError::ExactUnavailable(outcome) => {
            let why = match outcome {
                StartOutcome::TimeBounded => "resume token belongs to another log, or to a lost tail of this one",
                StartOutcome::Clamped | StartOutcome::Live | StartOutcome::Exact => "part of the range is not retained",
            };
            StatusBuilder::new(
                Code::FailedPrecondition,
                "EXACT_UNAVAILABLE",
                format!("exact start is not possible: {why}; omit require_exact, or start by time"),
            )
        }
        StartError::RecoveryLimit(exceeded) => return recovery_limit(&exceeded),
    }
    .status()
}

/// Returns the status of an ended session.
pub fn ended(end: SessionEnd) -> Status {
    let after = end.reconnect_after;
    let ended = match end.ending {
        EndReason::Shutdown => {
            StatusBuilder::new(Code::Unavailable, "DRAINING", "gateway shuts down; reconnect and resume")
                .retry_after(after)
        }
        EndReason::Drained => {
            StatusBuilder::new(Code::Unavailable, "DRAINING", "gateway is drained; reconnect and resume")
                .retry_after(after)
        }
        EndReason::Terminated => admin::terminated(end.reason.as_deref()).retry_after(after),
        EndReason::Rotated => StatusBuilder::new(
            Code::Unavailable,
            "SESSION_ROTATED",
            "session reached its maximum age (hub.session_age_max); reconnect and resume",
        )
        .retry_after(after),
        EndReason::Deadline => StatusBuilder::new(
            Code::DeadlineExceeded,
            "STREAM_DEADLINE",
            "deadline of the client expired; resume, without a deadline for an endless stream",
        ),
        EndReason::TooSlow => StatusBuilder::new(
            Code::ResourceExhausted,
            "CONSUMER_TOO_SLOW",
            "records after this position were trimmed before they were read; resume with a policy, and read faster",
        )
        .retry_after(after),
        EndReason::ReplayLimit => StatusBuilder::new(
            Code::ResourceExhausted,
            "REPLAY_LIMIT",
            "too many sessions read the journal (hub.replay_sessions_max); resume later",
        )
        .quota("hub.replay_sessions_max", "sessions that read the journal")
        .retry_after(after),
        EndReason::CallerReplayLimit => StatusBuilder::new(
            Code::ResourceExhausted,
            "REPLAY_LIMIT",
            "too many sessions of this principal read the journal (roles[].limits.replays); resume later",
        )
        .quota("replays", "sessions of the principal that read the journal")
        .retry_after(after),
        EndReason::JournalUnavailable => {
            StatusBuilder::new(Code::Unavailable, "NOT_READY", "journal cannot be read; resume later")
                .retry_after(after)
        }
        EndReason::CredentialsExpired => access::ending(AccessEnd::Expired),
        EndReason::CredentialsRevoked => access::ending(AccessEnd::Revoked),
        EndReason::AccessRevoked => access::ending(AccessEnd::AccessRevoked),
        EndReason::RightsChanged => access::ending(AccessEnd::RightsChanged).retry_after(after),
    };
    ended.token(end.token).status()
}

/// Returns the status for an account that is unknown, not named, or not open. `readable` are the accounts that the caller
/// may read: no other is named. The cause is only in the log: it names paths.
pub fn no_account(asked: &str, none: NoAccount, readable: &[AccountName]) -> Status {
    match none {
        NoAccount::Unnamed => account_required(readable),
        NoAccount::Unknown => access_denied(asked, readable.iter()),
        NoAccount::Failed(_) => not_ready("log of the account cannot be opened; retry later", RETRY_AFTER_SLOW),
    }
}

/// Returns the status of a request without account where the gateway has several and none of them is the default.
fn account_required(accounts: &[AccountName]) -> Status {
    let names: Vec<_> = accounts.iter().take(NAMES_MAX).map(AccountName::as_str).collect();
    let description = format!(
        "is required, because the gateway has several accounts: set it to one of {}, or set default_account in the \
         configuration of the gateway",
        names.join(", ")
    );
    StatusBuilder::new(Code::InvalidArgument, "ACCOUNT_REQUIRED", format!("account: {description}"))
        .field("account", &description)
        .with("accounts", names.join(","))
        .status()
}

/// Returns the status for a session beyond the limit.
pub fn session_limit(full: &crate::hub::SessionLimitReached, after: Duration) -> Status {
    StatusBuilder::new(Code::ResourceExhausted, "SESSION_LIMIT", format!("{full}; close sessions, or retry later"))
        .quota("hub.sessions_max", &full.to_string())
        .retry_after(after)
        .status()
}

/// Returns the status for a filter beyond the limit.
pub fn filter_limit(limit: &crate::hub::FilterLimitReached, after: Duration) -> Status {
    StatusBuilder::new(Code::ResourceExhausted, "FILTER_LIMIT", format!("{limit}; use prefixes, or retry later"))
        .quota("hub.filter_bytes_max", &limit.to_string())
        .retry_after(after)
        .status()
}

/// Returns the status for a response beyond the budget of unread responses.
pub fn response_limit() -> Status {
    let what = "unread responses (grpc.connection_response_bytes_max, grpc.response_bytes_max)";
    StatusBuilder::new(
        Code::ResourceExhausted,
        "RESPONSE_LIMIT",
        format!("too many bytes of {what}; read them, then retry"),
    )
    .quota("grpc.connection_response_bytes_max", "bytes of unread responses")
    .retry_after(RETRY_AFTER_SLOW)
    .status()
}

/// Returns the status for a session during shutdown.
pub fn draining(after: Duration) -> Status {
    StatusBuilder::new(Code::Unavailable, "DRAINING", "gateway drains or shuts down; reconnect")
        .retry_after(after)
        .status()
}

/// Returns the status for a post that is not in the log.
pub fn post_unknown(post: PostId) -> Status {
    let mut ended =
        StatusBuilder::new(Code::NotFound, "POST_NOT_FOUND", format!("post {post} not found in the retained log"));
    ended.details.set_resource_info("post", post.to_string(), "", "not in the log");
    ended.status()
}

/// Returns the status for a log that cannot be read at present.
pub fn not_ready(message: &str, after: Duration) -> Status {
    StatusBuilder::new(Code::Unavailable, "NOT_READY", message).retry_after(after).status()
}

/// Returns the status for what only the leader of an account can do.
pub fn not_leader() -> Status {
    let message = "no replica that leads has answered; retry, or use another replica";
    StatusBuilder::new(Code::Unavailable, "NOT_LEADER", message).retry_after(RETRY_AFTER_BEHIND).status()
}

/// Returns the status for a call that exceeds its time.
pub fn too_slow(limit: Duration) -> Status {
    let limit = humantime::format_duration(limit);
    not_ready(&format!("no response within {limit} (grpc.unary_timeout); retry later"), RETRY_AFTER_SLOW)
}

/// Returns the status for a bug of the gateway.
pub fn internal(session_id: &str) -> Status {
    let mut ended = StatusBuilder::new(Code::Internal, "INTERNAL", "internal error; report it with the request id");
    ended.details.set_request_info(session_id, "");
    ended.status()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::builder::DOMAIN;
    use super::*;
    use crate::gateway::Gateway;
    use crate::ingest::recovery::CreateError;
    use crate::model::UnixMillis;
    use crate::model::{BudgetExceeded, BudgetScope, Limit};

    fn check(status: &Status, code: Code, reason: &str) {
        assert_eq!(status.code(), code);
        let info = status.get_details_error_info().expect("every end has ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, DOMAIN));
        assert_eq!(status.metadata().get(REASON_TRAILER).expect("a trailer"), reason);
    }

    #[test]
    fn session_ends_carry_code_and_last_token() {
        for (ending, code, reason) in [
            (EndReason::Shutdown, Code::Unavailable, "DRAINING"),
            (EndReason::Drained, Code::Unavailable, "DRAINING"),
            (EndReason::Terminated, Code::Unavailable, "SESSION_TERMINATED"),
            (EndReason::Rotated, Code::Unavailable, "SESSION_ROTATED"),
            (EndReason::Deadline, Code::DeadlineExceeded, "STREAM_DEADLINE"),
            (EndReason::TooSlow, Code::ResourceExhausted, "CONSUMER_TOO_SLOW"),
            (EndReason::ReplayLimit, Code::ResourceExhausted, "REPLAY_LIMIT"),
            (EndReason::CallerReplayLimit, Code::ResourceExhausted, "REPLAY_LIMIT"),
            (EndReason::JournalUnavailable, Code::Unavailable, "NOT_READY"),
            (EndReason::CredentialsExpired, Code::Unauthenticated, "CREDENTIALS_EXPIRED"),
            (EndReason::CredentialsRevoked, Code::Unauthenticated, "CREDENTIALS_REVOKED"),
            (EndReason::AccessRevoked, Code::PermissionDenied, "ACCESS_REVOKED"),
            (EndReason::RightsChanged, Code::Unavailable, "RIGHTS_CHANGED"),
        ] {
            let given = Some("why".into());
            let end =
                SessionEnd { ending, token: "abc".into(), reconnect_after: Duration::from_secs(1), reason: given };
            let status = ended(end);
            check(&status, code, reason);
            assert_eq!(status.metadata().get(TOKEN_TRAILER).expect("a trailer"), "abc");
            let is_final = matches!(code, Code::DeadlineExceeded | Code::Unauthenticated | Code::PermissionDenied);
            assert_eq!(status.get_details_retry_info().is_none(), is_final, "{reason}");
        }
    }

    /// A request without account is an invalid request, not a denied one: the caller has to set a field.
    #[test]
    fn missing_account_names_field_and_remedies() {
        let names = ["eu", "us"].map(|name| AccountName::new(name).expect("a name"));
        let gateway = || {
            let gateway = Gateway::new();
            names.iter().for_each(|name| gateway.add_failed(name.clone(), String::new()));
            gateway
        };
        let refused = |gateway: &Gateway, asked: &str| {
            no_account(asked, gateway.account(asked).err().expect("no account is open"), &gateway.names())
        };
        let status = refused(&gateway(), "");
        check(&status, Code::InvalidArgument, "ACCOUNT_REQUIRED");
        let violation = &status.get_details_bad_request().expect("a bad request").field_violations[0];
        assert_eq!(violation.field, "account");
        for remedy in ["eu, us", "default_account"] {
            assert!(violation.description.contains(remedy), "{}", violation.description);
        }
        check(&refused(&gateway(), "asia"), Code::PermissionDenied, "ACCESS_DENIED");
        let by_default = gateway().with_default_account(Some(names[1].clone()));
        check(&refused(&by_default, ""), Code::Unavailable, "NOT_READY");
        assert_eq!(by_default.account_name(""), Ok(names[1].clone()), "requests without account keep working");
        assert_eq!(by_default.account_name("eu"), Ok(names[0].clone()));
    }

    #[test]
    fn errors_carry_retry_advice() {
        let too_old =
            StartError::TooOld { oldest_token: "t".into(), oldest_time: None, missing: Duration::from_secs(90) };
        let status = refused(too_old);
        check(&status, Code::OutOfRange, "POSITION_TOO_OLD");
        assert_eq!(status.get_details_error_info().expect("info").metadata["missing_seconds"], "90");
        check(&refused(StartError::Malformed), Code::InvalidArgument, "TOKEN_INVALID");
        check(&refused(StartError::Foreign("b".into())), Code::FailedPrecondition, "TOKEN_ACCOUNT_MISMATCH");
        let job = job_refused(CreateError::TooOld { oldest: UnixMillis(0), missing: Duration::from_secs(90) });
        check(&job, Code::OutOfRange, "POSITION_TOO_OLD");
        check(&job_refused(CreateError::InFuture { now: UnixMillis(0) }), Code::OutOfRange, "POSITION_IN_FUTURE");
        check(&job_refused(CreateError::Disabled), Code::FailedPrecondition, "RECOVERY_NOT_ENTITLED");
        check(&job_refused(CreateError::Empty), Code::InvalidArgument, "START_INVALID");
        let (scope, retry_after) = (BudgetScope::Caller, Duration::from_secs(90));
        let limit = Limit { max: 60, setting: "a.setting" };
        let exceeded = BudgetExceeded { scope, limit, counted: "jobs", retry_after };
        for status in [job_refused(CreateError::Budget(exceeded)), refused(StartError::RecoveryLimit(exceeded))] {
            check(&status, Code::ResourceExhausted, "RECOVERY_LIMIT");
            assert!(status.get_details_retry_info().is_some(), "it contains a delay");
        }
        let unknown = job_unknown(&"j".repeat(99));
        check(&unknown, Code::NotFound, "JOB_NOT_FOUND");
        assert_eq!(unknown.get_details_resource_info().expect("a resource").resource_name.len(), 32);
        let fault = crate::hub::filter::InvalidFilter { field: "filter.any_of".into(), description: "is wrong".into() };
        let status = filter_refused(&fault.into());
        check(&status, Code::InvalidArgument, "FILTER_INVALID");
        let violations = status.get_details_bad_request().expect("a bad request").field_violations;
        assert_eq!(violations[0].field, "filter.any_of");
    }
}
