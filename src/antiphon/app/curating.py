"""The cache without a gateway: what `antiphon cache` does where none answers."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from antiphon.app.outside import redis_cache_of, redis_changes_of
from antiphon.drivers.memory import MemoryCache
from antiphon.drivers.storage import open_storage
from antiphon.engine.changing import Changing
from antiphon.engine.curating import Curating
from antiphon.engine.tasks import Tasks
from antiphon.ports.storage import StorageUnusable
from antiphon.settings import ConfigurationError, Settings

_SQLITE = "sqlite:///"


def _check(settings: Settings) -> None:
    """Return if there is something to work on; opening would make it. Raises ConfigurationError."""
    if settings.cache is None:
        raise ConfigurationError("there is no cache in the configuration")
    url = settings.storage.url
    path = url.removeprefix(_SQLITE)
    if url.startswith(_SQLITE) and not Path(path).exists():
        raise ConfigurationError(f"storage.url: {path} does not exist, so nothing is stored")


@contextlib.asynccontextmanager
async def curating(settings: Settings) -> AsyncIterator[Curating]:
    """Work on what is stored; gateways that run all the same hear of changes as they do of each other's.

    Raises ConfigurationError.
    """
    _check(settings)
    cache = settings.cache
    assert cache is not None
    redis_cache = redis_cache_of(settings, time.time)
    redis_changes = redis_changes_of(settings)
    tasks = Tasks()
    try:
        storage = await open_storage(settings)
    except StorageUnusable as error:
        raise ConfigurationError(f"storage.url: {error}") from error
    level = redis_cache or storage.cache
    memory = MemoryCache(1)
    changing = Changing(storage.changes, memory, level, tasks, trust=cache.memory.trust, wall_clock=time.time)
    try:
        yield Curating(changing, memory, level, storage.responses, now=time.time)
    finally:
        await tasks.stop()
        await changing.stop()
        if redis_cache is not None:
            await redis_cache.close()
        if redis_changes is not None:
            await redis_changes.close()
        await storage.close()
