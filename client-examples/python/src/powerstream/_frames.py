"""Frames as the caller receives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from .gateway.v1 import gap_pb2
from .gateway.v1 import stream_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from .gateway.v1.event_pb2 import Event
    from .gateway.v1.time_interval_pb2 import TimeInterval

_V = TypeVar("_V", bound=int)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a subscription."""

    token: str | None
    """Covers this frame and everything before it: store it together with the effect of the frame. None: the position has
    not changed, or a following frame of the same message has the token."""


@dataclass(frozen=True, slots=True)
class Batch(Frame):
    """Events in the order of the log."""

    events: Sequence[Event]
    """Events: `post_id`, `tags`, `json` and more, as proto/ documents them."""
    possible_duplicate: bool
    """True if some were perhaps delivered before: handle them idempotently, by `post_id`."""


@dataclass(frozen=True, slots=True)
class Gap(Frame):
    """An interval of which posts are or were missing; delivered at each change of its state."""

    message: gap_pb2.Gap
    """All fields, as proto/ documents them."""

    @property
    def id(self) -> str:
        """Identity of the gap."""
        return self.message.gap_id

    @property
    def state(self) -> str:
        """State in words, such as `unrecoverable`."""
        return name(gap_pb2.GapState.Name, "GAP_STATE_", self.message.state)

    @property
    def cause(self) -> str:
        """Cause in words, such as `disconnected`."""
        return name(gap_pb2.GapCause.Name, "GAP_CAUSE_", self.message.cause)

    @property
    def start(self) -> datetime | None:
        """Start of the interval, inclusive; None if it is unknown."""
        return start_of(self.message.interval)

    @property
    def end(self) -> datetime | None:
        """End of the interval, exclusive; None while the gap is open."""
        return end_of(self.message.interval)

    @property
    def is_loss(self) -> bool:
        """True if posts of the interval are lost for good."""
        return self.message.closed and not self.message.complete


@dataclass(frozen=True, slots=True)
class Missing(Frame):
    """An interval between the requested and the actual start that is not delivered: lost for this consumer."""

    interval: TimeInterval
    """The interval."""

    @property
    def start(self) -> datetime | None:
        """Start, inclusive; None if it is unknown."""
        return start_of(self.interval)

    @property
    def end(self) -> datetime | None:
        """End, exclusive."""
        return end_of(self.interval)


@dataclass(frozen=True, slots=True)
class Skipped(Frame):
    """Messages or records that cannot be delivered: they are lost."""

    message: api.Skipped
    """All fields, as proto/ documents them."""

    @property
    def count(self) -> int:
        """Number of messages or records."""
        return self.message.count

    @property
    def reason(self) -> str:
        """Reason in words, such as `oversized`."""
        return name(api.SkipReason.Name, "SKIP_REASON_", self.message.reason)

    @property
    def start(self) -> datetime | None:
        """Start of the interval of their arrival, inclusive."""
        return start_of(self.message.interval)

    @property
    def end(self) -> datetime | None:
        """End of the interval of their arrival, exclusive."""
        return end_of(self.message.interval)


@dataclass(frozen=True, slots=True)
class CaughtUp(Frame):
    """The session has reached the tip of the log."""


@dataclass(frozen=True, slots=True)
class FellBehind(Frame):
    """The session reads from disk: late, nothing is lost."""

    message: api.FellBehind
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class RulesChanged(Frame):
    """A change of the rules that X has."""

    message: api.StreamNotice
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class Heartbeat(Frame):
    """Advances the token where no event matches, and reports lag and low watermark."""

    message: api.Heartbeat
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class Started(Frame):
    """Begins a session.

    What is missing, the warnings and the open gaps follow as frames of their own; the last of them has the token.
    """

    message: api.SessionStart
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class RequestWarning(Frame):
    """A warning about the request."""

    message: api.Warning
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class Notice(Frame):
    """A change of the upstream connection."""

    message: api.StreamNotice
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class Draining(Frame):
    """The gateway ends this session soon. The client reconnects."""

    message: api.Draining
    """All fields, as proto/ documents them."""


@dataclass(frozen=True, slots=True)
class Unknown(Frame):
    """A frame of a newer gateway. It contains no event, and nothing else that must not be skipped. Store its token."""


def frames_of(message: api.SubscribeResponse) -> list[Frame]:  # noqa: PLR0911
    """Return the frames of a message. Only the last one has its token."""
    token = message.resume_token or None
    match message.WhichOneof("frame"):
        case "session_start":
            return _of_start(message.session_start, token)
        case "event_batch":
            batch = message.event_batch
            return [Batch(token, batch.events, batch.possible_duplicate)]
        case "heartbeat":
            return [Heartbeat(token, message.heartbeat)]
        case "caught_up":
            return [CaughtUp(token)]
        case "fell_behind":
            return [FellBehind(token, message.fell_behind)]
        case "gap_notice":
            return [Gap(token, message.gap_notice.gap)]
        case "skipped":
            return [Skipped(token, message.skipped)]
        case "stream_notice":
            notice = message.stream_notice
            is_rules = notice.kind == api.STREAM_NOTICE_KIND_RULES_CHANGED
            return [RulesChanged(token, notice) if is_rules else Notice(token, notice)]
        case "draining":
            return [Draining(token, message.draining)]
    return [Unknown(token)]


def _of_start(start: api.SessionStart, token: str | None) -> list[Frame]:
    frames: list[Frame] = [Started(None, start)]
    frames += [Missing(None, interval) for interval in start.missing]
    frames += [RequestWarning(None, warning) for warning in start.warnings]
    frames += [Gap(None, gap) for gap in start.open_gaps]
    frames[-1] = replace(frames[-1], token=token)
    return frames


def name(name_of: Callable[[_V], str], prefix: str, value: _V) -> str:
    """Return the name of a value without its prefix, as words; the number for one of a newer gateway."""
    return known(name_of, prefix, value).lower().replace("_", " ")


def known(name_of: Callable[[_V], str], prefix: str, value: _V) -> str:
    """Return the name of a value without its prefix; the number for one of a newer gateway."""
    try:
        return name_of(value).removeprefix(prefix)
    except ValueError:
        return str(value)


def start_of(interval: TimeInterval) -> datetime | None:
    """Return the start of an interval; None if it is unknown."""
    return to_datetime(interval.start_time) if interval.HasField("start_time") else None


def end_of(interval: TimeInterval) -> datetime | None:
    """Return the end of an interval; None if it has none yet."""
    return to_datetime(interval.end_time) if interval.HasField("end_time") else None


def to_datetime(at: Timestamp) -> datetime | None:
    """Return the time; None if it is outside the calendar."""
    try:
        return at.ToDatetime(UTC)
    except (ValueError, OverflowError):
        # Not a time of this calendar.
        return None
