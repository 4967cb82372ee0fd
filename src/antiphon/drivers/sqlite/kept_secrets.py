"""Secrets in SQLite; implements `ports.storage.SecretStore`."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from antiphon.drivers.sqlite.database import Database
from antiphon.ports.storage import StorageUnusable

_T = TypeVar("_T")

_SELECT = "SELECT value FROM secrets WHERE name = ?"
_INSERT = "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"


class SqliteSecrets:
    """Secrets by name. They are asked for before anything else is."""

    def __init__(self, database: Database) -> None:
        """Keep secrets in `database`."""
        self._database = database

    async def stored(self, name: str) -> bytes | None:
        """Return the secret, if one was ever made. Raises StorageUnusable."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(_SELECT, (name,)).fetchone()
            return None if row is None else bytes(row[0])

        return await self._do(work)

    async def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the secret, made now if there is none; of several workers that make one, the first wins.

        Raises StorageUnusable.
        """
        found = await self.stored(name)
        if found is not None:
            return found
        await self._do(lambda connection: connection.execute(_INSERT, (name, make())))
        found = await self.stored(name)
        assert found is not None
        return found

    async def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return await asyncio.to_thread(self._database.do_at_start, work)
        except sqlite3.Error as error:
            raise StorageUnusable(f"no secret can be kept there: {error}") from error
