"""Stores each post in PostgreSQL exactly once: effect, gaps and resume token in one transaction. It uses asyncio."""

import asyncio
import logging
import os
import signal
import sys

import psycopg
from gap_row import gap_row

from powerstream import Batch, Client, Frame, Gap, Handler, Missing, PoisonError, Skipped, Start
from powerstream.gateway.v1.event_pb2 import Event

TABLES = """
CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token bytea);
"""


class Store(Handler):
    """The database. Its methods may fail while the database does: `run` repeats them."""

    def __init__(self, url: str, consumer: str, fail_on: str) -> None:
        self.url = url
        self.consumer = consumer
        self.fail_on = fail_on
        self.db: psycopg.AsyncConnection | None = None

    async def load(self) -> str | None:
        """Connect again: the failure may have been that of the connection."""
        if self.db is not None:
            await self.db.close()
        self.db = await psycopg.AsyncConnection.connect(self.url)
        async with self.db.transaction():
            await self.db.execute(TABLES)
            cursor = await self.db.execute("SELECT token FROM cursor WHERE consumer = %s", (self.consumer,))
            row = await cursor.fetchone()
        return None if row is None else row[0].decode()

    async def handle(self, frame: Frame) -> None:
        db = self.connection()
        async with db.transaction():
            match frame:
                case Batch():
                    rows = []
                    for event in frame.events:
                        if str(event.post_id) == self.fail_on:
                            raise PoisonError(event, "rejected by FAIL_ON")
                        rows.append((str(event.post_id), event.json))
                    await db.cursor().executemany("INSERT INTO posts VALUES (%s, %s)", rows)
                case Gap() | Missing() | Skipped():
                    await db.execute(
                        "INSERT INTO gaps VALUES (%s, %s, %s, %s) ON CONFLICT (gap_id) DO UPDATE"
                        " SET state = excluded.state, start_time = excluded.start_time, end_time = excluded.end_time",
                        gap_row(frame),
                    )
            if frame.token is not None:
                await db.execute(
                    "INSERT INTO cursor VALUES (%s, %s) ON CONFLICT (consumer) DO UPDATE SET token = excluded.token",
                    (self.consumer, frame.token.encode()),
                )

    async def dead_letter(self, event: Event, reason: str) -> None:
        db = self.connection()
        async with db.transaction():
            await db.execute("INSERT INTO dead_letters VALUES (%s, %s)", (str(event.post_id), reason))

    def connection(self) -> psycopg.AsyncConnection:
        """Return what `load` has opened."""
        if self.db is None:
            raise RuntimeError("not connected")
        return self.db


async def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    consumer = os.environ.get("CONSUMER") or "postgresql"
    client = Client(
        os.environ.get("GATEWAY") or "http://127.0.0.1:50051",
        bearer_file=os.environ.get("BEARER_FILE") or None,
        account=os.environ.get("ACCOUNT", ""),
        consumer=consumer,
        any_of=[tag for tag in os.environ.get("FILTER_TAGS", "").split(",") if tag],
        start=Start.EARLIEST,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = os.environ.get("DATABASE") or "postgresql://postgres@127.0.0.1/postgres"
    await client.run(Store(url, consumer, os.environ.get("FAIL_ON", "")), stop=stop)


asyncio.run(main())
