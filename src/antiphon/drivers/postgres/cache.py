"""The second level of the cache in PostgreSQL; implements `ports.stores.CacheLevel`."""

import asyncio
from collections.abc import Sequence

from antiphon.cache.entry import Entry
from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.recordings import keep_recording
from antiphon.drivers.rows import entry_row, read_entry
from antiphon.wire.errors import StoreFault

_SELECT = """
SELECT recording_id, identity, data, public_id, echo, stored_at, expires_at, tags
FROM cache_entries JOIN recordings ON recordings.id = recording_id WHERE digest = $1
"""
_SELECT_MANY = """
SELECT digest, recording_id, identity, data, public_id, echo, stored_at, expires_at, tags
FROM cache_entries JOIN recordings ON recordings.id = recording_id WHERE digest = ANY($1::bytea[])
"""
_REPLACE = """
INSERT INTO cache_entries (digest, identity, recording_id, public_id, echo, tags, stored_at, expires_at, size)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (digest) DO UPDATE SET identity = EXCLUDED.identity, recording_id = EXCLUDED.recording_id,
    public_id = EXCLUDED.public_id, echo = EXCLUDED.echo, tags = EXCLUDED.tags, stored_at = EXCLUDED.stored_at,
    expires_at = EXCLUDED.expires_at, size = EXCLUDED.size
"""
_EXPIRED = "DELETE FROM cache_entries WHERE expires_at < $1"
_DELETE_RECORDING = "DELETE FROM cache_entries WHERE recording_id = $1"
# From the newest to the oldest, with all that is newer added up: what is beyond the bound goes.
_BEYOND = """
DELETE FROM cache_entries WHERE stored_at <= (
    SELECT max(stored_at) FROM (
        SELECT stored_at, sum(size) OVER (ORDER BY stored_at DESC, digest) AS total FROM cache_entries
    ) AS added WHERE total > $1
)
"""

_REMOVED_LIMIT = 10_000
_STALE_SECONDS = 3600
"""Expired entries stay this long for requests that accept stale answers."""


class PostgresCache:
    """Cache entries of all workers of all hosts."""

    def __init__(self, database: Database, max_bytes: int) -> None:
        """Hold at most about `max_bytes`, oldest out first."""
        self._database = database
        self._max_bytes = max_bytes
        # What is not yet deleted, or was read just before, is not to be found any more.
        self._removed: dict[str, None] = {}
        self.unreadable = 0

    def may_hold(self, digest: bytes) -> bool:  # noqa: ARG002 - others put entries too
        """Whether a look-up can find anything: it always can."""
        return True

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry; whatever cannot be read is a miss."""
        try:
            row = await self._database.fetch_row(_SELECT, digest)
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
        try:
            rows = await self._database.fetch(_SELECT_MANY, digests)
        except StoreFault:
            return {}
        rows = [row for row in rows if row[1] not in self._removed]
        # What is decompressed and checked elsewhere does not hold up the clients of others.
        entries = await asyncio.to_thread(lambda: [read_entry(row[0], row[2:]) for row in rows])
        self.unreadable += sum(entry is None for entry in entries)
        return {entry.digest: entry for entry in entries if entry is not None}

    def put(self, entry: Entry) -> None:
        """Write the entry in the background."""
        row = entry_row(entry)

        async def write(connection: Connection) -> None:
            await keep_recording(connection, entry.recording)
            await connection.execute(_REPLACE, *row)

        self._database.queue.put(write, entry.size, may_drop=True)

    def remove_recording(self, recording_id: str) -> None:
        """Remove the entries that hold this recording."""
        self._removed[recording_id] = None
        if len(self._removed) > _REMOVED_LIMIT:
            del self._removed[next(iter(self._removed))]

        async def write(connection: Connection) -> None:
            await connection.execute(_DELETE_RECORDING, recording_id)

        self._database.queue.put(write)

    def sweep(self, now: float) -> None:
        """Delete what has expired, and the oldest entries beyond the bound."""

        async def write(connection: Connection) -> None:
            await connection.execute(_EXPIRED, now - _STALE_SECONDS)
            await connection.execute(_BEYOND, self._max_bytes)

        self._database.queue.put(write)
