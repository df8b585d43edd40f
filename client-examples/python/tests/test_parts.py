import tempfile
import unittest
from pathlib import Path

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from powerstream import CursorFile, InvalidError, PositionError, RefusedError, StoppedError
from powerstream._backoff import delay_after
from powerstream._decision import decide


def error(code: grpc.StatusCode, reason: str, domain: str = "powerstream.gateway") -> grpc.aio.AioRpcError:
    detail = Any()
    detail.Pack(ErrorInfo(domain=domain, reason=reason))
    status = Status(code=code.value[0], message="text", details=[detail])
    trailer = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailer, "text")


class DecisionTest(unittest.TestCase):
    def test_reasons_are_classified(self) -> None:
        code = grpc.StatusCode
        cases: list[tuple[str, grpc.StatusCode, bool, bool, type[StoppedError] | None]] = [
            ("DRAINING", code.UNAVAILABLE, False, False, None),
            ("FILTER_INVALID", code.INVALID_ARGUMENT, False, False, InvalidError),
            ("ACCESS_DENIED", code.PERMISSION_DENIED, True, True, RefusedError),
            ("TOKEN_INVALID", code.INVALID_ARGUMENT, False, False, PositionError),
            ("CREDENTIALS_EXPIRED", code.UNAUTHENTICATED, False, False, RefusedError),
            ("CREDENTIALS_EXPIRED", code.UNAUTHENTICATED, True, False, None),
            ("CREDENTIALS_INVALID", code.UNAUTHENTICATED, True, False, RefusedError),
            ("CREDENTIALS_INVALID", code.UNAUTHENTICATED, True, True, None),
            ("CREDENTIALS_OF_TOMORROW", code.UNAVAILABLE, True, True, RefusedError),
            ("OF_TOMORROW", code.UNIMPLEMENTED, False, False, InvalidError),
            ("OF_TOMORROW", code.OUT_OF_RANGE, False, False, PositionError),
            ("OF_TOMORROW", code.UNAUTHENTICATED, False, False, RefusedError),
            ("OF_TOMORROW", code.INTERNAL, False, False, None),
        ]
        for reason, status, has, changed, stop in cases:
            decision = decide(error(status, reason), credential_changed=changed, has_credential=has)
            assert (None if decision.stop is None else type(decision.stop)) is stop, reason

    def test_reason_of_proxy_is_ignored(self) -> None:
        end = error(grpc.StatusCode.PERMISSION_DENIED, "NO", "proxy.example")
        decision = decide(end, credential_changed=False, has_credential=False)
        assert (decision.why, decision.stop) == ("text", None)

    def test_delays_grow_and_requests_are_bounded(self) -> None:
        for failures, least in enumerate((0.25, 0.5, 1, 2, 4, 8, 16, 30, 30), start=1):
            assert least <= delay_after(failures, None) < least * 1.5
        assert [delay_after(9, requested) for requested in (0.001, 1.3, 1e9)] == [0.25, 1.3, 600.0]


class CursorFileTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "cursor")

    def test_token_is_replaced_whole(self) -> None:
        victim = self.path.with_name("victim")
        victim.write_text("precious")
        self.path.with_name("cursor.new").symlink_to(victim)
        cursor = CursorFile(self.path)
        for token in ("one", None, "two", "two"):
            cursor.store(token)
        assert self.path.read_text() == "two\n"
        assert CursorFile(self.path).token == "two"
        assert victim.read_text() == "precious"

    def test_file_without_token_is_rejected_and_kept(self) -> None:
        for text in ("", "\n", "two words", "b\0nary", "one\ntwo\n", "x" * 1_025):
            self.path.write_text(text)
            with self.assertRaises(PositionError):
                CursorFile(self.path)
            assert self.path.read_text() == text

    def test_failed_write_leaves_old_token(self) -> None:
        cursor = CursorFile(self.path)
        cursor.store("old")
        self.path.with_name("cursor.new").mkdir()
        with self.assertRaises(OSError):
            cursor.store("new")
        assert (cursor.token, self.path.read_text()) == ("old", "old\n")
