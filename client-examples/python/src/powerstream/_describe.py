"""Frames as lines for people: the table "Output" of PROTOCOL.md."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from ._frames import (
    CaughtUp,
    Draining,
    FellBehind,
    Frame,
    Gap,
    Missing,
    Notice,
    RequestWarning,
    RulesChanged,
    Skipped,
    Started,
    name,
)
from .gateway.v1 import stream_service_pb2 as api

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from .gateway.v1.time_interval_pb2 import TimeInterval

# Controls, and formats such as the direction of text.
_UNSAFE = {"Cc", "Cf"}


def describe(frame: Frame) -> list[str]:
    """Return a frame as lines for people; none for events and heartbeats, and for frames of a newer gateway.

    A line contains no control character, whatever the gateway sends.
    """
    line = _line(frame)
    return [] if line is None else [printable(line)]


def printable(text: str) -> str:
    """Escape characters that control a terminal or the direction of text."""
    if text.isprintable():
        return text
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in _UNSAFE else c for c in text)


def _line(frame: Frame) -> str | None:  # noqa: PLR0911
    match frame:
        case Started():
            start = frame.message
            outcome = name(api.StartOutcome.Name, "START_OUTCOME_", start.outcome)
            return f"session {start.session_id} with gateway {start.server_version} on account {start.account}: {outcome}"
        case Missing():
            return f"missing: {interval_words(frame.interval)}"
        case RequestWarning():
            code = name(api.WarningCode.Name, "WARNING_CODE_", frame.message.code)
            return f"warning ({code}): {frame.message.message}"
        case Gap():
            return _gap(frame)
        case CaughtUp():
            return "caught up: live from here"
        case FellBehind():
            return f"fell behind by {frame.message.lag_records} records: late, nothing is lost"
        case Skipped():
            words = interval_words(frame.message.interval)
            return f"skipped {frame.count} ({frame.reason}) {words}: they cannot be delivered"
        case RulesChanged() | Notice():
            kind = name(api.StreamNoticeKind.Name, "STREAM_NOTICE_KIND_", frame.message.kind).removeprefix("upstream ")
            return f"upstream {kind}: {frame.message.message}"
        case Draining():
            reason = name(api.DrainReason.Name, "DRAIN_REASON_", frame.message.reason)
            return f"draining ({reason}): the gateway ends this session soon"
    return None


def _gap(gap: Gap) -> str:
    whose = " of this consumer" if gap.message.private else ""
    # Not by the state: a newer gateway may have further states.
    if gap.message.complete:
        result = "every missing post was delivered"
    else:
        result = "POSTS ARE LOST" if gap.is_loss else "posts may be missing"
    words = interval_words(gap.message.interval)
    return f"gap {gap.id}{whose} {gap.state}: {words} ({gap.cause}): {result}"


def interval_words(interval: TimeInterval) -> str:
    """Return an interval as words."""
    start = _time(interval.start_time) if interval.HasField("start_time") else "an unknown time"
    end = _time(interval.end_time) if interval.HasField("end_time") else "now"
    return f"from {start} to {end}"


def _time(time: Timestamp) -> str:
    try:
        return time.ToJsonString()
    except ValueError:
        return f"{time.seconds} s"
