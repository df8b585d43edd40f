"""The loop: CONNECT, STREAMING, DECIDE, BACK_OFF, STOPPED, as PROTOCOL.md has them."""

import asyncio
import sys

import grpc
from google.protobuf.duration_pb2 import Duration
from powerstream.gateway.v1.stream_service_pb2 import (
    Earliest,
    Latest,
    SubscribeRequest,
    SubscribeResponse,
    TagFilter,
)
from powerstream.gateway.v1.stream_service_pb2_grpc import StreamServiceStub

from . import backoff, words
from .audit import Audit, Unsound
from .config import Config
from .credential import Credential, Unreadable, read, read_credential
from .cursor_file import CursorFile
from .handler import Printer
from .limits import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    CONNECT_WAIT_MAX,
    FRAME_BYTES_MAX,
    HEARTBEATS_MISSED_MAX,
    HTTP2_FRAME_BYTES_MAX,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    UNSOUND_MAX,
)
from .decision import Decision, decide


class Stop(Exception):
    """The way to STOPPED, with the exit code."""

    def __init__(self, code: int, error: str = "") -> None:
        super().__init__(error)
        self.code = code


class Silence(Exception):
    """Nothing came for so many seconds."""


class Session:
    """One Subscribe call on a channel of its own."""

    def __init__(self, config: Config, token: str | None) -> None:
        self.credential = read_credential(config)
        self.channel = channel(config, self.credential)
        bearer = self.credential.token
        metadata = [] if bearer is None else [("authorization", f"Bearer {bearer}")]
        self.call = StreamServiceStub(self.channel).Subscribe(request(config, token), metadata=metadata)
        self.audit = Audit()
        self.silence_max = max(CONNECT_WAIT_MAX, float(HEARTBEATS_MISSED_MAX * config.heartbeat))
        self.reconnect_after: float | None = None

    def learn(self, frame: SubscribeResponse) -> None:
        kind = frame.WhichOneof("frame")
        if kind == "session_start" and frame.session_start.heartbeat_interval.ToNanoseconds() > 0:
            granted = frame.session_start.heartbeat_interval.ToNanoseconds() / 1e9
            self.silence_max = HEARTBEATS_MISSED_MAX * granted
        elif kind == "draining" and frame.draining.reconnect_after.ToNanoseconds() > 0:
            self.reconnect_after = frame.draining.reconnect_after.ToNanoseconds() / 1e9

    async def close(self) -> None:
        self.call.cancel()
        await self.channel.close()


