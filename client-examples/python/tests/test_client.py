import asyncio
import sys
import unittest
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from powerstream import (
    Batch,
    Client,
    Failure,
    Frame,
    Handler,
    InvalidError,
    Observer,
    PermanentError,
    PoisonError,
    PositionError,
    RequestWarning,
    Start,
    UnfinishedError,
    UnsoundError,
    describe,
)
from powerstream.gateway.v1 import stream_service_pb2 as api
from powerstream.gateway.v1.event_pb2 import Event
from powerstream.gateway.v1.gap_pb2 import Gap
from powerstream.gateway.v1.stream_service_pb2_grpc import StreamServiceServicer, add_StreamServiceServicer_to_server

# Prints batches until a signal raises an exception.
INTERRUPTED = """
import signal, sys
from powerstream import Batch, Client

signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    for frame in Client(sys.argv[1]).subscribe_sync():
        if isinstance(frame, Batch):
            print("batch", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class Script(StreamServiceServicer):
    """A gateway that sends a list of messages to each call, and records the requests."""

    def __init__(self, calls: list[list[api.SubscribeResponse]], end: tuple[grpc.StatusCode, str] | None = None) -> None:
        self.calls = calls
        self.end = end
        self.requests: list[api.SubscribeRequest] = []

    async def Subscribe(  # noqa: N802
        self,
        request: api.SubscribeRequest,
        context: grpc.aio.ServicerContext[api.SubscribeRequest, api.SubscribeResponse],
    ) -> AsyncIterator[api.SubscribeResponse]:
        self.requests.append(request)
        for message in self.calls.pop(0) if self.calls else []:
            yield message
        if self.end is None:
            await asyncio.Event().wait()
            return
        code, reason = self.end
        details = [Any(), Any()]
        details[0].Pack(ErrorInfo(domain="powerstream.gateway", reason=reason))
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(timedelta(milliseconds=1))
        details[1].Pack(retry)
        status = Status(code=code.value[0], message="text", details=details)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(code, "text")

    @staticmethod
    def unused(*_: object) -> NoReturn:
        raise NotImplementedError

    GetStream = ListStreams = ListTags = ResolvePosition = unused  # type: ignore[assignment]

    @property
    def tokens(self) -> list[str]:
        return [request.resume_token for request in self.requests]


def start(token: str, *gaps: str) -> api.SubscribeResponse:
    return api.SubscribeResponse(resume_token=token, session_start=api.SessionStart(open_gaps=[Gap(gap_id=gap) for gap in gaps]))


def batch(token: str, total: int, *sequences: int) -> api.SubscribeResponse:
    events = [Event(sequence=sequence, post_id=sequence) for sequence in sequences]
    return api.SubscribeResponse(resume_token=token, event_batch=api.EventBatch(events=events, delivered_total=total))


class Recorder(Handler):
    """Stops after its first batch; raises the given errors before."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.stop = asyncio.Event()
        self.failures: list[Failure] = []
        self.handled: list[int] = []

    def load(self) -> str:
        return "stored"

    def handle(self, frame: Frame) -> None:
        if isinstance(frame, Batch):
            if self.errors:
                raise self.errors.pop(0)
            self.handled += [event.post_id for event in frame.events]
            self.stop.set()

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)


