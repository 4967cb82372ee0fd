"""Which driver keeps things, by the scheme of `storage.url`."""

import time
from collections.abc import Callable

from antiphon.ports.storage import Storage, StorageUnusable
from antiphon.settings import Settings


async def open_storage(settings: Settings, wall_clock: Callable[[], float] = time.time) -> Storage:
    """Open storage, made or brought forward if need be. Raises StorageUnusable."""
    if _is_postgres(settings.storage.url):
        raise _no_postgres()
    from antiphon.drivers.sqlite.storage import SqliteStorage

    return await SqliteStorage.open(settings, wall_clock)


async def inspect_storage(settings: Settings) -> str:
    """Say where storage is and whether it is there, leaving everything as it is. Raises StorageUnusable."""
    if _is_postgres(settings.storage.url):
        raise _no_postgres()
    from antiphon.drivers.sqlite.storage import inspect_storage

    return inspect_storage(settings)


def _is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _no_postgres() -> StorageUnusable:
    return StorageUnusable("PostgreSQL is not supported yet")
