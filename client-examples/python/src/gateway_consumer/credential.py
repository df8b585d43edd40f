"""The credential: a token, a client certificate with its key, both, or nothing."""

from dataclasses import dataclass
from pathlib import Path

from .config import Config


class Unreadable(Exception):
    """The credential or the certificate authorities cannot be read."""


@dataclass(frozen=True)
class Credential:
    token: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None


def read_credential(config: Config) -> Credential:
    """Reads all files of the credential again: any of them may have been rotated."""
    return Credential(
        token=None if config.token_file is None else _token(config.token_file),
        certificate=None if config.cert_file is None else _pem(config.cert_file),
        key=None if config.key_file is None else _pem(config.key_file),
    )


def _token(path: Path) -> str:
    lines = read(path).decode("utf-8", "replace").splitlines()
    token = lines[0].strip() if lines else ""
    if not (token and token.isascii() and token.isprintable()):
        raise Unreadable(f"cannot read a credential from {path}: its first line holds none")
    return token


def _pem(path: Path) -> bytes:
    text = read(path)
    if b"-----BEGIN " not in text:
        raise Unreadable(f"cannot read a credential from {path}: it contains no PEM")
    return text


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from error
