"""The credential: a bearer token, a client certificate with its key, both, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ._options import CredentialFiles


class UnreadableError(Exception):
    """A file of the credential or the authorities cannot be read or used."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What the files contained."""

    bearer: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None


def read_credential(files: CredentialFiles) -> Credential:
    """Read all files again: any of them may have been rotated."""
    return Credential(
        bearer=None if files.bearer is None else _bearer(files.bearer),
        certificate=None if files.certificate is None else _pem(files.certificate),
        key=None if files.key is None else _pem(files.key),
    )


def _bearer(path: Path) -> str:
    lines = read(path).decode("utf-8", "replace").splitlines()
    token = lines[0].strip() if lines else ""
    if not (token and token.isascii() and token.isprintable()):
        raise UnreadableError(f"cannot read a credential from {path}: its first line contains none")
    return token


def _pem(path: Path) -> bytes:
    text = read(path)
    if b"-----BEGIN " not in text:
        raise UnreadableError(f"cannot read a credential from {path}: it contains no PEM")
    return text


def read(path: Path) -> bytes:
    """Return the content of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
