"""Database files to test with, and what to put into them."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

from antiphon.cache.entry import Entry
from antiphon.drivers.sqlite.database import Database
from antiphon.ports.stores import KeptResponse
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.usage import Usage
from waiting import PATIENCE

NOW = 1_800_000_000.0


@contextlib.asynccontextmanager
async def opened(folder: Path, **options):
    """Open the file of a test, and close it again."""
    database = Database(folder / "antiphon.db", **options)
    try:
        yield database
    finally:
        await database.close()


@contextlib.contextmanager
def held(database: Database):
    """Hold the writer in a job of its own: what is written meanwhile waits in the queue."""
    holding, go_on = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        holding.set()
        go_on.wait(PATIENCE)

    database.write(hold)
    assert holding.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()


async def committed(database: Database) -> None:
    """Return when everything written so far is in the file."""
    await database.written(lambda connection: None)


def run(test):
    """Run a test's coroutine, but not for ever."""

    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(within_reason())


def rows_of(folder: Path, query: str, *values):
    """Look into the file from outside."""
    with contextlib.closing(sqlite3.connect(folder / "antiphon.db")) as connection:
        return connection.execute(query, values).fetchall()


def change(folder: Path, statement: str, *values) -> None:
    """Change the file from outside."""
    with contextlib.closing(sqlite3.connect(folder / "antiphon.db")) as connection:
        connection.execute(statement, values)
        connection.commit()


def recording_of(name: str = "r", *, text: bytes = b"hello", ended_at: float = NOW) -> Recording:
    recording = Recording(name, "chat", Mode.STREAM, "up", "gpt", NOW - 1, usage_requested=True)
    recording.head = Head(200, b"text/event-stream", ((b"x-request-id", b"u-1"),))
    recording.extend([b"data: %b\n\n" % text], 1000)
    recording.extend([b"data: {}\n\n", b"data: [DONE]\n\n"], 2500)
    recording.outcome = Outcome(State.COMPLETED, None, Usage(3, 4, 7), "chatcmpl-1", "gpt-test")
    recording.ended_at = ended_at
    return recording


def entry_of(name: str, recording: Recording | None = None, **changes) -> Entry:
    fields = {
        "digest": name.encode().ljust(16, b"\0"),
        "identity": b"what " + name.encode() + b" stands for",
        "recording": recording or recording_of(f"r-{name}"),
        "public_id": "resp_" + name,
        "echo": {"metadata": b'{ "a" : "\\ud83d" }', "user": b'"u"'},
        "stored_at": NOW,
        "expires_at": NOW + 100,
        "tags": ("one", "two"),
    }
    return Entry(**{**fields, **changes})


def kept_of(name: str, recording: Recording | None = None, **changes) -> KeptResponse:
    fields = {
        "id": name,
        "owner": "alice",
        "recording": recording or recording_of(f"r-{name}"),
        "created_at": 1_700_000_000,
        "echoed": {"user": b'"u"'},
        "expires_at": NOW + 100,
    }
    return KeptResponse(**{**fields, **changes})
