"""One session: a call of Subscribe on a channel of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from ._audit import Audit
from ._credential import Credential, read, read_credential
from ._limits import (
    CONNECT_WAIT_MAX,
    FRAME_BYTES_MAX,
    HEARTBEATS_MISSED_MAX,
    HTTP2_FRAME_BYTES_MAX,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    SETTLE_WAIT_MAX,
)
from .gateway.v1.stream_service_pb2 import SubscribeResponse
from .gateway.v1.stream_service_pb2_grpc import StreamServiceStub

if TYPE_CHECKING:
    from ._options import Options


class SilenceError(Exception):
    """No frame arrived for so many seconds."""


class StopRequestedError(Exception):
    """The caller wants no further frame."""


class Stop:
    """Whether the caller wants no further frame, as an event and as a task that can be waited for."""

    def __init__(self, event: asyncio.Event | None) -> None:
        """`event`: set by the caller; None if it never is."""
        self.event = event or asyncio.Event()
        self.task: asyncio.Task[object] = asyncio.create_task(self.event.wait())

    def check(self) -> None:
        """Raise `StopRequestedError` if it is requested."""
        if self.event.is_set():
            raise StopRequestedError

    async def pause(self, delay: float) -> None:
        """Wait; raise `StopRequestedError` at once if it is requested."""
        await asyncio.wait({self.task}, timeout=delay)
        self.check()


class Session:
    """A call of Subscribe on a channel of its own."""

    def __init__(self, options: Options, token: str | None) -> None:
        """Begin the call, with the credential that the files contain now."""
        self.credential = read_credential(options.files)
        self._channel = _channel(options, self.credential)
        bearer = self.credential.bearer
        metadata = () if bearer is None else (("authorization", f"Bearer {bearer}"),)
        self._call = StreamServiceStub(self._channel).Subscribe(options.request(token), metadata=metadata)
        self._audit = Audit()
        self._silence_max = max(CONNECT_WAIT_MAX, HEARTBEATS_MISSED_MAX * options.heartbeat)
        # Delay that a Draining frame requests.
        self.reconnect_after: float | None = None

    async def next(self, stop: Stop) -> SubscribeResponse | None:
        """Return the next message; None at the end of the stream. The watchdog runs only here: handling is not silence."""
        reading = asyncio.ensure_future(self._call.read())
        try:
            done, _ = await asyncio.wait({reading, stop.task}, timeout=self._silence_max, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        stop.check()
        if reading not in done:
            raise SilenceError(f"no frame for {self._silence_max:g} s")
        message = reading.result()
        if not isinstance(message, SubscribeResponse):
            return None
        self._audit.check(message)
        self._learn(message)
        return message

    def _learn(self, message: SubscribeResponse) -> None:
        kind = message.WhichOneof("frame")
        if kind == "session_start" and message.session_start.heartbeat_interval.ToNanoseconds() > 0:
            effective = message.session_start.heartbeat_interval.ToNanoseconds() / 1e9
            self._silence_max = HEARTBEATS_MISSED_MAX * effective
        elif kind == "draining" and message.draining.reconnect_after.ToNanoseconds() > 0:
            self.reconnect_after = message.draining.reconnect_after.ToNanoseconds() / 1e9

    async def close(self) -> None:
        """Cancel the call and close the channel."""
        self._call.cancel()
        await self._channel.close()


async def settled() -> None:
    """Wait for the tasks of gRPC in this event loop, before it is closed.

    A call that was cancelled ends a moment later. gRPC has one queue of events for all event loops of a process: another loop
    would report the end of that call with a traceback, because its own loop is closed.
    """
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:
        await asyncio.wait(rest, timeout=SETTLE_WAIT_MAX)


def _channel(options: Options, credential: Credential) -> grpc.aio.Channel:
    arguments: list[tuple[str, str | int]] = [
        ("grpc.lb_policy_name", "round_robin"),
        # Nothing is shared with the channel before this one, least of all its backoff.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_INTERVAL * 1_000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT * 1_000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", FRAME_BYTES_MAX),
        ("grpc.http2.max_frame_size", HTTP2_FRAME_BYTES_MAX),
    ]
    target = f"dns:///{options.target}"
    if not options.is_tls:
        return grpc.aio.insecure_channel(target, options=arguments)
    authorities = None if options.files.authorities is None else read(options.files.authorities)
    security = grpc.ssl_channel_credentials(authorities, credential.key, credential.certificate)
    return grpc.aio.secure_channel(target, security, options=arguments)
