"""The outbox of webhooks in SQLite; implements `ports.webhooks.Outbox`."""

import sqlite3
import time
from collections.abc import Callable

from antiphon.drivers.sqlite.database import Database
from antiphon.ports.webhooks import Notice

_IS_DUE = "SELECT 1 FROM webhook_notices WHERE status IS NOT NULL AND due_at <= ? LIMIT 1"
_TAKE = """
UPDATE webhook_notices SET attempt = attempt + 1, due_at = :until, ended_at = coalesce(ended_at, :now)
WHERE id IN (
    SELECT id FROM webhook_notices WHERE status IS NOT NULL AND due_at <= :now ORDER BY due_at LIMIT :limit
)
RETURNING id, run_id, hook, status, ended_at, attempt
"""
_PUT_OFF = "UPDATE webhook_notices SET due_at = ? WHERE id = ?"
_FORGET = "DELETE FROM webhook_notices WHERE id = ?"


class SqliteOutbox:
    """Notices of all workers that share the file."""

    def __init__(self, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        """Keep notices in `database`."""
        self._database = database
        self._now = wall_clock

    async def due(self, limit: int, seconds: float) -> list[Notice]:
        """Take up to `limit` notices that are due."""
        now = self._now()
        if not await self._database.read(lambda connection: connection.execute(_IS_DUE, (now,)).fetchone()):
            return []
        values = {"now": now, "until": now + seconds, "limit": limit}

        def work(connection: sqlite3.Connection) -> list[Notice]:
            return [Notice(*row) for row in connection.execute(_TAKE, values).fetchall()]

        return await self._database.written(work)

    async def put_off(self, notice_id: str, seconds: float) -> None:
        """Let a notice be due after `seconds`."""
        due_at = self._now() + seconds
        await self._database.written(lambda connection: connection.execute(_PUT_OFF, (due_at, notice_id)))

    async def forget(self, notice_id: str) -> None:
        """Drop a notice."""
        await self._database.written(lambda connection: connection.execute(_FORGET, (notice_id,)))
