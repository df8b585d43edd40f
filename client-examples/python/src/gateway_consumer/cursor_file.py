"""The one place of the resume token."""

import os
from pathlib import Path

from .limits import CURSOR_BYTES_MAX


class Damaged(Exception):
    """The file is there, and holds no token. Beginning elsewhere without a word would lose posts."""


class CursorFile:
    """Keeps the token over restarts; in memory where there is no path.

    In your service, store the token where the effect of the events is, in the same transaction.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.token: str | None = None
        if path is None:
            return
        if not path.parent.is_dir():
            raise FileNotFoundError(f"the directory of the cursor file {path} does not exist")
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return
        token = text.rstrip(b" \t\r\n")
        if not 1 <= len(token) <= CURSOR_BYTES_MAX or not all(0x21 <= byte <= 0x7E for byte in token):
            raise Damaged(
                f"the cursor file {path} does not hold a resume token: move it away to start by --start"
            )
        self.token = token.decode("ascii")

    def store(self, token: str) -> None:
        """Replaces the token as a whole: whatever kills the process, the file holds the old one or this one."""
        if token == self.token:
            return
        if self._path is not None:
            _replace(self._path, f"{token}\n".encode("ascii"))
        self.token = token


def _replace(path: Path, text: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, text)
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(fresh, path)
    # A rename is on the disk when its directory is.
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
