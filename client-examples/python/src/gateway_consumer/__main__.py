"""LOAD, and the signals."""

import asyncio
import os
import signal
import sys
import threading
from types import FrameType

from . import config
from .consumer import Consumer, Stop, print_status
from .credential import Unreadable, read_credential
from .cursor_file import CursorFile, Damaged
from .handler import Printer
from .limits import STOP_WAIT_MAX


def load() -> tuple[config.Config, CursorFile]:
    loaded = config.load(sys.argv[1:], os.environ)
    try:
        read_credential(loaded)
    except Unreadable as error:
        raise Stop(2, str(error)) from error
    try:
        cursor = CursorFile(loaded.cursor_file)
    except Damaged as error:
        raise Stop(5, str(error)) from error
    except OSError as error:
        words = error.strerror or str(error)
        raise Stop(1, f"cannot read the cursor file {loaded.cursor_file}: {words}") from error
    if loaded.cursor_file is None:
        print_status("no --cursor-file: the resume token is in memory only, the next run starts by --start")
    return loaded, cursor


async def consume(loaded: config.Config, cursor: CursorFile) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _: FrameType | None) -> None:
        # A second signal ends the process as the system does it.
        signal.signal(number, signal.SIG_DFL)
        # The reader of the output may have stopped reading: the current frame is then not stored.
        late = threading.Timer(STOP_WAIT_MAX, os._exit, [0])
        late.daemon = True
        late.start()
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    await Consumer(loaded, cursor, Printer(), stop).run()


def main() -> None:
    # One encoding everywhere, independent of the locale.
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    try:
        loaded, cursor = load()
        asyncio.run(consume(loaded, cursor))
    except Stop as end:
        if str(end):
            print_status(f"error: {end}")
        sys.exit(end.code)


if __name__ == "__main__":
    main()
