"""Prints posts as lines of JSON, reconnects and resumes: the program that PROTOCOL.md specifies, on top of the library."""

import asyncio
import os
import signal
import sys
import threading
from contextlib import aclosing
from types import FrameType
from typing import NoReturn

import config
from printer import Printer

from powerstream import (
    Batch,
    Client,
    CursorFile,
    Disconnect,
    Frame,
    InvalidError,
    Observer,
    PositionError,
    RefusedError,
    StoppedError,
    UnsoundError,
    describe,
    printable,
)

# Seconds that a stop may take.
STOP_WAIT_MAX = 5.0
# The exit codes of PROTOCOL.md.
FAILED = 1
CODES = {InvalidError: 2, UnsoundError: 3, RefusedError: 4, PositionError: 5}


class FailedError(Exception):
    """The output or the cursor file cannot be read or written."""


def load() -> tuple[Client, CursorFile | None, int | None]:
    """LOAD: flags, environment, credential, cursor file."""
    options = config.load(sys.argv[1:], os.environ)
    client = Client(**options.client, observer=Observer(disconnected=print_disconnect))
    client.check_credential()
    if options.cursor_file is None:
        print_status("no --cursor-file: the resume token is in memory only, the next run starts by --start")
        return client, None, options.count
    try:
        return client, CursorFile(options.cursor_file), options.count
    except OSError as error:
        text = error.strerror or str(error)
        raise FailedError(f"cannot read the cursor file {options.cursor_file}: {text}") from error


async def consume(client: Client, cursor: CursorFile | None, count: int | None) -> None:
    """Print until a signal, or until `count` events are printed."""
    stop = stop_on_signals(asyncio.get_running_loop())
    printer, printed = Printer(), 0
    async with aclosing(client.subscribe(None if cursor is None else cursor.token, stop=stop)) as frames:
        async for frame in frames:
            handle(printer, cursor, frame)
            if isinstance(frame, Batch):
                printed += len(frame.events)
            if count is not None and printed >= count:
                return


def handle(printer: Printer, cursor: CursorFile | None, frame: Frame) -> None:
    """Print the frame first and store its token afterwards, never in the other order."""
    try:
        if isinstance(frame, Batch):
            printer.handle(frame)
        for line in describe(frame):
            print_status(line)
        if frame.token is not None:
            printer.flush()
    except OSError as error:
        printer.give_up()
        raise FailedError(f"cannot write the output: {error.strerror}") from error
    if cursor is None:
        return
    try:
        cursor.store(frame.token)
    except OSError as error:
        raise FailedError(f"cannot write the cursor file: {error.strerror}") from error


def stop_on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets."""
    stop = asyncio.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        # A second signal ends the process as the system does it.
        signal.signal(number, signal.SIG_DFL)
        # The reader of the output may have stopped reading.
        late = threading.Timer(STOP_WAIT_MAX, end_unfinished)
        late.daemon = True
        late.start()
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


def end_unfinished() -> NoReturn:
    print_status("error: stopped within a frame: its token is not stored")
    os._exit(FAILED)


def print_disconnect(disconnect: Disconnect) -> None:
    kind = "UNSOUND" if disconnect.is_unsound else "disconnected"
    print_status(f"{kind}: {printable(disconnect.cause)}; reconnecting in {disconnect.retry_in:.1f} s")


def print_status(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    # One encoding everywhere, independent of the locale.
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    try:
        asyncio.run(consume(*load()))
    except StoppedError as error:
        hint = ""
        if error.reason == "POSITION_TOO_OLD":
            hint = "; --resume-policy earliest or latest continues without them"
        print_status(f"error: {error}{hint}")
        return CODES[type(error)]
    except FailedError as error:
        print_status(f"error: {error}")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
