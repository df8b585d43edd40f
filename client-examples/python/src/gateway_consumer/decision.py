"""DECIDE: what follows from the status that a session ended with. The table is in PROTOCOL.md."""

from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "powerstream.gateway"

RETRIED = {
    "DRAINING",
    "SESSION_ROTATED",
    "SESSION_TERMINATED",
    "RIGHTS_CHANGED",
    "AUTH_UNAVAILABLE",
    "NOT_LEADER",
    "NOT_READY",
    "SESSION_LIMIT",
    "CONNECTION_LIMIT",
    "CALL_LIMIT",
    "RECOVERY_LIMIT",
    "FILTER_LIMIT",
    "REPLAY_LIMIT",
    "CONSUMER_TOO_SLOW",
    "STREAM_DEADLINE",
    "INTERNAL",
}
STOPS = {
    "ACCOUNT_REQUIRED": 2,
    "FILTER_INVALID": 2,
    "START_INVALID": 2,
    "ACCESS_DENIED": 4,
    "ACCESS_REVOKED": 4,
    "TAG_DENIED": 4,
    "TOKEN_INVALID": 5,
    "TOKEN_ACCOUNT_MISMATCH": 5,
    "POSITION_TOO_OLD": 5,
    "POSITION_IN_FUTURE": 5,
    "EXACT_UNAVAILABLE": 5,
}
CREDENTIALS = {"CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED", "CREDENTIALS_EXPIRED"}
# Only for reasons of a newer gateway.
STOPS_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: 2,
    grpc.StatusCode.NOT_FOUND: 2,
    grpc.StatusCode.FAILED_PRECONDITION: 2,
    grpc.StatusCode.UNIMPLEMENTED: 2,
    grpc.StatusCode.OUT_OF_RANGE: 5,
    grpc.StatusCode.PERMISSION_DENIED: 4,
    grpc.StatusCode.UNAUTHENTICATED: 4,
}


@dataclass(frozen=True)
class Decision:
    why: str
    # How long the gateway asks to wait, in seconds.
    retry_after: float | None = None
    # The exit code; None means BACK_OFF.
    stop: int | None = None


def decide(error: grpc.aio.AioRpcError, *, credential_changed: bool, has_credential: bool) -> Decision:
    """By the reason; by the code only where the reason is not known; an end without a reason is the network's."""
    text = error.details() or error.code().name
    reason, retry_after = _details(error)
    if reason is None:
        return Decision(text, retry_after)
    why = f"{reason}: {text}"
    stop = STOPS.get(reason)
    if reason in CREDENTIALS:
        refreshed = has_credential and (reason == "CREDENTIALS_EXPIRED" or credential_changed)
        stop = None if refreshed else 4
    elif reason not in RETRIED and reason not in STOPS:
        stop = STOPS_BY_CODE.get(error.code())
    if reason == "POSITION_TOO_OLD":
        why += "; --resume-policy earliest or latest continues without them"
    return Decision(why, retry_after, stop)


def _details(error: grpc.aio.AioRpcError) -> tuple[str | None, float | None]:
    reason, retry_after = None, None
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in Status.FromString(value).details:
                info, retry = ErrorInfo(), RetryInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    reason = info.reason
                elif detail.Unpack(retry) and retry.retry_delay.ToNanoseconds() > 0:
                    retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        except DecodeError:
            # Not the gateway's: the same as none.
            return None, None
    return reason, retry_after
