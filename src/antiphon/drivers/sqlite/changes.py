"""The log of changes in SQLite; implements `ports.changing.ChangeLog` for the workers of one host."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

from antiphon.cache.changes import Change
from antiphon.drivers.sqlite.database import Database
from antiphon.ports.changing import Look

_ENTER = "REPLACE INTO cache_readers (name, position, trust) VALUES (?, 0, ?)"
_IS_ENTERED = "SELECT 1 FROM cache_readers WHERE name = ?"
_LATEST = "SELECT coalesce(max(number), 0) FROM cache_changes"
_AFTER = "SELECT change, number FROM cache_changes WHERE number > ? ORDER BY number"
_ACKNOWLEDGE = "UPDATE cache_readers SET position = max(position, ?) WHERE name = ?"
_APPEND = "INSERT INTO cache_changes (at, change) VALUES (?, ?)"
_BEHIND = "SELECT trust FROM cache_readers WHERE position < ?"
_STRIKE = "DELETE FROM cache_readers WHERE position < ?"
_LEAVE = "DELETE FROM cache_readers WHERE name = ?"
_FORGET = "DELETE FROM cache_changes WHERE at < ? AND number < (SELECT max(number) FROM cache_changes)"

_PAUSE_SECONDS: Final = 0.1
_ALONE_SECONDS: Final = 0.5


class SqliteChanges:
    """One row a change, and one a reader."""

    def __init__(self, database: Database, *, is_shared: bool) -> None:
        """Keep them in `database`; `is_shared`: other processes must be there."""
        self._database = database
        self.pause = _PAUSE_SECONDS if is_shared else _ALONE_SECONDS

    async def enter(self, reader: str, trust: float) -> None:
        """Let `reader` be waited for."""
        await self._run(_ENTER, reader, trust)

    async def look(self, reader: str, after: int) -> Look:
        """Return what has come."""

        def work(connection: sqlite3.Connection) -> tuple[list[tuple[str, int]], int, bool]:
            connection.execute("BEGIN")  # what is read belongs together
            try:
                is_entered = connection.execute(_IS_ENTERED, (reader,)).fetchone() is not None
                (latest,) = connection.execute(_LATEST).fetchone()
                rows = connection.execute(_AFTER, (after,)).fetchall() if latest > after else []
                return rows, latest, is_entered
            finally:
                connection.execute("COMMIT")

        rows, latest, is_entered = await self._database.read(work)
        return Look([Change.read(change, number) for change, number in rows], latest, is_entered)

    async def acknowledge(self, reader: str, position: int) -> bool:
        """Say how far `reader` is."""
        return await self._run(_ACKNOWLEDGE, position, reader) > 0

    async def append(self, change: Change) -> int:
        """Write a change."""
        row = (change.at, change.write().decode())

        def work(connection: sqlite3.Connection) -> int:
            number = connection.execute(_APPEND, row).lastrowid
            assert number is not None
            return number

        return await self._database.written(work)

    async def behind(self, number: int) -> list[float]:
        """Return for how long those go on who have not heard."""
        rows = await self._database.read(lambda connection: connection.execute(_BEHIND, (number,)).fetchall())
        return [trust for (trust,) in rows]

    async def strike(self, number: int) -> None:
        """Wait no more for those who have not heard."""
        await self._run(_STRIKE, number)

    async def leave(self, reader: str) -> None:
        """Wait no more for `reader`."""
        await self._run(_LEAVE, reader)

    async def listen(self, heard: Callable[[], object]) -> None:  # noqa: ARG002 - nobody tells
        """Hear nothing: a look costs little here."""
        await asyncio.Event().wait()

    def sweep(self, before: float) -> None:
        """Forget what was written before."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FORGET, (before,))

        self._database.write(work)

    async def _run(self, statement: str, *values: object) -> int:
        return await self._database.written(lambda connection: connection.execute(statement, values).rowcount)
