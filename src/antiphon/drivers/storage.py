"""Which driver keeps things, by the scheme of `storage.url`."""

import time
from collections.abc import Callable
from importlib.util import find_spec

from antiphon.ports.storage import Storage, StorageUnusable
from antiphon.settings import Settings


async def open_storage(settings: Settings, wall_clock: Callable[[], float] = time.time) -> Storage:
    """Open storage, made or brought forward if need be. Raises StorageUnusable."""
    if _is_postgres(settings):
        from antiphon.drivers.postgres.storage import PostgresStorage

        return await PostgresStorage.open(settings, wall_clock)
    from antiphon.drivers.sqlite.storage import SqliteStorage

    return await SqliteStorage.open(settings, wall_clock)


async def inspect_storage(settings: Settings) -> str:
    """Say where storage is and whether it is there, leaving everything as it is. Raises StorageUnusable."""
    if _is_postgres(settings):
        from antiphon.drivers.postgres.storage import inspect_storage as inspect_postgres

        return await inspect_postgres(settings)
    from antiphon.drivers.sqlite.storage import inspect_storage as inspect_sqlite

    return inspect_sqlite(settings)


def _is_postgres(settings: Settings) -> bool:
    """Whether it is PostgreSQL, and its driver is installed."""
    if not settings.storage.url.startswith(("postgresql://", "postgres://")):
        return False
    if find_spec("asyncpg") is None:
        raise StorageUnusable("PostgreSQL needs a package more: pip install 'antiphon[postgres]'")
    return True
