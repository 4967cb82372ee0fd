"""The drivers that every test of this folder is run with."""

import contextlib
from typing import Protocol

import pytest

from antiphon.drivers.redis.flights import RedisFlights
from antiphon.drivers.sqlite.flights import SqliteFlights
from antiphon.ports.flights import Flights
from drivers.stores.place import PostgresPlace, opened


class Hall(Protocol):
    """Where processes meet."""

    def process(self) -> contextlib.AbstractAsyncContextManager[Flights]:
        """Be one of them."""


class PostgresHall:
    def __init__(self, request):
        self._place = PostgresPlace(request.getfixturevalue("postgres_url"))

    @contextlib.asynccontextmanager
    async def process(self):
        async with opened(self._place) as storage, heard(storage.runs.watch(lambda _: None)):
            yield storage.flights


class SqliteHall:
    def __init__(self, request):
        self._path = request.getfixturevalue("tmp_path") / "flights"

    @contextlib.asynccontextmanager
    async def process(self):
        flights = SqliteFlights(self._path)
        yield flights
        await flights.close()


class RedisHall:
    def __init__(self, server):
        self._settings = server.settings

    @contextlib.asynccontextmanager
    async def process(self):
        flights = RedisFlights(self._settings)
        yield flights
        await flights.close()


@contextlib.asynccontextmanager
async def heard(listening):
    """Run something that never returns."""
    import asyncio

    task = asyncio.ensure_future(listening)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


HALLS = {
    "sqlite": SqliteHall,
    "postgres": PostgresHall,
    "redis": lambda request: RedisHall(request.getfixturevalue("redis_server")),
    "cluster": lambda request: RedisHall(request.getfixturevalue("redis_cluster")),
}


@pytest.fixture(params=HALLS)
def hall(request):
    return HALLS[request.param](request)
