"""The second level of the cache in PostgreSQL; implements `ports.stores.CacheLevel`."""

import asyncio
from collections.abc import Sequence

from antiphon.cache.entry import STALE_SECONDS, Entry
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.recordings import keep_recording
from antiphon.drivers.rows import ENTRY_COLUMNS, READ_COLUMNS, TOTALS, entry_row, read_entry, read_totals
from antiphon.ports.stores import Totals

_COLUMNS = ENTRY_COLUMNS.split(", ")
_FROM = "FROM cache_entries JOIN recordings ON recordings.id = recording_id"
_SELECT = f"SELECT {READ_COLUMNS} {_FROM} WHERE digest = $1"
_SELECT_MEANT = f"SELECT {READ_COLUMNS} {_FROM} WHERE {{}} ORDER BY stored_at DESC LIMIT {{}}"
_SELECT_MANY = f"SELECT {READ_COLUMNS} {_FROM} WHERE digest = ANY($1::bytea[])"
_REPLACE = f"""
INSERT INTO cache_entries ({ENTRY_COLUMNS})
VALUES ({", ".join(f"${place}" for place, _ in enumerate(_COLUMNS, 1))})
ON CONFLICT (digest) DO UPDATE
SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS if name != "is_pinned")}
"""  # noqa: S608 - names of columns
_EXPIRED = "DELETE FROM cache_entries WHERE expires_at < $1 AND keep_until < $2 AND NOT is_pinned"
_COUNT_MEANT = "SELECT count(*) FROM cache_entries WHERE {}"
_DELETE_MEANT = "DELETE FROM cache_entries WHERE {}"
_EXPIRE_MEANT = "UPDATE cache_entries SET expires_at = least(expires_at, {}) WHERE {}"
_PIN = "UPDATE cache_entries SET is_pinned = $1 WHERE digest = $2"
# From the newest to the oldest, with all that is newer added up: what is beyond the bound goes.
_BEYOND = """
DELETE FROM cache_entries WHERE NOT is_pinned AND stored_at <= (
    SELECT max(stored_at) FROM (
        SELECT stored_at, sum(size) OVER (ORDER BY stored_at DESC, digest) AS total FROM cache_entries
    ) AS added WHERE total > $1
)
"""


class PostgresCache:
    """Cache entries of all workers of all hosts."""

    def __init__(self, database: Database, max_bytes: int) -> None:
        """Hold at most about `max_bytes`, oldest out first."""
        self._database = database
        self._max_bytes = max_bytes
        self.unreadable = 0

    @property
    def dropped(self) -> int:
        """How many entries were not written, because too many writes waited."""
        return self._database.queue.dropped

    def may_hold(self, digest: bytes) -> bool:  # noqa: ARG002 - others put entries too
        """Whether a look-up can find anything: it always can."""
        return True

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry; what cannot be read is none. Raises StoreFault."""
        row = await self._database.fetch_row(_SELECT, digest)
        if row is None:
            return None
        entry = read_entry(row)
        if entry is None:
            self.unreadable += 1
        return entry

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return those entries that there are and can be read. Raises StoreFault."""
        rows = await self._database.fetch(_SELECT_MANY, digests)
        # What is decompressed and checked elsewhere does not hold up the clients of others.
        entries = await asyncio.to_thread(lambda: [read_entry(row) for row in rows])
        self.unreadable += sum(entry is None for entry in entries)
        return {entry.digest: entry for entry in entries if entry is not None}

    def put(self, entry: Entry) -> None:
        """Write the entry in the background."""
        row = entry_row(entry)

        async def write(connection: Connection) -> None:
            await keep_recording(connection, entry.recording)
            await connection.execute(_REPLACE, *row)

        self._database.queue.put(write, entry.size, may_drop=True)

    async def select(self, selector: Selector, limit: int) -> list[Entry]:
        """Return what is meant, newest first. Raises StoreFault."""
        condition, values = _condition(selector)
        statement = _SELECT_MEANT.format(condition, f"${len(values) + 1}")
        rows = await self._database.fetch(statement, *values, limit)
        return [entry for row in rows if (entry := read_entry(row)) is not None]

    async def count(self, selector: Selector) -> int:
        """Return how many are meant. Raises StoreFault."""
        condition, values = _condition(selector)
        row = await self._database.fetch_row(_COUNT_MEANT.format(condition), *values)
        return int(row[0]) if row is not None else 0

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant; what was put before is written before. Raises StoreFault."""
        condition, values = _condition(selector)
        return await self._changed(_DELETE_MEANT.format(condition), *values)

    async def expire(self, selector: Selector, at: float) -> int:
        """Make stale what is meant. Raises StoreFault."""
        condition, values = _condition(selector)
        return await self._changed(_EXPIRE_MEANT.format(f"${len(values) + 1}", condition), *values, at)

    async def pin(self, digest: bytes, *, is_pinned: bool) -> None:
        """Pin the entry, or no more. Raises StoreFault."""
        await self._changed(_PIN, is_pinned, digest)

    async def totals(self) -> Totals:
        """Return how much there is. Raises StoreFault."""
        return read_totals(await self._database.fetch(TOTALS))

    async def _changed(self, statement: str, *values: object) -> int:
        """Run a statement after what was put before, and return how many rows it has changed. Raises StoreFault."""
        await self._database.queue.flushed()

        async def work(connection: Connection) -> int:
            tag = await connection.execute(statement, *values)
            return int(str(tag).rpartition(" ")[2])

        return await self._database.transact(work)

    def sweep(self, now: float) -> None:
        """Delete what has expired, and the oldest entries beyond the bound."""

        async def write(connection: Connection) -> None:
            await connection.execute(_EXPIRED, now - STALE_SECONDS, now)
            await connection.execute(_BEYOND, self._max_bytes)

        self._database.queue.put(write)


def _condition(selector: Selector) -> tuple[str, list[object]]:
    """Return what stands after WHERE, and its values."""
    conditions = {
        "digest = {}": selector.digest,
        "recording_id = {}": selector.recording_id,
        "public_id = {}": selector.public_id,
        "scope = {}": selector.scope,
        "{} IN (model, target)": selector.model,
        # Tags stand on lines of their own.
        "{} = ANY (string_to_array(tags, chr(10)))": selector.tag,
        "starts_with(prompt, {})": None if selector.prompt is None else selector.prompt[:PROMPT_LENGTH],
        "stored_at < {}": selector.stored_before,
    }
    given = [(condition, value) for condition, value in conditions.items() if value is not None]
    numbered = [condition.format(f"${number}") for number, (condition, _) in enumerate(given, 1)]
    spared = ["NOT is_pinned"] if selector.spares_pinned else []
    return " AND ".join([*numbered, *spared]) or "true", [value for _, value in given]
