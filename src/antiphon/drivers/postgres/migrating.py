"""Bringing the schema of a database forward, when it is opened: all steps that are missing, or none."""

from typing import Final

from antiphon.drivers.migrations import Step, missing, steps_of
from antiphon.drivers.postgres.connection import Connection

STEPS: Final = steps_of("antiphon.drivers.postgres")

_LOCK: Final = 4_207_849_484_110_101
"""Whoever holds it is at it; the others wait, and find the work done."""
_WAIT_SECONDS: Final = 600.0
"""For another process that is at it, and for a step; large tables take a while."""
_STEPS_DONE: Final = """
CREATE TABLE IF NOT EXISTS schema_steps (
    number  integer PRIMARY KEY,
    oldest  integer NOT NULL,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_DONE: Final = "INSERT INTO schema_steps (number, oldest) VALUES ($1, $2)"
_ARE_DONE: Final = "SELECT to_regclass('schema_steps') IS NOT NULL"
_VERSION: Final = "SELECT coalesce(max(number), 0), coalesce(max(oldest), 0) FROM schema_steps"


async def is_behind(connection: Connection) -> bool:
    """Whether there are steps to do; writes nothing.

    Raises SchemaError if this program may not use the database, one of FAULTS.
    """
    return bool(await _missing(connection))


async def bring_forward(connection: Connection) -> None:
    """Do the steps that are missing. Raises SchemaError, one of FAULTS."""
    if not await is_behind(connection):
        return
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})", timeout=_WAIT_SECONDS)
        await connection.execute(_STEPS_DONE)
        for step in await _missing(connection):
            await connection.execute(step.sql, timeout=_WAIT_SECONDS)
            await connection.execute(_DONE, step.number, step.oldest)


async def _missing(connection: Connection) -> list[Step]:
    version, oldest = 0, 0
    if await connection.fetchval(_ARE_DONE):
        row = await connection.fetchrow(_VERSION)
        assert row is not None
        version, oldest = row
    return list(missing(STEPS, version, oldest))
