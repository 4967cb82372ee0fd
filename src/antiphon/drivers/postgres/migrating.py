"""Bringing the tables of a database up to date."""

import re
from importlib.resources import files
from typing import Final

from antiphon.drivers.postgres.connection import Connection

_LOCK: Final = 4_207_849_484_110_101
"""Whoever holds it migrates; the others wait, and find the work done."""
_NAME: Final = re.compile(r"(\d{4})_\w+\.sql")
_VERSIONS: Final = "CREATE TABLE IF NOT EXISTS antiphon_schema (version integer PRIMARY KEY)"


class SchemaError(RuntimeError):
    """The database was written by another version."""


async def migrate(connection: Connection) -> None:
    """Do the steps that were not done yet, all or none. Raises SchemaError, one of FAULTS."""
    steps = _steps()
    newest = max(steps)
    if await read_version(connection) == newest:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_VERSIONS)
        version = await read_version(connection)
        if version > newest:
            raise SchemaError(
                f"the database has schema version {version}; this release of Antiphon knows {newest}"
            )
        for number in sorted(steps):
            if number > version:
                await connection.execute(steps[number])
                await connection.execute("INSERT INTO antiphon_schema (version) VALUES ($1)", number)


async def read_version(connection: Connection) -> int:
    """Return the version of the tables that are there; 0 if there are none."""
    if await connection.fetchval("SELECT to_regclass('antiphon_schema')") is None:
        return 0
    return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM antiphon_schema"))


def _steps() -> dict[int, str]:
    folder = files("antiphon.drivers.postgres").joinpath("migrations")
    named = ((_NAME.fullmatch(each.name), each) for each in folder.iterdir())
    return {int(match[1]): each.read_text("utf-8") for match, each in named if match is not None}
