"""Everything that is kept, in one PostgreSQL database; implements `ports.storage.Storage`."""

import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from antiphon.drivers.migrations import SchemaError
from antiphon.drivers.postgres.cache import PostgresCache
from antiphon.drivers.postgres.claims import PostgresClaims
from antiphon.drivers.postgres.connection import connect, leave
from antiphon.drivers.postgres.conversations import PostgresConversations
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.faults import FAULTS
from antiphon.drivers.postgres.flights import PostgresFlights
from antiphon.drivers.postgres.items import PostgresItems
from antiphon.drivers.postgres.kept_secrets import PostgresSecrets
from antiphon.drivers.postgres.ledger import PostgresLedger
from antiphon.drivers.postgres.migrating import is_behind
from antiphon.drivers.postgres.outbox import PostgresOutbox
from antiphon.drivers.postgres.recordings import drop_released_recordings
from antiphon.drivers.postgres.responses import PostgresResponses
from antiphon.drivers.postgres.runs import PostgresRuns
from antiphon.drivers.postgres.worker_metrics import PostgresWorkerMetrics
from antiphon.ports.storage import StorageUnusable
from antiphon.ports.vectors import VectorStore
from antiphon.settings import Settings


class PostgresStorage:
    """The stores that share one database."""

    def __init__(self, database: Database, settings: Settings, wall_clock: Callable[[], float]) -> None:
        """Compose the stores over an opened database."""
        cache = settings.cache
        self.database = database
        self._retention = settings.responses.retention
        self.cache = (
            PostgresCache(database, cache.max_bytes)
            if cache is not None and cache.store == "storage"
            else None
        )
        self.vectors = _vectors(database, settings)
        self.responses = PostgresResponses(database, wall_clock, max_bytes=settings.responses.max_bytes)
        self.runs = PostgresRuns(database, settings.responses.background.lease, wall_clock)
        self.flights = PostgresFlights(database, self.runs.hints)
        self.conversations = PostgresConversations(
            database,
            retention=settings.responses.conversation_retention,
            deleted_retention=settings.responses.retention,
            wall_clock=wall_clock,
        )
        self.items = PostgresItems(database, wall_clock)
        self.outbox = PostgresOutbox(database)
        self.claims = PostgresClaims(database, settings.idempotency)
        self.ledger = PostgresLedger(database)
        self.metrics = PostgresWorkerMetrics(database)
        self.secrets = PostgresSecrets(database)

    @classmethod
    async def open(cls, settings: Settings, wall_clock: Callable[[], float] = time.time) -> "PostgresStorage":
        """Connect to the database of `storage.url`, and bring its tables up to date. Raises StorageUnusable."""
        try:
            database = Database(
                settings.storage.url,
                pool_size=settings.storage.pool_size,
                time=(lambda: None) if wall_clock is time.time else wall_clock,
            )
            await database.open()
        except (*FAULTS, SchemaError, ValueError) as error:
            raise StorageUnusable(_why(settings.storage.url, error)) from error
        return cls(database, settings, wall_clock)

    @property
    def is_shared(self) -> bool:
        """Whether other workers keep things here too: nobody knows."""
        return True

    @property
    def queued(self) -> int:
        """Writes that wait."""
        return self.database.queue.queued

    @property
    def dropped(self) -> int:
        """Cache entries that were not written, because too many writes waited."""
        return self.database.queue.dropped

    @property
    def failed(self) -> int:
        """Writes that were refused."""
        return self.database.queue.failed

    async def deleted_since(self, time: float) -> list[str]:
        """Return the recordings of responses deleted since `time`, by any worker. Raises StoreFault."""
        return await self.responses.deleted_since(time)

    def sweep(self, now: float) -> None:
        """Delete, in the background, what has expired and what is beyond a bound."""
        if self.cache is not None:
            self.cache.sweep(now)
        if self.vectors is not None:
            self.vectors.sweep(now)
        self.responses.sweep(now)
        self.conversations.sweep(now)
        self.claims.sweep()
        self.runs.sweep(now - self._retention)
        self.flights.sweep()
        self.database.queue.put_in_slices(drop_released_recordings)

    async def check(self) -> None:
        """Return if the database answers. Raises StoreFault."""
        await self.database.fetch("SELECT 1")

    async def close(self) -> None:
        """Finish all writes, and leave the database."""
        await self.database.close()


def _vectors(database: Database, settings: Settings) -> VectorStore | None:
    if settings.cache is None or not settings.cache.semantic.enabled:
        return None
    from antiphon.drivers.postgres.vectors import PostgresVectors  # it needs NumPy, which not everybody has

    semantic = settings.cache.semantic
    return PostgresVectors(database, max_vectors=semantic.max_vectors, memory=semantic.memory)


async def inspect_storage(settings: Settings) -> str:
    """Say where the database is and whether it has tables, leaving it as it is. Raises StorageUnusable."""
    url = settings.storage.url
    try:
        connection = await connect(url)
        try:
            behind = await is_behind(connection)
        finally:
            await leave(connection)
    except (*FAULTS, SchemaError, ValueError) as error:
        raise StorageUnusable(_why(url, error)) from error
    place = _place(url)
    return f"{place} is there; its tables would be made or changed" if behind else f"{place} can be used"


def _why(url: str, error: Exception) -> str:
    if isinstance(error, ValueError):
        # Not the error itself: it may quote a piece of a password.
        return "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    return f"{_place(url)} cannot be used: {str(error) or type(error).__name__}"


def _place(url: str) -> str:
    """Name the database without the password."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[-1]
    return f"PostgreSQL database {parts.path.lstrip('/') or 'of the user'} at {host}"
