"""The outbox of webhooks in PostgreSQL; implements `ports.webhooks.Outbox`."""

from antiphon.drivers.postgres.database import Database, now_at
from antiphon.ports.webhooks import Notice

_NOW = now_at(1)
_TAKE = f"""
UPDATE webhook_notices AS notice SET attempt = attempt + 1, due_at = {_NOW} + $2::float8,
    ended_at = coalesce(ended_at, {_NOW})
FROM (
    SELECT id FROM webhook_notices WHERE status IS NOT NULL AND due_at <= {_NOW}
    ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
) AS due
WHERE notice.id = due.id
RETURNING notice.id, run_id, hook, status, ended_at, attempt
"""  # noqa: S608  nothing in it is from outside
_PUT_OFF = f"UPDATE webhook_notices SET due_at = {_NOW} + $2::float8 WHERE id = $3"  # noqa: S608
_FORGET = "DELETE FROM webhook_notices WHERE id = $1"


class PostgresOutbox:
    """Notices of all workers of all hosts, by the database's clock."""

    def __init__(self, database: Database) -> None:
        """Keep notices in `database`."""
        self._database = database

    async def due(self, limit: int, seconds: float) -> list[Notice]:
        """Take up to `limit` notices that are due."""
        return [
            Notice(*row) for row in await self._database.fetch(_TAKE, self._database.time(), seconds, limit)
        ]

    async def put_off(self, notice_id: str, seconds: float) -> None:
        """Let a notice be due after `seconds`."""
        await self._database.fetch(_PUT_OFF, self._database.time(), seconds, notice_id)

    async def forget(self, notice_id: str) -> None:
        """Drop a notice."""
        await self._database.fetch(_FORGET, notice_id)
