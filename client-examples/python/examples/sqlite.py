"""Stores each post in SQLite exactly once: effect, gaps and resume token in one transaction."""

import logging
import os
import sqlite3
import sys
from contextlib import closing

from gap_row import gap_row

from powerstream import Batch, Client, Failure, Frame, Gap, Handler, Missing, PoisonError, Skipped, Start
from powerstream.gateway.v1.event_pb2 import Event

TABLES = """
CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token blob);
"""


class Store(Handler):
    """The database. Its methods may fail while the database does: `run` repeats them."""

    def __init__(self, path: str, consumer: str, fail_on: str) -> None:
        self.consumer = consumer
        self.fail_on = fail_on
        # Transactions begin and end with the statements of this program.
        self.db = sqlite3.connect(path, timeout=2, isolation_level=None)

    def load(self) -> str | None:
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.executescript(TABLES)
        row = self.db.execute("SELECT token FROM cursor WHERE consumer = ?", (self.consumer,)).fetchone()
        return None if row is None else row[0].decode()

    def handle(self, frame: Frame) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self.apply(frame)
            self.db.execute("COMMIT")
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    def apply(self, frame: Frame) -> None:
        match frame:
            case Batch():
                for event in frame.events:
                    if str(event.post_id) == self.fail_on:
                        raise PoisonError(event, "rejected by FAIL_ON")
                    self.db.execute("INSERT INTO posts VALUES (?, ?)", (str(event.post_id), event.json))
            case Gap() | Missing() | Skipped():
                self.db.execute(
                    "INSERT INTO gaps VALUES (?, ?, ?, ?) ON CONFLICT (gap_id) DO UPDATE"
                    " SET state = excluded.state, start_time = excluded.start_time, end_time = excluded.end_time",
                    gap_row(frame),
                )
        if frame.token is not None:
            self.db.execute(
                "INSERT INTO cursor VALUES (?, ?) ON CONFLICT (consumer) DO UPDATE SET token = excluded.token",
                (self.consumer, frame.token.encode()),
            )

    def failed(self, failure: Failure) -> None:
        logging.getLogger("sqlite").warning("retry in %.1f s: %s", failure.retry_in, failure.error)

    def dead_letter(self, event: Event, reason: str) -> None:
        self.db.execute("INSERT INTO dead_letters VALUES (?, ?)", (str(event.post_id), reason))


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    consumer = os.environ.get("CONSUMER") or "sqlite"
    client = Client(
        os.environ.get("GATEWAY") or "http://127.0.0.1:50051",
        bearer_file=os.environ.get("BEARER_FILE") or None,
        account=os.environ.get("ACCOUNT", ""),
        consumer=consumer,
        any_of=[tag for tag in os.environ.get("FILTER_TAGS", "").split(",") if tag],
        start=Start.EARLIEST,
    )
    store = Store(os.environ.get("DATABASE") or "posts.db", consumer, os.environ.get("FAIL_ON", ""))
    with closing(store.db):
        client.run_sync(store)


main()
