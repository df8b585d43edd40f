"""Verifies what the gateway promises of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gateway.v1.stream_service_pb2 import EventBatch, SubscribeResponse


class ViolationError(Exception):
    """Between the gateway's log and this process events were lost, repeated or reordered."""


class Audit:
    """The check of one session, frame by frame, before anything of the frame is handled."""

    def __init__(self) -> None:
        """Begin with no frame."""
        self._started = False
        self._events = 0
        self._last_sequence = 0

    def check(self, frame: SubscribeResponse) -> None:
        """Raise `ViolationError` if the frame must not be handled."""
        kind = frame.WhichOneof("frame")
        if (kind == "session_start") == self._started:
            raise ViolationError("a session begins with exactly one SessionStart")
        self._started = True
        if kind == "event_batch":
            self._check_batch(frame.event_batch)
        elif kind == "heartbeat":
            self._count(frame.heartbeat.delivered_total)

    def _check_batch(self, batch: EventBatch) -> None:
        for event in batch.events:
            # 0: an event of a private gap, which is not in the log.
            if event.sequence == 0:
                continue
            if event.sequence <= self._last_sequence:
                raise ViolationError(f"event {event.sequence} came after event {self._last_sequence}")
            self._last_sequence = event.sequence
        self._events += len(batch.events)
        self._count(batch.delivered_total)

    def _count(self, reported: int) -> None:
        if reported != self._events:
            raise ViolationError(f"the gateway has delivered {reported} events in this session, {self._events} have arrived")
