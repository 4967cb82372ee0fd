"""The ledger in SQLite; implements `ports.ledger.Ledger`."""

import sqlite3
from collections.abc import Sequence

from antiphon.drivers.sqlite.database import Database
from antiphon.ports.ledger import UsageRow

_MARKS = ", ".join("?" * len(UsageRow._fields))
_INSERT = f"INSERT INTO usage VALUES ({_MARKS}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - only marks
_MOST = 2**63 - 1


class SqliteLedger:
    """Usage rows, each once."""

    def __init__(self, database: Database) -> None:
        """Keep rows in `database`."""
        self._database = database

    async def append(self, rows: Sequence[UsageRow]) -> None:
        """Keep rows for good, each once. Raises StoreFault."""

        def work(connection: sqlite3.Connection) -> None:
            try:
                connection.executemany(_INSERT, rows)
            except (UnicodeEncodeError, OverflowError):
                # An upstream made up an id or a count that SQLite cannot hold: the other rows are none the worse.
                connection.executemany(_INSERT, [tuple(map(_storable, row)) for row in rows])

        await self._database.written(work)


def _storable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-_MOST, min(value, _MOST))
    return value
