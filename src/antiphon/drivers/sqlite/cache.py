"""The second level of the cache in SQLite; implements `ports.stores.CacheLevel`."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from antiphon.cache.entry import STALE_SECONDS, Entry
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.rows import ENTRY_COLUMNS, READ_COLUMNS, TOTALS, entry_row, read_entry, read_totals
from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.recordings import keep_recording
from antiphon.ports.stores import Totals

_FROM = "FROM cache_entries JOIN recordings ON recordings.id = recording_id"
_SELECT = f"SELECT {READ_COLUMNS} {_FROM} WHERE digest = ?"
_SELECT_MEANT = f"SELECT {READ_COLUMNS} {_FROM} WHERE {{}} ORDER BY stored_at DESC LIMIT ?"
_SELECT_MANY = f"SELECT {READ_COLUMNS} {_FROM} WHERE digest IN ({{}})"
_REPLACE = f"""
REPLACE INTO cache_entries ({ENTRY_COLUMNS}) VALUES ({", ".join("?" * len(ENTRY_COLUMNS.split(", ")))})
"""  # noqa: S608 - names of columns
_IS_PINNED = "SELECT is_pinned FROM cache_entries WHERE digest = ?"
_PIN = "UPDATE cache_entries SET is_pinned = ? WHERE digest = ?"
_EXPIRED = """
SELECT rowid FROM cache_entries WHERE expires_at < ? AND keep_until < ? AND NOT is_pinned LIMIT ?
"""
_TOTAL = "SELECT coalesce(sum(size), 0) FROM cache_entries"
_OLDEST = "SELECT rowid, size FROM cache_entries WHERE NOT is_pinned ORDER BY stored_at LIMIT ?"
_DELETE = "DELETE FROM cache_entries WHERE rowid = ?"
_COUNT_MEANT = "SELECT count(*) FROM cache_entries WHERE {}"
_DELETE_MEANT = "DELETE FROM cache_entries WHERE {}"
_EXPIRE_MEANT = "UPDATE cache_entries SET expires_at = min(expires_at, ?) WHERE {}"

_DIGESTS = "SELECT digest FROM cache_entries LIMIT ?"
_KNOWN_LIMIT = 200_000
_AT_ONCE = 500


class SqliteCache:
    """Cache entries of all workers that share the file."""

    def __init__(self, database: Database, max_bytes: int, *, is_shared: bool = True) -> None:
        """Hold at most about `max_bytes`, oldest out first. `is_shared`: other processes put entries too."""
        self._database = database
        self._known = None if is_shared else _digests(database)
        self._max_bytes = max_bytes
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
        if row is None:
            return None
        entry = read_entry(row)
        if entry is None:
            self.unreadable += 1
        return entry

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return those entries that there are and can be read. Raises StoreFault."""

        def work(connection: sqlite3.Connection) -> list[Entry | None]:
            # What is decompressed and checked here does not hold up the clients of others.
            rows: list[Any] = []
            for first in range(0, len(digests), _AT_ONCE):
                some = digests[first : first + _AT_ONCE]
                rows += connection.execute(_SELECT_MANY.format(", ".join("?" * len(some))), some)
            return [read_entry(row) for row in rows]

        found = await self._database.read(work)
        self.unreadable += sum(entry is None for entry in found)
        return {entry.digest: entry for entry in found if entry is not None}

    def put(self, entry: Entry) -> None:
        """Write the entry in the background."""
        row = entry_row(entry)

        def work(connection: sqlite3.Connection) -> None:
            was_pinned = connection.execute(_IS_PINNED, (entry.digest,)).fetchone()
            keep_recording(connection, entry.recording)
            connection.execute(_REPLACE, row)
            if was_pinned is not None and was_pinned != (entry.is_pinned,):
                connection.execute(_PIN, (*was_pinned, entry.digest))

        if self._database.write(work, entry.size, may_drop=True) and self._known is not None:
            self._known.add(entry.digest)
            if len(self._known) > _KNOWN_LIMIT:
                self._known = None

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

    async def count(self, selector: Selector) -> int:
        """Return how many are meant. Raises StoreFault."""
        condition, values = _condition(selector)
        (count,) = await self._database.read(
            lambda connection: connection.execute(_COUNT_MEANT.format(condition), values).fetchone(),
            is_long=True,
        )
        return int(count)

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant; what was put before is written before. Raises StoreFault."""
        condition, values = _condition(selector)
        return await self._database.written(
            lambda connection: connection.execute(_DELETE_MEANT.format(condition), values).rowcount
        )

    async def expire(self, selector: Selector, at: float) -> int:
        """Make stale what is meant. Raises StoreFault."""
        condition, values = _condition(selector)
        return await self._database.written(
            lambda connection: connection.execute(_EXPIRE_MEANT.format(condition), (at, *values)).rowcount
        )

    async def pin(self, digest: bytes, *, is_pinned: bool) -> None:
        """Pin the entry, or no more. Raises StoreFault."""
        await self._database.written(lambda connection: _run(connection, _PIN, is_pinned, digest))

    async def totals(self) -> Totals:
        """Return how much there is. Raises StoreFault."""
        return read_totals(
            await self._database.read(lambda connection: connection.execute(TOTALS).fetchall(), is_long=True)
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
        "public_id = ?": selector.public_id,
        "scope = ?": selector.scope,
        "? IN (model, target)": selector.model,
        # Tags stand on lines of their own.
        "instr(char(10) || tags || char(10), char(10) || ? || char(10)) > 0": selector.tag,
        "instr(prompt, ?) = 1": None if selector.prompt is None else selector.prompt[:PROMPT_LENGTH],
        "stored_at < ?": selector.stored_before,
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    spared = ["NOT is_pinned"] if selector.spares_pinned else []
    return " AND ".join([*given, *spared]) or "true", list(given.values())
