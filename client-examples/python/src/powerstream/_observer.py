"""What an operator measures and logs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._describe import describe, interval_words
from ._frames import Draining, FellBehind, Frame, Gap, Heartbeat, Missing, Skipped, Started, to_datetime
from .gateway.v1 import stream_service_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

LOG = logging.getLogger("powerstream")


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End of a session, or of an attempt to open one."""

    cause: str
    """Cause for people."""
    is_unsound: bool
    """True if a frame violated the delivery contract."""
    failures: int
    """Disconnects since the last sound frame, this one included."""
    retry_in: float
    """Delay before the next attempt, in seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Position of a session."""

    lag_records: int
    """Records between this session and the tip of the log."""
    lag: timedelta
    """Time between this session and the tip of the log."""
    low_watermark: datetime | None
    """Every matching event created before this time was delivered or lies in an announced gap."""
    is_upstream_connected: bool
    """True if the gateway receives from X."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Functions that the client calls between frames, for metrics. They must not block."""

    connected: Callable[[Started], object] | None = None
    """A session began."""
    disconnected: Callable[[Disconnect], object] | None = None
    """A session ended or could not be opened; the client waits and reconnects."""
    progress: Callable[[Progress], object] | None = None
    """A heartbeat: lag and low watermark."""
    gap: Callable[[Gap], object] | None = None
    """A gap was detected or has changed."""


def observe(observer: Observer, frame: Frame) -> None:  # noqa: C901
    """Log the frame and call the observer, before the frame is delivered."""
    match frame:
        case Started():
            LOG.info("session started: %s", describe(frame)[0])
            if observer.connected is not None:
                observer.connected(frame)
        case Heartbeat():
            if observer.progress is not None:
                observer.progress(_progress(frame.message))
        case Gap():
            LOG.log(logging.WARNING if frame.is_loss else logging.INFO, "gap changed: %s", describe(frame)[0])
            if observer.gap is not None:
                observer.gap(frame)
        case Missing():
            LOG.warning("interval is missing: %s", interval_words(frame.interval))
        case Skipped():
            LOG.warning("records skipped: %s", describe(frame)[0])
        case FellBehind() | Draining():
            LOG.info("session changed: %s", describe(frame)[0])
        case _:
            for line in describe(frame):
                LOG.info("notice: %s", line)


def observe_disconnect(observer: Observer, disconnect: Disconnect) -> None:
    """Log the disconnect and call the observer, before the client waits."""
    LOG.warning("disconnected, will reconnect in %.1f s: %s", disconnect.retry_in, disconnect.cause)
    if observer.disconnected is not None:
        observer.disconnected(disconnect)


def _progress(heartbeat: api.Heartbeat) -> Progress:
    return Progress(
        lag_records=heartbeat.lag_records,
        lag=heartbeat.lag.ToTimedelta(),
        low_watermark=to_datetime(heartbeat.low_watermark) if heartbeat.HasField("low_watermark") else None,
        is_upstream_connected=heartbeat.upstream_state == api.UPSTREAM_STATE_CONNECTED,
    )