class ClientTest(unittest.IsolatedAsyncioTestCase):
    async def serve(self, script: Script) -> str:
        server = grpc.aio.server()
        add_StreamServiceServicer_to_server(script, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        # Within the grace the server learns that its clients have left: a stop without it would print a traceback for each call.
        self.addAsyncCleanup(server.stop, 5)
        return f"http://127.0.0.1:{port}"

    async def test_sequence_resumes_behind_last_frame(self) -> None:
        script = Script(
            [[start("t0"), batch("t1", 1, 1)], [start("t1"), batch("t2", 1, 2)]], (grpc.StatusCode.UNAVAILABLE, "NOT_LEADER")
        )
        reconnects: list[object] = []
        client = Client(await self.serve(script), observer=Observer(disconnected=reconnects.append))
        sequences: list[int] = []
        async with aclosing(client.subscribe("stored")) as frames:
            async for frame in frames:
                if isinstance(frame, Batch):
                    sequences.append(frame.events[0].sequence)
                if sequences == [1, 2]:
                    break
        assert script.tokens == ["stored", "t1"]
        assert len(reconnects) == 1

    async def test_token_of_start_comes_with_last_gap(self) -> None:
        client = Client(await self.serve(Script([[start("t0", "g1", "g2")]])))
        tokens: list[str | None] = []
        async with aclosing(client.subscribe()) as frames:
            async for frame in frames:
                tokens.append(frame.token)
                if len(tokens) == 3:
                    break
        assert tokens == [None, None, "t0"]

    async def test_permanent_reason_ends_sequence(self) -> None:
        client = Client(await self.serve(Script([], (grpc.StatusCode.OUT_OF_RANGE, "POSITION_TOO_OLD"))))
        with self.assertRaises(PositionError) as caught:
            await anext(client.subscribe("old"))
        assert caught.exception.reason == "POSITION_TOO_OLD"

    async def test_unsound_frame_is_not_delivered(self) -> None:
        lossy = [start("t0"), batch("t9", 2, 1)]
        script = Script([lossy, lossy])
        client = Client(await self.serve(script), unsound_max=2)
        with self.assertRaises(UnsoundError):
            async for frame in client.subscribe():
                assert not isinstance(frame, Batch)
        assert script.tokens == ["", "t0"]

    async def test_failed_handler_loads_token_again(self) -> None:
        again = [start("t0"), batch("t1", 1, 1)]
        script, handler = Script([again, again]), Recorder(OSError("the database is locked"))
        await Client(await self.serve(script)).run(handler, stop=handler.stop)
        assert script.tokens == ["stored", "stored"]
        assert [failure.retry_in >= 0.25 for failure in handler.failures] == [True]

    async def test_handler_failures_are_bounded(self) -> None:
        again = [start("t0"), batch("t1", 1, 1)]
        handler = Recorder(OSError("one"), OSError("two"))
        with self.assertRaisesRegex(OSError, "two"):
            await Client(await self.serve(Script([again, again])), handler_failures_max=2).run(handler)

    async def test_poison_event_is_dead_letter(self) -> None:
        class Rejecting(Recorder):
            dead: list[int]

            def handle(self, frame: Frame) -> None:
                if isinstance(frame, Batch):
                    for event in frame.events:
                        if event.post_id == 2:
                            raise PoisonError(event, "no such language")
                super().handle(frame)

            def dead_letter(self, event: Event, reason: str) -> None:
                self.dead = [event.post_id]
                assert reason == "no such language"

        handler = Rejecting()
        await Client(await self.serve(Script([[start("t0"), batch("t1", 3, 1, 2, 3)]]))).run(handler, stop=handler.stop)
        assert (handler.dead, handler.handled) == ([2], [1, 3])

    async def test_permanent_error_of_handler_ends_run(self) -> None:
        for error in (PermanentError("no table"), PoisonError(Event(), "no hook")):
            client = Client(await self.serve(Script([[start("t0"), batch("t1", 1, 1)]])))
            with self.assertRaises(type(error)):
                await client.run(Recorder(error))

    async def test_stop_reports_unfinished_frame(self) -> None:
        stop = asyncio.Event()

        class Stuck(Handler):
            async def handle(self, frame: Frame) -> None:
                assert frame is not None
                stop.set()
                await asyncio.Event().wait()

        client = Client(await self.serve(Script([[start("t0")]])), stop_wait_max=0.01)
        with self.assertRaises(UnfinishedError):
            await client.run(Stuck(), stop=stop)

    async def test_sequence_without_asyncio(self) -> None:
        address = await self.serve(Script([[start("t0"), batch("t1", 2, 1, 2)]]))

        def first_batch() -> list[int]:
            for frame in Client(address, start=Start.lookback(timedelta(hours=1))).subscribe_sync():
                if isinstance(frame, Batch):
                    return [event.post_id for event in frame.events]
            return []

        assert await asyncio.to_thread(first_batch) == [1, 2]

    async def test_signal_ends_sequence_without_asyncio(self) -> None:
        address = await self.serve(Script([[start("t0"), batch("t1", 1, 1)]]))
        pipe = asyncio.subprocess.PIPE
        program = await asyncio.create_subprocess_exec(sys.executable, "-c", INTERRUPTED, address, stdout=pipe, stderr=pipe)
        assert program.stdout is not None
        assert await program.stdout.readline() == b"batch\n"
        program.terminate()
        assert await program.communicate() == (b"interrupted\n", b"")
        assert program.returncode == 0

    def test_invalid_options_are_rejected(self) -> None:
        for address in ("127.0.0.1:50051", "ftp://gateway:1", "http://", "http://gateway:x"):
            with self.assertRaises(InvalidError):
                Client(address)
        for address in ("http://gateway:1", "http://127.evil:1"):
            with self.assertRaises(InvalidError):
                Client(address, bearer_file="/nowhere")
        with self.assertRaises(InvalidError):
            Client("http://gateway:1", heartbeat=0.5)
        Client("http://127.0.0.9:1", bearer_file="/nowhere")

    def test_control_characters_of_gateway_are_escaped(self) -> None:
        warning = RequestWarning(None, api.Warning(message="\x1b]0;owned\u202e\nerror: forged"))
        assert describe(warning) == [r"warning (unspecified): \u{1b}]0;owned\u{202e}\u{a}error: forged"]
