"""Errors that end a subscription, and those with which a handler decides what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._frames import Frame
    from .gateway.v1.event_pb2 import Event


class StoppedError(Exception):
    """Ends a subscription, because the same request would fail again."""

    def __init__(self, message: str, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        """`reason`: that of the gateway, such as POSITION_TOO_OLD; empty if the error did not come from the gateway."""
        super().__init__(f"{reason}: {message}" if reason else message)
        self.reason = reason
        """Reason of the gateway, such as POSITION_TOO_OLD; empty if the error did not come from the gateway."""
        self.metadata = dict(metadata or {})
        """Values that belong to the reason, such as `oldest_time`."""


class InvalidError(StoppedError):
    """The options or the request are invalid: address, account, filter or start."""


class RefusedError(StoppedError):
    """The gateway rejects the credential, or its principal may not read this."""


class PositionError(StoppedError):
    """The position cannot be served: too old, malformed, or of another account."""


class UnsoundError(StoppedError):
    """The delivery contract was violated `unsound_max` times: an operator has to investigate."""


class PermanentError(Exception):
    """Raised by a handler for a failure that no repetition resolves: `Client.run` ends with it."""


class PoisonError(Exception):
    """Raised by a handler for an event that it can never handle.

    `Client.run` passes the event to `Handler.dead_letter`, and then delivers the batch again without it.
    """

    def __init__(self, event: Event, reason: str) -> None:
        """`reason`: why the event cannot be handled."""
        super().__init__(reason)
        self.event = event
        """The event."""


class UnfinishedError(Exception):
    """`Client.run` was stopped while its handler had a frame in hand: it is delivered again.

    The error of the handler is the cause; there is none if the handler did not return in time.
    """

    def __init__(self, frame: Frame) -> None:
        """`frame`: the one in hand."""
        super().__init__("stopped within a frame: it is delivered again")
        self.frame = frame
        """Frame in hand."""
