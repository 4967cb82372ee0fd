"""Kept responses in SQLite; implements `ports.stores.ResponseStore`."""

import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

from antiphon.dialects.responses.output import output_of_recording
from antiphon.drivers.pending import Pending
from antiphon.drivers.rows import read_response, write_echo
from antiphon.drivers.sqlite.conversations import add_answer
from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.history import drop_released_histories, keep_history, read_head, read_history
from antiphon.drivers.sqlite.items import index_output
from antiphon.drivers.sqlite.recordings import keep_recording
from antiphon.ports.stores import KeptResponse
from antiphon.turn.chain import Items
from antiphon.turn.history import Context, grow

_INSERT = """
INSERT INTO responses (id, owner, recording_id, created_at, echo, expires_at, history) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_SELECT = """
SELECT data, responses.created_at, echo, expires_at, history
FROM responses JOIN recordings ON recordings.id = recording_id WHERE responses.id = ? AND owner = ?
"""
_HELD = "SELECT recording_id FROM responses WHERE id = ? AND owner = ? AND expires_at >= ?"
_DELETE = "DELETE FROM responses WHERE id = ? AND owner = ?"
_RECORDINGS = "SELECT DISTINCT recording_id FROM responses WHERE id = ? AND coalesce(?, owner) = owner"
_EXPIRED = "SELECT id, owner FROM responses WHERE expires_at < ? LIMIT ?"
_TOTAL = "SELECT bytes FROM totals WHERE name = 'responses'"
_OLDEST = """
SELECT responses.id, owner FROM recordings CROSS JOIN responses ON recording_id = recordings.id
ORDER BY recordings.created_at LIMIT ?
"""
_NOTE = "REPLACE INTO upstream_responses (id, owner, provider, expires_at) VALUES (?, ?, ?, ?)"
_NOTED = "SELECT provider FROM upstream_responses WHERE id = ? AND owner = ?"
_EXPIRED_NOTES = "DELETE FROM upstream_responses WHERE expires_at < ?"

_ROW_BYTES = 1024
_AT_ONCE = 200


class SqliteResponses:
    """Responses of all owners, each found by its owner alone."""

    def __init__(
        self,
        database: Database,
        wall_clock: Callable[[], float] = time.time,
        *,
        max_bytes: int = sys.maxsize,
        is_shared: bool = False,
    ) -> None:
        """Keep about `max_bytes` of responses and of what models were shown, oldest out first.

        `is_shared`: other processes look there too.
        """
        self._is_shared = is_shared
        self._database = database
        self._now = wall_clock
        self._max_bytes = max_bytes
        # What is not committed yet is already to be found.
        self._pending = Pending()
        self._noted: dict[tuple[str, str], str] = {}

    @property
    def is_waited_for(self) -> bool:
        """Whether others look there too, and it takes writes."""
        return self._is_shared and not self._database.is_refusing

    @property
    def is_full(self) -> bool:
        """Whether storage cannot keep up."""
        return self._database.is_full

    def when_written(self, tell: Callable[[], object]) -> None:
        """Call `tell` when others find what was handed over so far."""
        self._database.when_written(tell)

    def put(self, kept: KeptResponse) -> None:
        """Keep a response."""
        context = kept.context or Context(None, ())
        nodes = grow(kept.owner, context.before, context.new)
        now = self._now()
        self._pending.add(kept, nodes)

        def work(connection: sqlite3.Connection) -> None:
            keep_response(connection, kept, keep_history(connection, kept.owner, context, nodes))
            if context.conversation is not None:
                items = (*context.given, *output_of_recording(kept.recording))
                add_answer(connection, context.conversation, kept.owner, kept.id, items, now)

        # The recording of a replay is shared with the cache, and written already.
        size = _ROW_BYTES if kept.is_replay else _ROW_BYTES + kept.recording.size
        self._database.write(work, size, on_done=lambda: self._pending.drop(kept, nodes))

    async def get(self, response_id: str, owner: str) -> KeptResponse | None:
        """Return the owner's response."""
        now = self._now()
        pending = self._pending.get(response_id, owner)
        if pending is not None:
            return pending if pending.expires_at >= now else None

        def work(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            row = connection.execute(_SELECT, (response_id, owner)).fetchone()
            return None if row is None else (*row[:-1], read_head(connection, row[-1]))

        row = await self._database.read(work)
        return None if row is None or row[3] < now else read_response(response_id, owner, row[:-1], row[-1])

    async def history(self, head: bytes) -> Items:
        """Return what a model was shown, first item first. Raises StoreFault."""
        before, items = self._pending.latest(head)
        if before is None:
            return items
        written = await self._database.read(lambda connection: read_history(connection, before), is_long=True)
        return (*written, *items)

    async def delete(self, response_id: str, owner: str) -> str | None:
        """Delete the owner's response and return the id of its recording."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(_HELD, (response_id, owner, now)).fetchone()
            if row is None:
                return None
            connection.execute(_DELETE, (response_id, owner))
            drop_released_histories(connection)
            return str(row[0])

        return await self._database.written(work)

    async def recordings_of(self, response_id: str, owner: str | None = None) -> list[str]:
        """Return the recordings of the responses with this id. Raises StoreFault."""
        # Written, not read: what was put before is there.
        rows = await self._database.written(
            lambda connection: connection.execute(_RECORDINGS, (response_id, owner)).fetchall()
        )
        return [recording_id for (recording_id,) in rows]

    def note_upstream(self, response_id: str, owner: str, provider: str, expires_at: float) -> None:
        """Note that `provider` itself keeps a response of the owner."""
        noted = (response_id, owner)
        self._noted[noted] = provider

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_NOTE, (response_id, owner, provider, expires_at))

        self._database.write(work, 256, on_done=lambda: self._noted.pop(noted, None))

    async def upstream_of(self, response_id: str, owner: str) -> str | None:
        """Return the provider that keeps the owner's response."""
        provider = self._noted.get((response_id, owner))
        if provider is not None:
            return provider
        row = await self._database.read(
            lambda connection: connection.execute(_NOTED, (response_id, owner)).fetchone()
        )
        return None if row is None else str(row[0])

    def sweep(self, now: float) -> None:
        """Delete what nobody may retrieve any more, and the oldest beyond the bound."""
        self._database.write_in_slices(lambda connection: _delete_expired(connection, now))
        self._database.write(lambda connection: _forget(connection, now))
        self._database.write_in_slices(self._make_room)

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        # The oldest recordings with all that show them. What runs and later responses were shown stays theirs.
        oldest = [] if self._is_within(connection) else connection.execute(_OLDEST, (_AT_ONCE,)).fetchall()
        for name in oldest:
            connection.execute(_DELETE, name)
            drop_released_histories(connection)
            if self._is_within(connection):
                return False
        return bool(oldest)

    def _is_within(self, connection: sqlite3.Connection) -> bool:
        (total,) = connection.execute(_TOTAL).fetchone()
        return bool(total <= self._max_bytes)


def keep_response(connection: sqlite3.Connection, kept: KeptResponse, history: bytes | None) -> None:
    """Write a response whose history is held for it, in the place of one with its id (`ids: original`)."""
    keep_recording(connection, kept.recording)
    index_output(connection, kept.recording)
    connection.execute(
        _INSERT,
        (
            kept.id,
            kept.owner,
            kept.recording.id,
            kept.created_at,
            write_echo(kept.echoed),
            kept.expires_at,
            history,
        ),
    )
    drop_released_histories(connection)


def _delete_expired(connection: sqlite3.Connection, now: float) -> bool:
    expired = connection.execute(_EXPIRED, (now, _AT_ONCE)).fetchall()
    connection.executemany(_DELETE, expired)
    drop_released_histories(connection)
    return len(expired) == _AT_ONCE


def _forget(connection: sqlite3.Connection, now: float) -> None:
    connection.execute(_EXPIRED_NOTES, (now,))
