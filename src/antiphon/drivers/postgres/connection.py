"""One connection to PostgreSQL, as far as this driver uses it."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import asyncpg

from antiphon.drivers.postgres.faults import FAULTS

Row = Sequence[Any]

CONNECT_SECONDS: Final = 5.0
_STATEMENT_SECONDS: Final = 5.0
"""Shorter than a lease: who waits longer has lost what it would write."""

OPTIONS: Final[dict[str, Any]] = {
    "timeout": CONNECT_SECONDS,
    "command_timeout": _STATEMENT_SECONDS,
    "server_settings": {
        "application_name": "antiphon",
        "jit": "off",  # no statement is long enough to be worth it
        "statement_timeout": "30s",  # of those that nobody waits for any more
        # A process that is stopped in a transaction would keep others from its rows for as long as it sleeps.
        "idle_in_transaction_session_timeout": "5s",
    },
}
"""With which all connections are made."""


class Connection(Protocol):
    """What `asyncpg` has no types for. Everything raises one of FAULTS."""

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Return the rows."""

    async def fetchrow(self, statement: str, *values: object) -> Row | None:
        """Return the first row."""

    async def fetchval(self, statement: str, *values: object) -> Any:
        """Return the first column of the first row."""

    async def execute(self, statement: str, *values: object, timeout: float | None = None) -> object:  # noqa: ASYNC109 - as the library has it
        """Run a statement, for at most `timeout` seconds if not the usual ones; without values it may be several."""

    async def executemany(self, statement: str, values: Iterable[Sequence[object]]) -> object:
        """Run a statement with each of the values."""

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Commit when the block ends; within another one, what is done in it can fail alone."""

    def add_termination_listener(self, callback: Callable[..., object]) -> None:
        """Call when the connection is lost."""

    async def add_listener(self, channel: str, callback: Callable[..., object]) -> None:
        """Call with the connection, a process, the channel and what was said there."""

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109 - as the library has it
        """Leave."""


async def connect(url: str) -> Connection:
    """Return a connection. Raises one of FAULTS, ValueError."""
    connection: Connection = await asyncpg.connect(url, **OPTIONS)
    return connection


async def leave(connection: Connection) -> None:
    """Close a connection, whatever its state."""
    with contextlib.suppress(*FAULTS):
        await connection.close(timeout=CONNECT_SECONDS)
