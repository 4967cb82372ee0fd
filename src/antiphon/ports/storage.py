"""The port to storage as a whole: everything that a gateway keeps, opened together, from one URL.

A driver is made by `await open(url, settings)` of its module; `drivers.storage` chooses it by the URL's scheme.
"""

from collections.abc import Callable
from typing import Protocol

from antiphon.ports.conversations import ConversationStore, ItemStore
from antiphon.ports.flights import Flights
from antiphon.ports.idempotency import ClaimStore
from antiphon.ports.ledger import Ledger
from antiphon.ports.runs import RunStore
from antiphon.ports.stores import CacheLevel, ResponseStore
from antiphon.ports.vectors import VectorStore
from antiphon.ports.webhooks import Outbox


class StorageUnusable(Exception):
    """Storage cannot be opened as it is configured; says why, without any password."""


class SecretStore(Protocol):
    """Secrets that the gateway makes for itself: random, made once, the same for all workers and after a restart."""

    async def stored(self, name: str) -> bytes | None:
        """Return the secret, if one was ever made. Raises StorageUnusable."""

    async def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the secret, made now if there is none; of several workers that make one, the first wins.

        Raises StorageUnusable.
        """


class WorkerMetrics(Protocol):
    """The counters of each worker, so that any of them can show the sum. Everything raises StoreFault."""

    async def publish(self, worker: str, snapshot: bytes, now: float) -> None:
        """Let the other workers see this one's counters."""

    async def others(self, worker: str) -> list[bytes]:
        """Return the counters that the other workers have published."""

    async def forget(self, before: float) -> None:
        """Drop the counters of workers that have not published since `before`."""


class Storage(Protocol):
    """One opened storage, shared with other workers."""

    @property
    def responses(self) -> ResponseStore:
        """Kept responses."""

    @property
    def runs(self) -> RunStore:
        """Background answers under way."""

    @property
    def conversations(self) -> ConversationStore:
        """Conversations."""

    @property
    def items(self) -> ItemStore:
        """All items that are kept, by their ids."""

    @property
    def outbox(self) -> Outbox:
        """Webhooks that are to be told."""

    @property
    def claims(self) -> ClaimStore:
        """Requests with an idempotency key."""

    @property
    def cache(self) -> CacheLevel | None:
        """The second level of the cache; None where the settings want none here."""

    @property
    def vectors(self) -> VectorStore | None:
        """Vectors for the semantic level of the cache; None where the settings want none."""

    @property
    def flights(self) -> Flights | None:
        """Equal requests in flight of all workers; None where nobody shares them, or where they cannot be."""

    @property
    def ledger(self) -> Ledger:
        """Usage rows."""

    @property
    def metrics(self) -> WorkerMetrics:
        """What workers tell each other of their counters."""

    @property
    def secrets(self) -> SecretStore:
        """What the workers must have in common and nobody else may know."""

    @property
    def is_shared(self) -> bool:
        """Whether other workers keep things here too."""

    @property
    def queued(self) -> int:
        """Writes that wait."""

    @property
    def dropped(self) -> int:
        """Cache entries that were not written, because too many writes waited."""

    @property
    def failed(self) -> int:
        """Writes that were refused."""

    async def deleted_since(self, time: float) -> list[str]:
        """Return the recordings of responses deleted since `time`, by any worker. Raises StoreFault."""

    def sweep(self, now: float) -> None:
        """Delete, in the background, what has expired and what is beyond a bound."""

    async def check(self) -> None:
        """Return if storage answers. Raises StoreFault."""

    async def close(self) -> None:
        """Finish all writes, and close."""
