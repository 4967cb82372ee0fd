"""The second level of the cache in SQLite; implements `ports.stores.CacheLevel`."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from antiphon.cache.entry import STALE_SECONDS, Entry
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.rows import ENTRY_COLUMNS, READ_COLUMNS, entry_row, read_entry
from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.recordings import keep_recording

_FROM = "FROM cache_entries JOIN recordings ON recordings.id = recording_id"
_SELECT = f"SELECT recording_id, {READ_COLUMNS} {_FROM} WHERE digest = ?"
_SELECT_MEANT = f"SELECT {READ_COLUMNS} {_FROM} WHERE {{}} ORDER BY stored_at DESC LIMIT ?"
_SELECT_MANY = f"SELECT recording_id, {READ_COLUMNS} {_FROM} WHERE digest IN ({{}})"
_REPLACE = f"""
REPLACE INTO cache_entries ({ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - names of columns
_EXPIRED = """
SELECT rowid FROM cache_entries WHERE expires_at < ? AND keep_until < ? AND NOT is_pinned LIMIT ?
"""
_TOTAL = "SELECT coalesce(sum(size), 0) FROM cache_entries"
_OLDEST = "SELECT rowid, size FROM cache_entries WHERE NOT is_pinned ORDER BY stored_at LIMIT ?"
_DELETE = "DELETE FROM cache_entries WHERE rowid = ?"
_DELETE_MEANT = "DELETE FROM cache_entries WHERE {}"
_DELETE_RECORDING = "DELETE FROM cache_entries WHERE recording_id = ?"

_DIGESTS = "SELECT digest FROM cache_entries LIMIT ?"
_KNOWN_LIMIT = 200_000
_REMOVED_LIMIT = 10_000
_AT_ONCE = 500


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

    @property
    def dropped(self) -> int:
        """How many entries were not written, because too many writes waited."""
        return self._database.dropped

    def may_hold(self, digest: bytes) -> bool:
        """Whether a look-up can find anything; costs nothing."""
        return self._known is None or digest in self._known

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry; what cannot be read is none. Raises StoreFault."""
        row = await self._database.read(lambda connection: connection.execute(_SELECT, (digest,)).fetchone())
        if row is None or row[0] in self._removed:
            return None
        entry = read_entry(row[1:])
        if entry is None:
            self.unreadable += 1
        return entry

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return those entries that there are and can be read. Raises StoreFault."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, Entry | None]]:
            # What is decompressed and checked here does not hold up the clients of others.
            rows: list[Any] = []
            for first in range(0, len(digests), _AT_ONCE):
                some = digests[first : first + _AT_ONCE]
                rows += connection.execute(_SELECT_MANY.format(", ".join("?" * len(some))), some)
            return [(row[0], read_entry(row[1:])) for row in rows]

        found = await self._database.read(work)
        self.unreadable += sum(entry is None for _, entry in found)
        return {
            entry.digest: entry
            for recording_id, entry in found
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

    async def select(self, selector: Selector, limit: int) -> list[Entry]:
        """Return what is meant, newest first. Raises StoreFault."""
        condition, values = _condition(selector)
        rows = await self._database.read(
            lambda connection: connection.execute(
                _SELECT_MEANT.format(condition), (*values, limit)
            ).fetchall(),
            is_long=True,
        )
        return [entry for row in rows if (entry := read_entry(row)) is not None]

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant; what was put before is written before. Raises StoreFault."""
        condition, values = _condition(selector)
        return await self._database.written(
            lambda connection: connection.execute(_DELETE_MEANT.format(condition), values).rowcount
        )

    def sweep(self, now: float) -> None:
        """Delete what has expired, and the oldest entries beyond the bound."""
        self._database.write_in_slices(lambda connection: _delete_expired(connection, now))
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


def _delete_expired(connection: sqlite3.Connection, now: float) -> bool:
    expired = connection.execute(_EXPIRED, (now - STALE_SECONDS, now, _AT_ONCE)).fetchall()
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


def _condition(selector: Selector) -> tuple[str, list[object]]:
    """Return what stands after WHERE, and its values."""
    conditions = {
        "digest = ?": selector.digest,
        "recording_id = ?": selector.recording_id,
        "scope = ?": selector.scope,
        "? IN (model, target)": selector.model,
        # Tags stand on lines of their own.
        "instr(char(10) || tags || char(10), char(10) || ? || char(10)) > 0": selector.tag,
        "instr(prompt, ?) = 1": None if selector.prompt is None else selector.prompt[:PROMPT_LENGTH],
        "stored_at < ?": selector.stored_before,
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(given) or "true", list(given.values())
