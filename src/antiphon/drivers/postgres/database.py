"""Connections to one PostgreSQL database, and what is done over them."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from antiphon.drivers.postgres.connection import CONNECT_SECONDS, OPTIONS, Connection, Row, connect, leave
from antiphon.drivers.postgres.faults import FAULTS, RACED, store_fault
from antiphon.drivers.postgres.migrating import bring_forward
from antiphon.drivers.postgres.writing import WriteQueue

_T = TypeVar("_T")
Work = Callable[[Connection], Awaitable[_T]]
"""What is done in one transaction; done again from the beginning where somebody else was in the way."""


def now_at(place: int) -> str:
    """Return SQL for the time by the database's clock, which all hosts have in common.

    The parameter at `place` is `Database.time()`: that time instead, where a test has set it.
    """
    return f"coalesce(${place}::float8, extract(epoch FROM clock_timestamp())::float8)"


_ATTEMPTS: Final = 8


class Database:
    """A pool of connections, and a queue of writes that nobody waits for."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        max_queued_bytes: int = 64 * 1024 * 1024,
        time: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Know where the database is; `time` is None but where a test sets the clock."""
        self.time = time
        self.url = url
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=pool_size,
            reset=_as_it_is,
            **OPTIONS,
        )
        self.queue = WriteQueue(self._transaction, max_queued_bytes)
        self._closed = False

    async def open(self) -> None:
        """Connect, and bring the tables up to date. Raises one of FAULTS, SchemaError, ValueError."""
        connection = await connect(self.url)
        try:
            await bring_forward(connection)
        finally:
            await leave(connection)
        await self._pool

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Run one statement in a transaction of its own and return its rows. Raises StoreFault."""

        async def work(connection: Connection) -> list[Row]:
            return await connection.fetch(statement, *values)

        return await self.alone(work)

    async def fetch_row(self, statement: str, *values: object) -> Row | None:
        """Run one statement and return its first row. Raises StoreFault."""
        rows = await self.fetch(statement, *values)
        return rows[0] if rows else None

    async def transact(self, work: Work[_T]) -> _T:
        """Do `work` in a transaction; it is on disk when this returns. Raises StoreFault."""

        async def inside(connection: Connection) -> _T:
            async with connection.transaction():
                return await work(connection)

        return await self.alone(inside)

    async def alone(self, work: Work[_T]) -> _T:
        """Do `work`, which writes with one statement at most. Raises StoreFault."""
        attempt = 0
        while True:
            try:
                async with self._connection() as connection:
                    return await work(connection)
            except RACED as error:
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise store_fault(error) from error
            except FAULTS as error:
                raise store_fault(error) from error
            await asyncio.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311 - so that two do not meet again

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self._closed:
            raise store_fault("it is closed")
        connection = await self._pool.acquire(timeout=CONNECT_SECONDS)
        try:
            yield connection
        finally:
            with contextlib.suppress(*FAULTS):  # it is lost, which whoever used it has been told
                await self._pool.release(connection)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        connection = await self._pool.acquire(timeout=CONNECT_SECONDS)
        try:
            async with connection.transaction():
                yield connection
        finally:
            with contextlib.suppress(*FAULTS):
                await self._pool.release(connection)

    async def close(self) -> None:
        """Finish all writes, and leave."""
        if self._closed:
            return
        await self.queue.close()
        self._closed = True
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._pool.close()
        except FAULTS:
            self._pool.terminate()


async def _as_it_is(connection: Connection) -> None:
    """Take a connection back without asking the server to forget settings that nobody has made."""
