"""The chain of sessions of one caller: CONNECT, STREAMING, DECIDE and BACK_OFF of PROTOCOL.md."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc

from ._audit import ViolationError
from ._backoff import delay_after
from ._credential import Credential, UnreadableError, read_credential
from ._decision import Decision, decide
from ._errors import UnsoundError
from ._frames import Frame, frames_of
from ._observer import Disconnect, observe, observe_disconnect
from ._session import Session, SilenceError, Stop, StopRequestedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from ._options import Options


class Subscription:
    """Frames of one caller over all sessions."""

    def __init__(self, options: Options, token: str | None) -> None:
        """`token`: the one that the caller has stored."""
        self._options = options
        # That of the last frame that the caller has finished.
        self.token = token
        # Disconnects since the last sound frame.
        self._failures = 0
        self._unsound = 0

    async def frames(self, event: asyncio.Event | None) -> AsyncGenerator[Frame]:
        """Yield frames until the event is set. Raises `StoppedError`."""
        stop = Stop(event)
        try:
            while True:
                async with aclosing(self._session_frames(stop)) as frames:
                    async for frame in frames:
                        yield frame
                await self._back_off(stop)
        except StopRequestedError:
            return
        finally:
            stop.task.cancel()

    async def _session_frames(self, stop: Stop) -> AsyncGenerator[Frame]:
        """Yield the frames of one session, and decide what follows."""
        session: Session | None = None
        end: Exception | None = None
        try:
            session = Session(self._options, self.token)
            while (message := await session.next(stop)) is not None:
                self._failures = 0
                for frame in frames_of(message):
                    stop.check()
                    observe(self._options.observer, frame)
                    yield frame
                    if frame.token is not None:
                        self.token = frame.token
        except (UnreadableError, SilenceError, ViolationError, grpc.aio.AioRpcError) as error:
            end = error
        finally:
            if session is not None:
                await session.close()
        self._decision = self._decide(end, session)

    def _decide(self, end: Exception | None, session: Session | None) -> Decision:
        requested = None if session is None else session.reconnect_after
        if isinstance(end, ViolationError):
            self._unsound += 1
            is_last = self._unsound >= self._options.unsound_max
            stop = UnsoundError(str(end), "UNSOUND") if is_last else None
            return Decision(str(end), requested, stop, is_unsound=True)
        if isinstance(end, grpc.aio.AioRpcError) and session is not None:
            decision = decide(
                end,
                credential_changed=self._credential_changed(session.credential),
                has_credential=session.credential != Credential(),
            )
            return Decision(decision.why, decision.retry_after or requested, decision.stop)
        return Decision("the gateway ended the stream" if end is None else str(end), requested)

    def _credential_changed(self, sent: Credential) -> bool:
        try:
            return read_credential(self._options.files) != sent
        except UnreadableError:
            # The next session reports it.
            return False

    async def _back_off(self, stop: Stop) -> None:
        decision = self._decision
        if decision.stop is not None:
            raise decision.stop
        self._failures += 1
        delay = delay_after(self._failures, decision.retry_after)
        disconnect = Disconnect(decision.why, decision.is_unsound, self._failures, delay)
        observe_disconnect(self._options.observer, disconnect)
        await stop.pause(delay)
