"""The client."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from ._credential import UnreadableError, read_credential
from ._errors import InvalidError
from ._limits import BATCH_EVENTS_MAX, HEARTBEAT_DEFAULT, STOP_WAIT_MAX, UNSOUND_MAX
from ._observer import Observer
from ._options import CredentialFiles, Options, ResumePolicy, Start, check_address, check_heartbeat
from ._runner import Handler, Runner
from ._session import settled
from ._subscription import Subscription
from .gateway.v1.stream_service_pb2 import TagFilter

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Generator, Iterable

    from ._frames import Frame

    _Path = str | os.PathLike[str] | None


class Client:
    """Subscribes to a gateway. It has no state of a subscription: several can run at the same time."""

    def __init__(  # noqa: PLR0913
        self,
        address: str,
        *,
        ca_file: _Path = None,
        cert_file: _Path = None,
        key_file: _Path = None,
        bearer_file: _Path = None,
        allow_plaintext_credentials: bool = False,
        account: str = "",
        consumer: str = "consumer",
        any_of: Iterable[str] = (),
        tag_filter: TagFilter | None = None,
        start: Start = Start.LATEST,
        resume_policy: ResumePolicy = ResumePolicy.FAIL,
        heartbeat: float = HEARTBEAT_DEFAULT,
        batch_events_max: int = BATCH_EVENTS_MAX,
        unsound_max: int = UNSOUND_MAX,
        handler_failures_max: int | None = None,
        stop_wait_max: float = STOP_WAIT_MAX,
        observer: Observer | None = None,
    ) -> None:
        """Check the options; the client connects when it is used. Raises `InvalidError`.

        - `address`: http://host:port, or https://host:port for TLS.
        - `ca_file`: authorities to trust, as PEM; by default those of the system.
        - `cert_file`, `key_file`: client certificate and its unencrypted key, as PEM; read again for each session.
        - `bearer_file`: file with the bearer token in its first line; read again for each session.
        - `allow_plaintext_credentials`: sends the token without TLS to other hosts than loopback, as in a service mesh.
        - `account`: to read; by default the only account of the gateway, or its `default_account`.
        - `consumer`: name in the logs and metrics of the gateway.
        - `any_of`: only events with at least one of these tags; a trailing * makes a prefix. By default all events.
        - `tag_filter`: replaces `any_of` where further conditions are needed.
        - `start`: start position without a token.
        - `resume_policy`: behavior if the token is too old.
        - `heartbeat`: seconds, 1 to 60. A session that is silent for three of them is replaced.
        - `unsound_max`: violations of the delivery contract after which the client ends; before, it reconnects.
        - `handler_failures_max`: successive failures after which `run` ends; by default no limit, with at most 45 s between them.
        - `stop_wait_max`: seconds that `run` waits for the frame in hand once it is stopped.
        - `observer`: receives what an operator measures.
        """
        paths = (None if path is None else Path(path) for path in (ca_file, cert_file, key_file, bearer_file))
        files = CredentialFiles(*paths)
        target, is_tls = check_address(address, files, allows_plaintext=allow_plaintext_credentials)
        check_heartbeat(heartbeat)
        self._options = Options(
            target=target,
            is_tls=is_tls,
            files=files,
            account=account,
            consumer=consumer,
            tag_filter=tag_filter or TagFilter(any_of=any_of),
            start=start,
            resume_policy=resume_policy,
            heartbeat=heartbeat,
            batch_events_max=batch_events_max,
            unsound_max=unsound_max,
            handler_failures_max=handler_failures_max,
            stop_wait_max=stop_wait_max,
            observer=observer or Observer(),
        )

    def check_credential(self) -> None:
        """Read all files of the credential. Sessions read them again. Raises `InvalidError`."""
        try:
            read_credential(self._options.files)
        except UnreadableError as error:
            raise InvalidError(str(error)) from error

    def subscribe(self, token: str | None = None, *, stop: asyncio.Event | None = None) -> AsyncGenerator[Frame]:
        """Return an endless sequence of frames, from behind the position of the token; None starts by `start`.

        It reconnects and resumes by itself, with the token of the last frame that the loop has finished. It ends once `stop` is
        set or the loop is left. Raises `StoppedError`, after which the same request would fail again.

        To leave the loop before its end, use `async with contextlib.aclosing(...)`: the session then ends at once.
        """
        return Subscription(self._options, token).frames(stop)

    def subscribe_sync(self, token: str | None = None) -> Generator[Frame]:
        """Return the same sequence for a program without asyncio. A loop that is left ends the session."""
        with asyncio.Runner() as runner:
            frames = self.subscribe(token)
            reading: asyncio.Task[object] | None = None

            async def following() -> Frame | None:
                nonlocal reading
                reading = asyncio.current_task()
                return await anext(frames, None)

            async def close() -> None:
                # An exception of a signal handler has left the loop, and not ended the task.
                if reading is not None and not reading.done():
                    reading.cancel()
                    await asyncio.wait({reading})
                await frames.aclose()
                await settled()

            try:
                while (frame := runner.run(following())) is not None:
                    yield frame
            finally:
                runner.run(close())

    async def run(self, handler: Handler, *, stop: asyncio.Event | None = None) -> None:
        """Deliver frames to the handler until `stop` is set.

        An error of the handler ends the session. `run` waits, with a delay that grows from 250 ms to 30 s with jitter, calls
        `Handler.load` again, because a transaction may have been committed although it reported an error, and resumes with
        that token.

        Raises `PermanentError` or `PoisonError` of the handler, its last error after `handler_failures_max`, `StoppedError`,
        or `UnfinishedError` if the handler did not finish the frame in hand within `stop_wait_max` of a stop.
        """
        await Runner(self._options, handler, stop).run()

    def run_sync(self, handler: Handler) -> None:
        """Do the same for a program without asyncio, until SIGTERM or SIGINT. Only in the main thread."""
        asyncio.run(self._run_until_signal(handler))

    async def _run_until_signal(self, handler: Handler) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await self.run(handler, stop=stop)
        finally:
            await settled()
