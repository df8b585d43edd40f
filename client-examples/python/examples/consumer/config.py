"""Flags and environment: the table "Flags" of PROTOCOL.md."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from powerstream import ResumePolicy, Start

PORTS = range(1, 65_536)
ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")


class Parser(argparse.ArgumentParser):
    """Reports errors as PROTOCOL.md has them."""

    def error(self, message: str) -> NoReturn:
        """End the process with 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n")


@dataclass(frozen=True)
class Config:
    """Flags and environment."""

    client: dict[str, Any]
    cursor_file: Path | None
    count: int | None


def start_of(text: str) -> Start | None:
    """Return the start position; None for a text that is none."""
    if text in {"latest", "earliest"}:
        return Start.EARLIEST if text == "earliest" else Start.LATEST
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else Start.at(time)


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """End the process with 2 where the flags or the environment are wrong, as argparse does."""
    parser = Parser(
        prog="gateway-consumer",
        description="Prints each post that the gateway delivers as a line of JSON, and reconnects after every disconnect.",
        allow_abbrev=False,
    )

    def variable(name: str, default: str | None = None) -> str | None:
        return environment.get(name) or default

    def flag(name: str, env: str, default: str | None, metavar: str, words: str) -> None:
        # A default that is text is checked like a flag.
        parser.add_argument(name, default=variable(env, default), metavar=metavar, help=f"{words} [{env}]")

    flag("--addr", "GATEWAY_ADDR", "127.0.0.1:50051", "HOST:PORT", "the gateway")
    parser.add_argument("--tls", action="store_true", help="TLS to the gateway [GATEWAY_TLS=1]")
    flag("--ca-file", "GATEWAY_CA_FILE", None, "PATH", "authorities to trust, as PEM; switches --tls on")
    flag("--cert-file", "GATEWAY_CERT_FILE", None, "PATH", "client certificate, as PEM; switches --tls on")
    flag("--key-file", "GATEWAY_KEY_FILE", None, "PATH", "key of --cert-file, as unencrypted PEM")
    flag("--token-file", "GATEWAY_TOKEN_FILE", None, "PATH", "file with the credential in its first line")
    flag("--account", "GATEWAY_ACCOUNT", "", "NAME", "account to read")
    flag("--consumer", "GATEWAY_CONSUMER", "example-python", "NAME", "name in the gateway's logs")
    flag("--any-of", "ANY_OF", "", "A,B*", "only events with at least one of these tags; a trailing * makes a prefix")
    flag("--cursor-file", "CURSOR_FILE", None, "PATH", "keeps the resume token")
    flag("--start", "START", "latest", "latest|earliest|TIME", "start position without a token; TIME is RFC 3339")
    flag("--resume-policy", "RESUME_POLICY", "fail", "fail|earliest|latest", "behavior if the token is too old")
    flag("--heartbeat", "HEARTBEAT", "10", "SECONDS", "interval of heartbeats of the gateway, 1 to 60")
    flag("--count", "COUNT", None, "N", "end once N events or more were printed")
    given = parser.parse_args(arguments)

    def one_of(name: str, text: str, choices: Sequence[str]) -> str:
        if text not in choices:
            parser.error(f"{name}: {' or '.join(choices)} expected, not {text!r}")
        return text

    def number(name: str, text: str, least: int, most: int) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            parser.error(f"{name}: a whole number from {least} to {most} expected, not {text!r}")
        return int(text)

    addr = given.addr.removeprefix("dns:///")
    address = ADDRESS.fullmatch(addr)
    if address is None or int(address[1]) not in PORTS:
        parser.error(f"--addr: HOST:PORT expected, not {given.addr!r}")
    tls_variable = one_of("GATEWAY_TLS", variable("GATEWAY_TLS", "0") or "0", ["0", "1"])
    is_tls = given.tls or given.ca_file or given.cert_file or tls_variable == "1"
    start = start_of(given.start)
    if start is None:
        parser.error(f"--start: latest, earliest or an RFC 3339 time expected, not {given.start!r}")
    policy = one_of("--resume-policy", given.resume_policy, ["fail", "earliest", "latest"])
    client = {
        "address": f"{'https' if is_tls else 'http'}://{addr}",
        "ca_file": given.ca_file or None,
        "cert_file": given.cert_file or None,
        "key_file": given.key_file or None,
        "bearer_file": given.token_file or None,
        "account": given.account,
        "consumer": given.consumer,
        "any_of": [tag.strip() for tag in given.any_of.split(",") if tag.strip()],
        "start": start,
        "resume_policy": ResumePolicy[policy.upper()],
        "heartbeat": number("--heartbeat", given.heartbeat, 1, 60),
    }
    return Config(
        client=client,
        cursor_file=Path(given.cursor_file) if given.cursor_file else None,
        count=None if given.count is None else number("--count", given.count, 1, 2**63 - 1),
    )
