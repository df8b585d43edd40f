"""Options of a client."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ._errors import InvalidError
from ._limits import BATCH_BYTES_MAX, HEARTBEAT_SECONDS_MAX, HEARTBEAT_SECONDS_MIN
from .gateway.v1 import stream_service_pb2 as api

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from ._observer import Observer

_LOOPBACK = re.compile(r"localhost|::1|127(?:\.\d{1,3}){3}")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Start:
    """Start position without a token."""

    LATEST: ClassVar[Start]
    """Only new records."""
    EARLIEST: ClassVar[Start]
    """The oldest record of the log."""

    _position: Timestamp | Duration | api.Earliest | api.Latest

    @classmethod
    def at(cls, time: datetime) -> Start:
        """Return the first record received at or after this time."""
        position = Timestamp()
        position.FromDatetime(time)
        return cls(position)

    @classmethod
    def lookback(cls, duration: timedelta) -> Start:
        """Return the first record received at or after now minus this duration."""
        position = Duration()
        position.FromTimedelta(duration)
        return cls(position)

    def apply(self, request: api.SubscribeRequest) -> None:
        """Set the start of a request."""
        match self._position:
            case Timestamp():
                request.start_time.CopyFrom(self._position)
            case Duration():
                request.lookback.CopyFrom(self._position)
            case api.Earliest():
                request.earliest.CopyFrom(self._position)
            case _:
                request.latest.CopyFrom(api.Latest())


Start.LATEST = Start(api.Latest())
Start.EARLIEST = Start(api.Earliest())


class ResumePolicy(enum.Enum):
    """Behavior if the token is older than the log and the recovery window."""

    FAIL = api.RESUME_POLICY_FAIL
    """Ends with `PositionError`."""
    EARLIEST = api.RESUME_POLICY_EARLIEST
    """Continues at the oldest record; a `Missing` frame reports the omitted interval."""
    LATEST = api.RESUME_POLICY_LATEST
    """Continues at the tip; a `Missing` frame reports the omitted interval."""


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Files of the credential and of the authorities."""

    authorities: Path | None
    certificate: Path | None
    key: Path | None
    bearer: Path | None


@dataclass(frozen=True, slots=True)
class Options:
    """What a client was made with."""

    target: str
    is_tls: bool
    files: CredentialFiles
    account: str
    consumer: str
    tag_filter: api.TagFilter
    start: Start
    resume_policy: ResumePolicy
    heartbeat: float
    batch_events_max: int
    unsound_max: int
    handler_failures_max: int | None
    stop_wait_max: float
    observer: Observer

    def request(self, token: str | None) -> api.SubscribeRequest:
        """Return the request of the next session."""
        request = api.SubscribeRequest(
            account=self.account,
            consumer=self.consumer,
            filter=self.tag_filter,
            resume_policy=self.resume_policy.value,
            max_batch_bytes=BATCH_BYTES_MAX,
            max_batch_events=self.batch_events_max,
            heartbeat_interval=Duration(seconds=int(self.heartbeat), nanos=int(self.heartbeat % 1 * 1e9)),
        )
        if token is None:
            self.start.apply(request)
        else:
            request.resume_token = token
        return request


def check_address(address: str, files: CredentialFiles, *, allows_plaintext: bool) -> tuple[str, bool]:
    """Return target and whether it is reached by TLS. Raises `InvalidError`."""
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or url.scheme not in _PORTS or url.username or url.path or url.query or url.fragment:
        raise InvalidError(f"invalid address {address!r}: expected http://host:port or https://host:port")
    is_tls = url.scheme == "https"
    if (files.certificate is None) != (files.key is None):
        raise InvalidError("cert_file and key_file are given together")
    if files.bearer is not None and not is_tls and not _LOOPBACK.fullmatch(host) and not allows_plaintext:
        raise InvalidError(
            f"a credential is sent only over TLS or to a loopback host: use https://, or send no bearer token to {address}"
        )
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{port or _PORTS[url.scheme]}", is_tls


def check_heartbeat(heartbeat: float) -> None:
    """Raise `InvalidError` for an interval that the gateway does not accept."""
    if not HEARTBEAT_SECONDS_MIN <= heartbeat <= HEARTBEAT_SECONDS_MAX:
        raise InvalidError(f"invalid heartbeat interval {heartbeat} s: expected 1 to 60")