class Consumer:
    """Runs until `stop` is set, or until coming back would get the same answer."""

    def __init__(self, config: Config, cursor: CursorFile, handler: Printer, stop: asyncio.Event) -> None:
        self.config = config
        self.cursor = cursor
        self.handler = handler
        self.stop = stop
        # Entries into BACK_OFF since the last sound frame.
        self.failures = 0
        self.unsound = 0
        self.left = config.count
        self.stopping: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Ends with `Stop`."""
        self.stopping = asyncio.create_task(self.stop.wait())
        while True:
            decision = await self.connect_and_stream()
            if decision.stop is not None:
                raise Stop(decision.stop, decision.why)
            await self.back_off(decision)

    async def connect_and_stream(self) -> Decision:
        """CONNECT and STREAMING, and then DECIDE."""
        session = None
        try:
            session = Session(self.config, self.cursor.token)
            await self.stream(session)
            return self.disconnected("the gateway ended the stream", session)
        except Unreadable as error:
            return self.disconnected(str(error), session)
        except Silence as error:
            return self.disconnected(f"no frame for {error} s", session)
        except Unsound as error:
            self.unsound += 1
            stop = 3 if self.unsound >= UNSOUND_MAX else None
            return Decision(f"UNSOUND: {error}", None if session is None else session.reconnect_after, stop)
        except grpc.aio.AioRpcError as error:
            assert session is not None, "only a call has a status"
            return self.decide(error, session)
        finally:
            if session is not None:
                await session.close()

    async def stream(self, session: Session) -> None:
        while True:
            frame = await self.next_frame(session)
            if frame is None:
                return
            session.audit.check(frame)
            self.failures = 0
            session.learn(frame)
            self.handle(frame)
            if self.left is not None and self.left <= 0:
                raise Stop(0)

    async def next_frame(self, session: Session) -> SubscribeResponse | None:
        """The next frame; None at the end of the stream. The watchdog runs only here: handling is not silence."""
        assert self.stopping is not None, "run has begun"
        reading = asyncio.ensure_future(session.call.read())
        done, _ = await asyncio.wait(
            {reading, self.stopping}, timeout=session.silence_max, return_when=asyncio.FIRST_COMPLETED
        )
        if reading not in done or self.stop.is_set():
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if self.stop.is_set():
                raise Stop(0)
            raise Silence(f"{session.silence_max:g}")
        frame = reading.result()
        return None if frame is grpc.aio.EOF else frame

    def handle(self, frame: SubscribeResponse) -> None:
        """Handles the frame, and stores its token then: never the other way round."""
        try:
            if frame.WhichOneof("frame") == "event_batch":
                self.handler.handle(frame.event_batch)
                if self.left is not None:
                    self.left -= len(frame.event_batch.events)
            else:
                for line in words.of(frame):
                    print_status(line)
            if frame.resume_token:
                self.handler.flush()
        except OSError as error:
            self.handler.give_up()
            raise Stop(1, f"cannot write the output: {error.strerror}") from error
        if not frame.resume_token:
            return
        try:
            self.cursor.store(frame.resume_token)
        except OSError as error:
            raise Stop(1, f"cannot write the cursor file {self.config.cursor_file}: {error.strerror}") from error

    def decide(self, error: grpc.aio.AioRpcError, session: Session) -> Decision:
        changed = False
        try:
            changed = read_credential(self.config) != session.credential
        except Unreadable:
            # The next CONNECT reports it.
            pass
        has_credential = session.credential != Credential()
        decision = decide(error, credential_changed=changed, has_credential=has_credential)
        if decision.stop is not None:
            return decision
        return self.disconnected(decision.why, session, decision.retry_after)

    def disconnected(self, why: str, session: Session | None, retry_after: float | None = None) -> Decision:
        if retry_after is None and session is not None:
            retry_after = session.reconnect_after
        return Decision(f"disconnected: {why}", retry_after)

    async def back_off(self, decision: Decision) -> None:
        self.failures += 1
        wait = backoff.wait(self.failures, decision.retry_after)
        print_status(f"{decision.why}; reconnecting in {wait:.1f} s")
        assert self.stopping is not None, "run has begun"
        await asyncio.wait({self.stopping}, timeout=wait)
        if self.stop.is_set():
            raise Stop(0)


def request(config: Config, token: str | None) -> SubscribeRequest:
    request = SubscribeRequest(
        account=config.account,
        consumer=config.consumer,
        filter=TagFilter(any_of=config.any_of),
        resume_policy=f"RESUME_POLICY_{config.resume_policy.upper()}",
        max_batch_bytes=BATCH_BYTES_MAX,
        max_batch_events=BATCH_EVENTS_MAX,
        heartbeat_interval=Duration(seconds=config.heartbeat),
    )
    if token is not None:
        request.resume_token = token
    elif config.start == "earliest":
        request.earliest.CopyFrom(Earliest())
    else:
        request.latest.CopyFrom(Latest())
    return request


def channel(config: Config, credential: Credential) -> grpc.aio.Channel:
    options = [
        ("grpc.lb_policy_name", "round_robin"),
        # Nothing is shared with the channel before this one, its backoff least of all.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_INTERVAL * 1_000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT * 1_000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", FRAME_BYTES_MAX),
        ("grpc.http2.max_frame_size", HTTP2_FRAME_BYTES_MAX),
    ]
    target = f"dns:///{config.addr}"
    if not config.tls:
        return grpc.aio.insecure_channel(target, options=options)
    authorities = None if config.ca_file is None else read(config.ca_file)
    security = grpc.ssl_channel_credentials(authorities, credential.key, credential.certificate)
    return grpc.aio.secure_channel(target, security, options=options)


def print_status(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
