"""Everything that is kept, in one SQLite file; implements `ports.storage.Storage`."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from antiphon.drivers.migrations import SchemaError
from antiphon.drivers.sqlite.cache import SqliteCache
from antiphon.drivers.sqlite.changes import SqliteChanges
from antiphon.drivers.sqlite.claims import SqliteClaims
from antiphon.drivers.sqlite.conversations import SqliteConversations
from antiphon.drivers.sqlite.database import Database, inspect
from antiphon.drivers.sqlite.flights import SqliteFlights
from antiphon.drivers.sqlite.items import SqliteItems
from antiphon.drivers.sqlite.kept_secrets import SqliteSecrets
from antiphon.drivers.sqlite.ledger import SqliteLedger
from antiphon.drivers.sqlite.outbox import SqliteOutbox
from antiphon.drivers.sqlite.recordings import drop_released_recordings
from antiphon.drivers.sqlite.responses import SqliteResponses
from antiphon.drivers.sqlite.runs import SqliteRuns
from antiphon.drivers.sqlite.worker_metrics import SqliteWorkerMetrics
from antiphon.ports.changing import CHANGES_SECONDS
from antiphon.ports.storage import StorageUnusable
from antiphon.ports.vectors import VectorStore
from antiphon.settings import Settings
from antiphon.wire.errors import StoreFault


class SqliteStorage:
    """The stores that share one database."""

    def __init__(self, database: Database, settings: Settings, wall_clock: Callable[[], float]) -> None:
        """Compose the stores. Raises sqlite3.Error."""
        cache, is_shared = settings.cache, settings.server.has_others
        self.database = database
        self._retention = settings.responses.retention
        self._is_shared = is_shared
        # In a file of their own, which is opened when it is listened to.
        self.flights = SqliteFlights(Path(f"{database.path}-flights")) if is_shared else None
        self.cache = (
            SqliteCache(database, cache.max_bytes, is_shared=is_shared)
            if cache is not None and cache.store == "storage"
            else None
        )
        self.changes = SqliteChanges(database, is_shared=is_shared)
        self.vectors = _vectors(database, settings)
        self.responses = SqliteResponses(
            database, wall_clock, max_bytes=settings.responses.max_bytes, is_shared=is_shared
        )
        self.runs = SqliteRuns(database, settings.responses.background.lease, wall_clock)
        self.conversations = SqliteConversations(
            database,
            retention=settings.responses.conversation_retention,
            deleted_retention=settings.responses.retention,
            wall_clock=wall_clock,
        )
        self.items = SqliteItems(database, wall_clock)
        self.outbox = SqliteOutbox(database, wall_clock)
        self.claims = SqliteClaims(database, settings.idempotency, wall_clock)
        self.ledger = SqliteLedger(database)
        self.metrics = SqliteWorkerMetrics(database)
        self.secrets = SqliteSecrets(database)

    @classmethod
    async def open(cls, settings: Settings, wall_clock: Callable[[], float] = time.time) -> "SqliteStorage":
        """Open the file of `storage.url`, made if absent. Raises StorageUnusable."""
        path = _path_of(settings)
        database: Database | None = None
        try:
            # Not on the event loop: another process may be bringing the file forward.
            database = await asyncio.to_thread(Database, path)
            return cls(database, settings, wall_clock)
        except (OSError, sqlite3.Error, SchemaError) as error:
            if database is not None:
                await database.close()
            raise StorageUnusable(f"{path} cannot be opened: {error}") from error

    @property
    def is_shared(self) -> bool:
        """Whether other workers keep things here too."""
        return self._is_shared

    @property
    def queued(self) -> int:
        """Writes that wait."""
        return self.database.queued

    @property
    def dropped(self) -> int:
        """Cache entries that were not written, because too many writes waited."""
        return self.database.dropped

    @property
    def failed(self) -> int:
        """Writes that were refused."""
        return self.database.failed

    def sweep(self, now: float) -> None:
        """Delete, in the background, what has expired and what is beyond a bound."""
        if self.cache is not None:
            self.cache.sweep(now)
        self.changes.sweep(now - CHANGES_SECONDS)
        if self.vectors is not None:
            self.vectors.sweep(now)
        self.responses.sweep(now)
        self.conversations.sweep(now)
        self.claims.sweep(now)
        self.runs.sweep(now - self._retention)
        self.database.write_in_slices(drop_released_recordings)

    async def check(self) -> None:
        """Return if the file can be read and written. Raises StoreFault."""
        await self.database.read(lambda connection: connection.execute("SELECT 1").fetchone())
        if self.database.is_refusing:
            raise StoreFault("The file takes nothing at the moment.", code="storage_unavailable")

    async def close(self) -> None:
        """Finish all writes, and close the file."""
        await self.database.close()
        self.claims.leave()


def _vectors(database: Database, settings: Settings) -> VectorStore | None:
    if settings.cache is None or not settings.cache.semantic.enabled:
        return None
    from antiphon.drivers.sqlite.vectors import SqliteVectors  # it needs NumPy, which not everybody has

    semantic = settings.cache.semantic
    return SqliteVectors(database, max_vectors=semantic.max_vectors, memory=semantic.memory)


def inspect_storage(settings: Settings) -> str:
    """Say where the file is and whether it is there, leaving everything as it is. Raises StorageUnusable."""
    path = _path_of(settings)
    try:
        return f"{path} is there and can be opened" if inspect(path) else f"{path} would be made"
    except (OSError, sqlite3.Error, SchemaError) as error:
        raise StorageUnusable(f"{path} cannot be opened: {error}") from error


def _path_of(settings: Settings) -> Path:
    return Path(settings.storage.url.removeprefix("sqlite:///"))
