"""The second level of the cache in SQLite; implements `ports.stores.CacheLevel`."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from antiphon.cache.entry import Entry
from antiphon.drivers.rows import entry_row, read_entry
from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.recordings import keep_recording
from antiphon.wire.errors import StoreFault

_SELECT = """
SELECT recording_id, identity, data, public_id, echo, stored_at, expires_at, tags
FROM cache_entries JOIN recordings ON recordings.id = recording_id WHERE digest = ?
"""
_SELECT_MANY = """
SELECT digest, recording_id, identity, data, public_id, echo, stored_at, expires_at, tags
FROM cache_entries JOIN recordings ON recordings.id = recording_id
WHERE digest IN ({})
"""
_REPLACE = """
REPLACE INTO cache_entries
(digest, identity, recording_id, public_id, echo, tags, stored_at, expires_at, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EXPIRED = "SELECT rowid FROM cache_entries WHERE expires_at < ? LIMIT ?"
_TOTAL = "SELECT coalesce(sum(size), 0) FROM cache_entries"
_OLDEST = "SELECT rowid, size FROM cache_entries ORDER BY stored_at LIMIT ?"
_DELETE = "DELETE FROM cache_entries WHERE rowid = ?"
_DELETE_RECORDING = "DELETE FROM cache_entries WHERE recording_id = ?"

_DIGESTS = "SELECT digest FROM cache_entries LIMIT ?"
_KNOWN_LIMIT = 200_000
_REMOVED_LIMIT = 10_000
_AT_ONCE = 500
_STALE_SECONDS = 3600
"""Expired entries stay this long for requests that accept stale answers."""


class SqliteCache:
    """Cache entries of all workers that share the file."""

    def __init__(self, database: Database, max_bytes: int, *, is_shared: bool = True) -> None:
        """Hold at most about `max_bytes`, oldest out first. `is_shared`: other processes put entries too."""
        self._database = database
        self._known = None if is_shared else _digests(database)
        self._max_bytes = max_bytes
        # What is not yet deleted in the file, or was read from it just before, is not to be found any more.
        self._removed: dict[str, None] = {}
        self.unreadable = 0

    def may_hold(self, digest: bytes) -> bool:
        """Whether a look-up can find anything; costs nothing."""
        return self._known is None or digest in self._known

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry; whatever cannot be read is a miss."""
        try:
            row = await self._database.read(
                lambda connection: connection.execute(_SELECT, (digest,)).fetchone()
            )
        except StoreFault:
            return None
        if row is None or row[0] in self._removed:
            return None
        entry = read_entry(digest, row[1:])
        if entry is None:
            self.unreadable += 1
        return entry

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return those entries that there are; whatever cannot be read is a miss."""

        def work(connection: sqlite3.Connection) -> list[tuple[bytes, str, Entry | None]]:
            # What is decompressed and checked here does not hold up the clients of others.
            rows: list[Any] = []
            for first in range(0, len(digests), _AT_ONCE):
                some = digests[first : first + _AT_ONCE]
                rows += connection.execute(_SELECT_MANY.format(", ".join("?" * len(some))), some)
            return [(row[0], row[1], read_entry(row[0], row[2:])) for row in rows]

        try:
            found = await self._database.read(work)
        except StoreFault:
            return {}
        self.unreadable += sum(entry is None for _, _, entry in found)
        return {
            digest: entry
            for digest, recording_id, entry in found
            if entry is not None and recording_id not in self._removed
        }

    def put(self, entry: Entry) -> None:
        """Write the entry in the background."""
        row = entry_row(entry)

        def work(connection: sqlite3.Connection) -> None:
            keep_recording(connection, entry.recording)
            connection.execute(_REPLACE, row)

        if self._database.write(work, entry.size, may_drop=True) and self._known is not None:
            self._known.add(entry.digest)
            if len(self._known) > _KNOWN_LIMIT:
                self._known = None

    def remove_recording(self, recording_id: str) -> None:
        """Remove the entries that hold this recording."""
        self._removed[recording_id] = None
        if len(self._removed) > _REMOVED_LIMIT:
            del self._removed[next(iter(self._removed))]
        self._database.write(lambda connection: _run(connection, _DELETE_RECORDING, recording_id))

    def sweep(self, now: float) -> None:
        """Delete what has expired, and the oldest entries beyond the bound."""
        self._database.write_in_slices(lambda connection: _delete_expired(connection, now - _STALE_SECONDS))
        self._database.write_in_slices(self._make_room)

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        (total,) = connection.execute(_TOTAL).fetchone()
        oldest = [] if total <= self._max_bytes else connection.execute(_OLDEST, (_AT_ONCE,)).fetchall()
        for rowid, size in oldest:
            connection.execute(_DELETE, (rowid,))
            total -= size
            if total <= self._max_bytes:
                return False
        return bool(oldest)


def _delete_expired(connection: sqlite3.Connection, before: float) -> bool:
    expired = connection.execute(_EXPIRED, (before, _AT_ONCE)).fetchall()
    connection.executemany(_DELETE, expired)
    return len(expired) == _AT_ONCE


def _digests(database: Database) -> set[bytes] | None:
    """All digests in the file; None if they are too many to be held in memory."""
    rows = database.do_at_start(
        lambda connection: connection.execute(_DIGESTS, (_KNOWN_LIMIT + 1,)).fetchall()
    )
    return {digest for (digest,) in rows} if len(rows) <= _KNOWN_LIMIT else None


def _run(connection: sqlite3.Connection, statement: str, *values: object) -> None:
    connection.execute(statement, values)
