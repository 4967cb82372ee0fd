"""Claims of requests with an idempotency key, in PostgreSQL; implements `ports.idempotency.ClaimStore`.

Leases and expiry are by the database's clock, which all hosts have in common.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.drivers.claims import ROW_BYTES, ClaimRow, answer_id_of, verdict, write_outcome
from antiphon.drivers.postgres.connection import Connection, Row
from antiphon.drivers.postgres.database import Database, now_at
from antiphon.ports.idempotency import Claimed, Found, Outcome
from antiphon.settings import Idempotency

_SELECT: Final = f"""
SELECT {now_at(2)}, fingerprint, answer_id, holder, held_until, expires_at, has_ended, outcome
FROM idempotency WHERE identity = $1
"""  # noqa: S608 - a constant
_LOCK: Final = _SELECT + "FOR UPDATE"
_NEW: Final = f"""
INSERT INTO idempotency (identity, fingerprint, answer_id, holder, held_until, expires_at, size)
VALUES ($1, $3, $4, $5, {now_at(2)} + $6::float8, {now_at(2)} + $7::float8, $8)
"""  # noqa: S608
_AGAIN: Final = f"""
UPDATE idempotency SET fingerprint = $3, answer_id = $4, holder = $5, held_until = {now_at(2)} + $6::float8,
    expires_at = {now_at(2)} + $7::float8, size = $8, has_ended = false, outcome = NULL WHERE identity = $1
"""  # noqa: S608
_PROLONG: Final = f"""
UPDATE idempotency SET held_until = {now_at(2)} + $3::float8, expires_at = {now_at(2)} + $4::float8
WHERE identity = ANY($1::bytea[]) AND holder = $5 AND NOT has_ended
"""  # noqa: S608
_FINISH: Final = f"""
UPDATE idempotency SET holder = NULL, has_ended = true, outcome = $3, expires_at = {now_at(2)} + $4::float8, size = $5
WHERE identity = $1 AND holder = $6 AND NOT has_ended
"""  # noqa: S608
_RELEASE: Final = "UPDATE idempotency SET holder = NULL WHERE identity = $1 AND holder = $2 AND NOT has_ended"
_DROP: Final = "DELETE FROM idempotency WHERE identity = $1 AND holder = $2 AND NOT has_ended"
_FORGET: Final = (
    "UPDATE idempotency SET holder = NULL, has_ended = true, outcome = NULL, size = $2 WHERE answer_id = $1"
)
_EXPIRED: Final = f"DELETE FROM idempotency WHERE expires_at < {now_at(1)} AND held_until < {now_at(1)}"  # noqa: S608
# From the newest to the oldest, with all that is newer added up: what is beyond the bound goes.
_BEYOND: Final = """
DELETE FROM idempotency WHERE identity IN (
    SELECT identity FROM (
        SELECT identity, sum(size) OVER (ORDER BY expires_at DESC, identity) AS total FROM idempotency WHERE has_ended
    ) AS added WHERE total > $1
)
"""


class PostgresClaims:
    """Claims of all workers of all hosts."""

    def __init__(self, database: Database, settings: Idempotency) -> None:
        """Keep claims in `database`."""
        self._database = database
        self._settings = settings
        self._name = secrets.token_hex(8)

    async def claim(self, identity: bytes, fingerprint: bytes, answer_id: str, seconds: float) -> Found:
        """Hold the claim, if it is free."""
        time = self._database.time()
        _, _, found = self._read(await self._database.fetch_row(_SELECT, identity, time), fingerprint)
        if found is not None:
            return found

        async def work(connection: Connection) -> Found:
            row, now, found = self._read(await connection.fetchrow(_LOCK, identity, time), fingerprint)
            if found is not None:
                return found
            kept_id, is_again = answer_id_of(row, answer_id, now)
            statement = _NEW if row is None else _AGAIN
            expiry = max(self._settings.ttl, seconds)
            values = (fingerprint, kept_id, self._name, seconds, expiry, ROW_BYTES)
            await connection.execute(statement, identity, time, *values)
            return Claimed(kept_id, is_again)

        return await self._database.transact(work)

    async def prolong(self, identities: Sequence[bytes], seconds: float) -> None:
        """Hold on to what is held still."""
        expiry = max(self._settings.ttl, seconds)
        await self._database.fetch(
            _PROLONG, list(identities), self._database.time(), seconds, expiry, self._name
        )

    def finish(self, identity: bytes, outcome: Outcome | None, on_done: Callable[[], object]) -> None:
        """Note an outcome."""

        async def write(connection: Connection) -> None:
            data = None if outcome is None else await asyncio.to_thread(write_outcome, outcome)
            size = ROW_BYTES + len(data or b"")
            values = (data, self._settings.ttl, size, self._name)
            await connection.execute(_FINISH, identity, self._database.time(), *values)

        self._database.queue.put(write, 0 if outcome is None else len(outcome.body), on_done=on_done)

    def release(self, identity: bytes, on_done: Callable[[], object], *, was_begun: bool) -> None:
        """Let go."""
        statement = _RELEASE if was_begun else _DROP

        async def write(connection: Connection) -> None:
            await connection.execute(statement, identity, self._name)

        self._database.queue.put(write, on_done=on_done)

    async def forget(self, answer_id: str) -> None:
        """Drop an outcome."""
        await self._database.queue.flushed()  # perhaps it is to be noted
        await self._database.fetch(_FORGET, answer_id, ROW_BYTES)

    def sweep(self) -> None:
        """Delete what has expired, and the oldest outcomes beyond the bound."""

        async def write(connection: Connection) -> None:
            await connection.execute(_EXPIRED, self._database.time())
            await connection.execute(_BEYOND, self._settings.max_bytes)

        self._database.queue.put(write)

    def _read(self, found: Row | None, fingerprint: bytes) -> tuple[ClaimRow | None, float, Found | None]:
        """Return the row, the database's time, and what the row says."""
        if found is None:
            return None, 0.0, None
        now, *columns = found
        row = ClaimRow(*columns)
        # Who asks here has let go of what it held, whatever was committed.
        return row, now, verdict(row, fingerprint, now, lambda holder: holder == self._name)
