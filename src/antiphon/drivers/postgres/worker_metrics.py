"""The counters of each worker, in PostgreSQL; implements `ports.storage.WorkerMetrics`."""

from antiphon.drivers.postgres.database import Database

_PUBLISH = """
INSERT INTO worker_metrics (worker, time, snapshot) VALUES ($1, $2, $3)
ON CONFLICT (worker) DO UPDATE SET time = EXCLUDED.time, snapshot = EXCLUDED.snapshot
"""
_OTHERS = "SELECT snapshot FROM worker_metrics WHERE worker <> $1"
_FORGET = "DELETE FROM worker_metrics WHERE time < $1"


class PostgresWorkerMetrics:
    """Snapshots by worker."""

    def __init__(self, database: Database) -> None:
        """Keep snapshots in `database`."""
        self._database = database

    async def publish(self, worker: str, snapshot: bytes, now: float) -> None:
        """Let the other workers see this one's counters. Raises StoreFault."""
        await self._database.fetch(_PUBLISH, worker, now, snapshot)

    async def others(self, worker: str) -> list[bytes]:
        """Return the counters that the other workers have published. Raises StoreFault."""
        return [row[0] for row in await self._database.fetch(_OTHERS, worker)]

    async def forget(self, before: float) -> None:
        """Drop the counters of workers that have not published since `before`. Raises StoreFault."""
        await self._database.fetch(_FORGET, before)
