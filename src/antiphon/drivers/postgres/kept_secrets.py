"""Secrets in PostgreSQL; implements `ports.storage.SecretStore`."""

from collections.abc import Callable

from antiphon.drivers.postgres.database import Database
from antiphon.ports.storage import StorageUnusable
from antiphon.wire.errors import StoreFault

_SELECT = "SELECT value FROM secrets WHERE name = $1"
_INSERT = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"


class PostgresSecrets:
    """Secrets by name."""

    def __init__(self, database: Database) -> None:
        """Keep secrets in `database`."""
        self._database = database

    async def stored(self, name: str) -> bytes | None:
        """Return the secret, if one was ever made. Raises StorageUnusable."""
        try:
            row = await self._database.fetch_row(_SELECT, name)
        except StoreFault as fault:
            raise StorageUnusable(
                f"no secret can be kept there: {fault.__cause__ or fault.message}"
            ) from fault
        return None if row is None else bytes(row[0])

    async def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the secret, made now if there is none; of several workers that make one, the first wins.

        Raises StorageUnusable.
        """
        found = await self.stored(name)
        if found is not None:
            return found
        try:
            await self._database.fetch(_INSERT, name, make())
        except StoreFault as fault:
            raise StorageUnusable(
                f"no secret can be kept there: {fault.__cause__ or fault.message}"
            ) from fault
        found = await self.stored(name)
        assert found is not None
        return found
