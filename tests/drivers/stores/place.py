"""Where the stores of a test keep things, and what is put there. A new driver is one more `Place`."""

import asyncio
import contextlib
import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from antiphon.drivers.redis.cache import RedisCache
from antiphon.drivers.storage import open_storage
from antiphon.ports.runs import Append, Lease, NewRun
from antiphon.ports.storage import Storage
from antiphon.settings import Background, Cache, Redis, Responses, Settings
from antiphon.settings import Storage as StorageSettings
from antiphon.turn.history import Context, Head
from drivers.sqlite.opening import NOW, kept_of, recording_of
from serving import Clock
from waiting import eventually

__all__ = [
    "LEASE",
    "LEVELS",
    "NOW",
    "Clock",
    "Place",
    "PostgresPlace",
    "RedisPlace",
    "SqlitePlace",
    "append_of",
    "kept_of",
    "new_run",
    "recording_of",
]

LEASE = 15.0
LEVELS = pytest.mark.parametrize("place", ["sqlite", "postgres", "redis", "cluster"], indirect=True)
"""Runs a test of cache entries with everything that keeps them."""


class Place(Protocol):
    """An empty database."""

    url: str

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look into it from outside."""

    async def empty(self) -> None:
        """Forget everything; nothing is open."""


class SqlitePlace:
    """A file in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "antiphon.db"
        self.url = f"sqlite:///{self._path}"

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            return connection.execute(query).fetchall()

    async def empty(self) -> None:
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        for name in ("", "-wal", "-shm"):
            Path(f"{self._path}{name}").unlink(missing_ok=True)


class PostgresPlace:
    """A database of a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self._connected() as connection:
            return [tuple(row) for row in await connection.fetch(query)]

    async def empty(self) -> None:
        async with self._connected() as connection:
            await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        import asyncpg

        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()


class RedisPlace:
    """A server or a cluster, which keeps nothing but the cache."""

    url = ""

    def __init__(self, settings: Redis) -> None:
        self.settings = settings

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    async def empty(self) -> None:
        raise NotImplementedError


@dataclasses.dataclass
class CacheAlone:
    """As much of a storage as tests of the cache look at."""

    cache: RedisCache

    @property
    def queued(self) -> int:
        return self.cache.queued


@contextlib.asynccontextmanager
async def opened(place: Place, clock: Clock | None = None, **responses: Any) -> AsyncIterator[Storage]:
    """Open storage as a worker does, and close it again."""
    if isinstance(place, RedisPlace):
        cache = RedisCache(place.settings, clock or Clock(NOW))
        try:
            yield CacheAlone(cache)  # type: ignore[misc]
        finally:
            await cache.close()
        return
    settings = Settings(
        storage=StorageSettings(url=place.url),
        cache=Cache(),
        responses=Responses(background=Background(lease=LEASE), **responses),
    )
    storage = await open_storage(settings, clock or Clock(NOW))
    try:
        yield storage
    finally:
        await storage.close()


async def committed(storage: Storage) -> None:
    """Return when nothing waits to be written."""
    await eventually(lambda: storage.queued == 0)
    await asyncio.sleep(0)  # and whoever is told of it has been


def new_run(name: str = "resp_1", **changes: Any) -> NewRun:
    fields = {
        "id": name,
        "owner": "alice",
        "request": b"what is asked",
        "context": Context(None, (b'{"said":"hello"}',)),
        "frames": (b"0", b"1"),
        "is_public": False,
        "created_at": NOW,
        "queue_deadline": NOW + 600,
        "deadline": NOW + 3600,
    }
    return NewRun(**{**fields, **changes})


def append_of(lease: Lease, frames: tuple[bytes, ...] = (b"2",), **changes: Any) -> Append:
    fields = {
        "run_id": lease.run_id,
        "epoch": lease.epoch,
        "last_seq": lease.last_seq,
        "frames": frames,
        "times": tuple(range(1, len(frames) + 1)),
    }
    return Append(**{**fields, **changes})


def context_of(*items: bytes, before: Head | None = None) -> Context:
    return Context(before, items)
