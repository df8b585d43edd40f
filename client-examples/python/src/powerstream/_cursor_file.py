"""File with the resume token of one consumer."""

from __future__ import annotations

import os
from pathlib import Path

from ._errors import PositionError
from ._limits import CURSOR_BYTES_MAX

_PRINTABLE = range(0x21, 0x7F)


class CursorFile:
    """Keeps the resume token of one consumer in a file, for effects that are not in a database.

    The file is replaced by rename and synced: whatever kills the process, it contains a whole token, the old or the new one.
    After a kill, the events since the last `store` are delivered again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file, if it exists.

        Raises `PositionError` for a file without a token: to start elsewhere would lose posts. Raises OSError for one that
        cannot be read.
        """
        self._path = Path(path)
        self.token: str | None = None
        """Token in the file; None if there is none yet."""
        if not self._path.parent.is_dir():
            raise FileNotFoundError(f"the directory of the cursor file {self._path} does not exist")
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return
        token = text.rstrip(b" \t\r\n")
        if not 1 <= len(token) <= CURSOR_BYTES_MAX or not all(byte in _PRINTABLE for byte in token):
            raise PositionError(f"the cursor file {self._path} does not hold a resume token: move it away to start by --start")
        self.token = token.decode("ascii")

    def store(self, token: str | None) -> None:
        """Replace the token, after the effects of the frame, and of all before it, are durable. None changes nothing."""
        if token is None or token == self.token:
            return
        _replace(self._path, f"{token}\n".encode("ascii"))
        self.token = token


def _replace(path: Path, text: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    # Left over from a kill; a symlink of this name is not followed.
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, text)
        os.fsync(file)
    finally:
        os.close(file)
    temporary.rename(path)
    # A rename is durable once its directory is synced.
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
