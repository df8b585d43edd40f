"""Calls a handler, and handles its errors."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ._backoff import delay_after
from ._errors import PermanentError, PoisonError, StoppedError, UnfinishedError
from ._frames import Batch, Frame, Heartbeat
from ._observer import LOG
from ._session import Stop, StopRequestedError
from ._subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ._options import Options
    from .gateway.v1.event_pb2 import Event


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a handler after which the frame is delivered again."""

    error: Exception
    """The error."""
    frame: Frame | None
    """Frame in hand; None if `Handler.load` failed."""
    failures: int
    """Failures in succession, this one included."""
    retry_in: float
    """Delay before `Handler.load` is called and the client reconnects, in seconds."""


class Handler:
    """What `Client.run` calls. Override `handle`, and `load` where the token is stored.

    All methods may be coroutines. One that blocks delays only its own client; a stop does not interrupt it.
    """

    def load(self) -> str | Awaitable[str | None] | None:
        """Return the token that was stored last; None starts by the option `start`.

        It is called at the start and after each failure.
        """
        return None

    def handle(self, frame: Frame) -> Awaitable[None] | None:
        """Make the effect of the frame durable, together with its token."""
        raise NotImplementedError

    def failed(self, failure: Failure) -> Awaitable[None] | None:
        """Receive an error of `load` or `handle`, after which the frame is delivered again."""

    def dead_letter(self, event: Event, reason: str) -> Awaitable[None] | None:
        """Make an event durable that `handle` has rejected with `PoisonError`; the batch is then delivered again without it.

        A kill between the two repeats the call. A handler that does not override this method ends `Client.run` with the error.
        """
        raise NotImplementedError


class Runner:
    """One call of `Client.run`."""

    def __init__(self, options: Options, handler: Handler, event: asyncio.Event | None) -> None:
        """`event`: set by the caller to stop."""
        self._options = options
        self._handler = handler
        self._stop = Stop(event)
        self._subscription = Subscription(options, None)
        self._failures = 0
        self._frame: Frame | None = None

    async def run(self) -> None:
        """Return once the event is set. Raises as `Client.run`."""
        try:
            while True:
                try:
                    await self._deliver_all()
                except (StoppedError, PermanentError, PoisonError, UnfinishedError):
                    raise
                except Exception as error:  # noqa: BLE001
                    await self._back_off(error)
                else:
                    return
        except StopRequestedError:
            return
        finally:
            self._stop.task.cancel()

    async def _deliver_all(self) -> None:
        self._frame = None
        self._subscription.token = await _finished(self._handler.load()) or self._subscription.token
        async with aclosing(self._subscription.frames(self._stop.event)) as frames:
            async for frame in frames:
                self._frame = frame
                await self._handle(frame)
                # Other kinds precede the batch that fails in each session.
                if isinstance(frame, Batch | Heartbeat):
                    self._failures = 0
                self._frame = None

    async def _handle(self, frame: Frame) -> None:
        while True:
            try:
                await self._within_stop_wait(frame)
            except PoisonError as error:
                has_hook = type(self._handler).dead_letter is not Handler.dead_letter
                if not has_hook or not isinstance(frame, Batch) or error.event not in frame.events:
                    raise
                LOG.warning("event is a dead letter: post %d: %s", error.event.post_id, error)
                await _finished(self._handler.dead_letter(error.event, str(error)))
                rest = [event for event in frame.events if event is not error.event]
                frame = Batch(frame.token, rest, frame.possible_duplicate)
            else:
                return

    async def _within_stop_wait(self, frame: Frame) -> None:
        """Call the handler; once a stop is requested, wait no longer than `stop_wait_max`."""
        result = self._handler.handle(frame)
        if not inspect.isawaitable(result):
            return
        handling = asyncio.ensure_future(result)
        try:
            await asyncio.wait({handling, self._stop.task}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({handling}, timeout=self._options.stop_wait_max)
            if not handling.done():
                raise UnfinishedError(frame)
        finally:
            if not handling.done():
                handling.cancel()
                await asyncio.gather(handling, return_exceptions=True)
        await handling

    async def _back_off(self, error: Exception) -> None:
        if self._stop.event.is_set():
            if self._frame is None:
                return
            raise UnfinishedError(self._frame) from error
        self._failures += 1
        limit = self._options.handler_failures_max
        if limit is not None and self._failures >= limit:
            raise error
        delay = delay_after(self._failures, None)
        LOG.error("handler failed, will retry in %.1f s: %r", delay, error)
        await _finished(self._handler.failed(Failure(error, self._frame, self._failures, delay)))
        await self._stop.pause(delay)


async def _finished(result: _T | Awaitable[_T]) -> _T:
    return await result if inspect.isawaitable(result) else result
