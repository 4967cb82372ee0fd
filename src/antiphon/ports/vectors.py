"""The port to what the semantic level of the cache keeps: vectors of texts, and what was learned of their likeness.

A vector is `bytes`: little-endian float32. Likeness is the cosine of two vectors, at most 1.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

MOST_EVIDENCE: Final = 20_000
"""Pairs that are kept, of all models together; the latest."""


class Placed(NamedTuple):
    """A text whose answer is in the cache."""

    partition: bytes
    """What must be equal for two texts to be compared at all."""
    digest: bytes
    """The digest of the cache entry."""
    vector: bytes
    text: str
    expires_at: float
    """Seconds since the epoch; later than that nobody wants the entry."""


class Neighbour(NamedTuple):
    """A text that is near."""

    digest: bytes
    text: str
    similarity: float


class Evidence(NamedTuple):
    """Two texts of this likeness had the same answer, or had not."""

    model: str
    """Who answered, and how the pair was found: evidence of others says nothing of these."""
    similarity: float
    agreed: bool
    source: str
    """`shadow`: two answers were compared; `feedback`: somebody has said so."""
    time: float


class VectorStore(Protocol):
    """Vectors of all workers that share the storage, and evidence."""

    async def nearest(self, partition: bytes, vector: bytes, limit: int) -> list[Neighbour]:
        """Return the nearest of a partition, nearest first. Raises StoreFault.

        May take long when a large partition is asked for the first time; who gives up has not waited in vain, since
        the next goes on from there.
        """

    async def around(self, digest: bytes, similarity: float, limit: int) -> list[Neighbour]:
        """Return whatever is at least so near to the text of an entry, without it, nearest first. Raises StoreFault."""

    def put(self, placed: Placed) -> None:
        """Write later, in the background, in the place of what there was for the entry; may be dropped."""

    def remove(self, digests: Sequence[bytes]) -> None:
        """Forget the texts of these entries, in the background."""

    def note(self, evidence: Evidence) -> None:
        """Write later, in the background."""

    async def evidence(self, limit: int) -> list[Evidence]:
        """Return the latest, newest first. Raises StoreFault."""

    async def count(self) -> int:
        """Return how many vectors there are. Raises StoreFault."""

    def sweep(self, now: float) -> None:
        """Delete, in the background, what has expired, what lost its entry, and the oldest beyond a bound."""
