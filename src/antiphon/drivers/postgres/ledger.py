"""The ledger in PostgreSQL; implements `ports.ledger.Ledger`."""

from collections.abc import Sequence

from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.faults import UNSTORABLE
from antiphon.drivers.postgres.values import storable
from antiphon.ports.ledger import UsageRow

_PLACES = ", ".join(f"${place}" for place in range(1, len(UsageRow._fields) + 1))
_INSERT = f"INSERT INTO usage VALUES ({_PLACES}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - only places


class PostgresLedger:
    """Usage rows."""

    def __init__(self, database: Database) -> None:
        """Keep rows in `database`."""
        self._database = database

    async def append(self, rows: Sequence[UsageRow]) -> None:
        """Keep rows for good, each once. Raises StoreFault."""
        # In the order of their ids: two batches with the same rows do not wait for each other.
        rows = sorted(rows, key=lambda row: row.id)

        async def work(connection: Connection) -> None:
            try:
                async with connection.transaction():
                    await connection.executemany(_INSERT, rows)
            except UNSTORABLE:
                # An upstream made up an id or a count that no column takes: the other rows are none the worse.
                await connection.executemany(_INSERT, [tuple(map(storable, row)) for row in rows])

        await self._database.transact(work)
