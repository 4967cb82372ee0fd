"""The counters of the workers in SQLite; implements `ports.storage.WorkerMetrics`."""

import sqlite3

from antiphon.drivers.sqlite.database import Database

_SNAPSHOT = "REPLACE INTO worker_metrics (worker, time, snapshot) VALUES (?, ?, ?)"
_SNAPSHOTS = "SELECT snapshot FROM worker_metrics WHERE worker != ?"
_FORGET = "DELETE FROM worker_metrics WHERE time < ?"


class SqliteWorkerMetrics:
    """Counters by worker, written as a whole."""

    def __init__(self, database: Database) -> None:
        """Keep counters in `database`."""
        self._database = database

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
