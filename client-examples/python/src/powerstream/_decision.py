"""DECIDE: what follows from the status that a session ended with. The table is in PROTOCOL.md."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ._errors import InvalidError, PositionError, RefusedError, StoppedError

DOMAIN = "powerstream.gateway"

RETRIED = frozenset(
    {
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
)
REPLACEABLE = frozenset({"CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED"})
STOPS: dict[str, type[StoppedError]] = {
    "ACCOUNT_REQUIRED": InvalidError,
    "FILTER_INVALID": InvalidError,
    "START_INVALID": InvalidError,
    "ACCESS_DENIED": RefusedError,
    "ACCESS_REVOKED": RefusedError,
    "TAG_DENIED": RefusedError,
    "TOKEN_INVALID": PositionError,
    "TOKEN_ACCOUNT_MISMATCH": PositionError,
    "POSITION_TOO_OLD": PositionError,
    "POSITION_IN_FUTURE": PositionError,
    "EXACT_UNAVAILABLE": PositionError,
}
# Only for reasons of a newer gateway.
STOPS_BY_CODE: dict[grpc.StatusCode, type[StoppedError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidError,
    grpc.StatusCode.NOT_FOUND: InvalidError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidError,
    grpc.StatusCode.UNIMPLEMENTED: InvalidError,
    grpc.StatusCode.OUT_OF_RANGE: PositionError,
    grpc.StatusCode.PERMISSION_DENIED: RefusedError,
    grpc.StatusCode.UNAUTHENTICATED: RefusedError,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step after the end of a session."""

    why: str
    # Delay that the gateway requests, in seconds.
    retry_after: float | None = None
    # None: reconnect.
    stop: StoppedError | None = None
    is_unsound: bool = False


def decide(error: grpc.aio.AioRpcError, *, credential_changed: bool, has_credential: bool) -> Decision:
    """Classify by the reason; by the code only if it is unknown. An end without a reason is one of the network."""
    text = error.details() or error.code().name
    info, retry_after = _details(error)
    if info is None:
        return Decision(text, retry_after)
    reason = info.reason
    stop = STOPS.get(reason)
    if reason.startswith("CREDENTIALS_"):
        may_be_renewed = reason == "CREDENTIALS_EXPIRED" and has_credential
        is_replaced = reason in REPLACEABLE and credential_changed
        stop = None if may_be_renewed or is_replaced else RefusedError
    elif reason not in RETRIED and reason not in STOPS:
        stop = STOPS_BY_CODE.get(error.code())
    stopped = None if stop is None else stop(text, reason, info.metadata)
    return Decision(f"{reason}: {text}", retry_after, stopped)


def _details(error: grpc.aio.AioRpcError) -> tuple[ErrorInfo | None, float | None]:
    found, retry_after = None, None
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            for detail in Status.FromString(value).details:
                info, retry = ErrorInfo(), RetryInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    found = info
                elif detail.Unpack(retry) and retry.retry_delay.ToNanoseconds() > 0:
                    retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        except DecodeError:
            # Not the gateway's: the same as none.
            return None, None
    return found, retry_after
