"""Kept responses in SQLite; implements `ports.stores.ResponseStore`."""

import logging
import sqlite3
import time

import msgspec

from antiphon.drivers.sqlite.cache import read_echo, write_echo
from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.recordings import keep_recording
from antiphon.ports.stores import KeptResponse
from antiphon.recording.codec import UnreadableRecordingError, decode
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_REPLACE = """
REPLACE INTO responses (id, owner, recording_id, created_at, echo, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_SELECT = """
SELECT data, responses.created_at, echo, expires_at
FROM responses JOIN recordings ON recordings.id = recording_id WHERE responses.id = ? AND owner = ?
"""
_DELETE = "DELETE FROM responses WHERE id = ? AND owner = ?"
_EXPIRED = "DELETE FROM responses WHERE expires_at < ?"
_NOTE = "REPLACE INTO upstream_responses (id, owner, provider, expires_at) VALUES (?, ?, ?, ?)"
_NOTED = "SELECT provider FROM upstream_responses WHERE id = ? AND owner = ?"
_EXPIRED_NOTES = "DELETE FROM upstream_responses WHERE expires_at < ?"


class SqliteResponses:
    """Responses of all owners, each found by its owner alone."""

    def __init__(self, database: Database) -> None:
        """Keep responses in `database`."""
        self._database = database
        # What is not committed yet is already to be found.
        self._pending: dict[str, KeptResponse] = {}
        self._noted: dict[tuple[str, str], str] = {}

    def put(self, kept: KeptResponse) -> None:
        """Keep a response."""
        self._pending[kept.id] = kept
        row = (
            kept.id,
            kept.owner,
            kept.recording.id,
            kept.created_at,
            write_echo(kept.echoed),
            kept.expires_at,
        )

        def work(connection: sqlite3.Connection) -> None:
            keep_recording(connection, kept.recording)
            connection.execute(_REPLACE, row)

        self._database.write(work, kept.recording.size, on_done=lambda: self._pending.pop(kept.id, None))

    async def get(self, response_id: str, owner: str) -> KeptResponse | None:
        """Return the owner's response."""
        pending = self._pending.get(response_id)
        if pending is not None:
            return pending if pending.owner == owner else None
        return await self._database.read(lambda connection: _select(connection, response_id, owner))

    async def delete(self, response_id: str, owner: str) -> KeptResponse | None:
        """Delete the owner's response and return what it was."""

        def work(connection: sqlite3.Connection) -> KeptResponse | None:
            kept = _select(connection, response_id, owner)
            if kept is not None:
                connection.execute(_DELETE, (response_id, owner))
            return kept

        return await self._database.written(work)

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
        """Delete what nobody may retrieve any more."""
        self._database.write(lambda connection: _delete_expired(connection, now))


def _delete_expired(connection: sqlite3.Connection, now: float) -> None:
    connection.execute(_EXPIRED, (now,))
    connection.execute(_EXPIRED_NOTES, (now,))


def _select(connection: sqlite3.Connection, response_id: str, owner: str) -> KeptResponse | None:
    row = connection.execute(_SELECT, (response_id, owner)).fetchone()
    if row is None or row[3] < time.time():
        return None
    data, created_at, echo, expires_at = row
    try:
        return KeptResponse(response_id, owner, decode(data), created_at, read_echo(echo), expires_at)
    except (UnreadableRecordingError, msgspec.DecodeError) as error:
        _log.error("a kept response cannot be read: %s", error)
        raise StoreFault(
            "The stored response cannot be read.", code="storage_unreadable", status=500
        ) from error
