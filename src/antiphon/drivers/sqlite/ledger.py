"""The ledger in SQLite; implements `ports.ledger.Ledger`."""

import sqlite3
from collections.abc import Sequence

from antiphon.drivers.sqlite.database import Database
from antiphon.ports.ledger import UsageRow

_MARKS = ", ".join("?" * len(UsageRow._fields))
_INSERT = f"INSERT INTO usage VALUES ({_MARKS}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - only marks
_SNAPSHOT = "REPLACE INTO worker_metrics (worker, time, snapshot) VALUES (?, ?, ?)"
_SNAPSHOTS = "SELECT snapshot FROM worker_metrics WHERE worker != ?"
_FORGET = "DELETE FROM worker_metrics WHERE time < ?"
_MOST = 2**63 - 1


class SqliteLedger:
    """Usage rows, and the counters of each worker, so that any of them can show the sum."""

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

    async def publish(self, worker: str, snapshot: bytes, now: float) -> None:
        """Let the other workers see this one's counters. Raises StoreFault."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_SNAPSHOT, (worker, now, snapshot))

        await self._database.written(work)

    async def others(self, worker: str) -> list[bytes]:
        """Return the counters that the other workers have published. Raises StoreFault."""
        rows = await self._database.read(
            lambda connection: connection.execute(_SNAPSHOTS, (worker,)).fetchall()
        )
        return [snapshot for (snapshot,) in rows]

    async def forget(self, before: float) -> None:
        """Drop the counters of workers that have not published since `before`. Raises StoreFault."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FORGET, (before,))

        await self._database.written(work)


def _storable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-_MOST, min(value, _MOST))
    return value
