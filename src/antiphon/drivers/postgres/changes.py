"""The log of changes in PostgreSQL; implements `ports.changing.ChangeLog` for the workers of several hosts."""

import asyncio
from collections.abc import Callable
from typing import Final

from antiphon.cache.changes import Change
from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.hints import Hints
from antiphon.ports.changing import Look

_ENTER = """
INSERT INTO cache_readers (name, position, trust) VALUES ($1, 0, $2)
ON CONFLICT (name) DO UPDATE SET position = 0, trust = EXCLUDED.trust
"""
# One statement sees one state of the database. There is a row even where there is nothing new.
_LOOK = """
SELECT seen.is_entered, seen.latest, change, number
FROM (
    SELECT EXISTS (SELECT FROM cache_readers WHERE name = $1) AS is_entered,
           (SELECT coalesce(max(number), 0) FROM cache_changes) AS latest
) AS seen LEFT JOIN cache_changes ON number > $2
ORDER BY number
"""
_ACKNOWLEDGE = "UPDATE cache_readers SET position = greatest(position, $1) WHERE name = $2 RETURNING 1"
_LOCK = "SELECT pg_advisory_xact_lock(4207849484110102)"
"""Numbers are seen in their order: who has seen one has seen all below it."""
_APPEND = "INSERT INTO cache_changes (at, change) VALUES ($1, $2) RETURNING number"
_TELL = "SELECT pg_notify($1, '')"
_BEHIND = "SELECT trust FROM cache_readers WHERE position < $1"
_STRIKE = "DELETE FROM cache_readers WHERE position < $1"
_LEAVE = "DELETE FROM cache_readers WHERE name = $1"
_FORGET = "DELETE FROM cache_changes WHERE at < $1 AND number < (SELECT max(number) FROM cache_changes)"

_CHANNEL: Final = "antiphon_cache"
_PAUSE_SECONDS: Final = 1.0


class PostgresChanges:
    """One row a change, and one a reader."""

    def __init__(self, database: Database, hints: Hints) -> None:
        """Keep them in `database`; `hints` has not begun to listen."""
        self._database = database
        self._news = asyncio.Event()
        self.pause = _PAUSE_SECONDS
        hints.hear(_CHANNEL, lambda _: self._news.set())

    async def enter(self, reader: str, trust: float) -> None:
        """Let `reader` be waited for."""
        await self._database.fetch(_ENTER, reader, trust)

    async def look(self, reader: str, after: int) -> Look:
        """Return what has come."""
        rows = await self._database.fetch(_LOOK, reader, after)
        is_entered, latest = rows[0][:2]
        changes = [Change.read(change, number) for *_, change, number in rows if number is not None]
        return Look(changes, latest, is_entered)

    async def acknowledge(self, reader: str, position: int) -> bool:
        """Say how far `reader` is."""
        return bool(await self._database.fetch(_ACKNOWLEDGE, position, reader))

    async def append(self, change: Change) -> int:
        """Write a change."""

        async def work(connection: Connection) -> int:
            await connection.execute(_LOCK)
            number: int = await connection.fetchval(_APPEND, change.at, change.write().decode())
            await connection.execute(_TELL, _CHANNEL)
            return number

        return await self._database.transact(work)

    async def behind(self, number: int) -> list[float]:
        """Return for how long those go on who have not heard."""
        return [row[0] for row in await self._database.fetch(_BEHIND, number)]

    async def strike(self, number: int) -> None:
        """Wait no more for those who have not heard."""
        await self._database.fetch(_STRIKE, number)

    async def leave(self, reader: str) -> None:
        """Wait no more for `reader`."""
        await self._database.fetch(_LEAVE, reader)

    async def listen(self, heard: Callable[[], object]) -> None:
        """Call `heard` when somebody has written."""
        while True:
            await self._news.wait()
            self._news.clear()
            heard()

    def sweep(self, before: float) -> None:
        """Forget what was written before."""

        async def write(connection: Connection) -> None:
            await connection.execute(_FORGET, before)

        self._database.queue.put(write)
