"""The ports to what is kept: cache entries, responses. Puts never wait; what they promise is said at each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.recording import Recording
from antiphon.turn.chain import Items
from antiphon.turn.history import Context, Head


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response that its owner can retrieve: a recording, under an id of its own."""

    id: str
    owner: str
    recording: Recording
    created_at: int | None
    """Seconds since the epoch to show instead of the recorded time; None shows the recorded one."""
    echoed: dict[str, bytes]
    """Members in which the answer differs from the recorded one, because it echoes another request; as JSON."""
    expires_at: float
    is_replay: bool = False
    """Whether the recording was there before."""
    context: Context | None = None
    """What the model was shown, to be kept with it."""
    head: Head | None = None
    """Where what the model was shown is kept; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Share:
    """What of a level belongs to one target."""

    entries: int
    bytes: int
    pinned: int


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is in a level."""

    by_target: Mapping[str, Share]
    """By `provider/model`; "" are those of earlier releases, which did not say."""

    @property
    def all(self) -> Share:
        """Return the sum."""
        shares = self.by_target.values()
        return Share(
            sum(share.entries for share in shares),
            sum(share.bytes for share in shares),
            sum(share.pinned for share in shares),
        )


class CacheLevel(Protocol):
    """A level of the cache behind the memory of this process."""

    @property
    def unreadable(self) -> int:
        """How many entries counted as misses because they could not be read."""

    @property
    def dropped(self) -> int:
        """How many entries were not written: too many waited, or there is no room."""

    def may_hold(self, digest: bytes) -> bool:
        """Whether a look-up can find anything; costs nothing."""

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry, expired or not; what cannot be read is none. Raises StoreFault."""

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Do the same for several at once, as far as possible in one round trip. Raises StoreFault."""

    def put(self, entry: Entry) -> None:
        """Write later, in the background; dropped, and counted, when the queue is full.

        One that takes the place of a pinned one is pinned.
        """

    async def select(self, selector: Selector, limit: int) -> list[Entry]:
        """Return what is meant, newest first; what cannot be read is left out. Raises StoreFault."""

    async def count(self, selector: Selector) -> int:
        """Return how many are meant. Raises StoreFault."""

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant, for good, also what is put but not written yet; return how many. Raises StoreFault."""

    async def expire(self, selector: Selector, at: float) -> int:
        """Let what is meant be stale from `at` on, if not before; return how many. Raises StoreFault."""

    async def pin(self, digest: bytes, *, is_pinned: bool) -> None:
        """Pin the entry, also one that is put but not written yet, or no more. Raises StoreFault."""

    async def totals(self) -> Totals:
        """Return how much there is. Raises StoreFault."""


class ResponseStore(Protocol):
    """Kept responses. `get` finds what was put before it, at once."""

    @property
    def is_full(self) -> bool:
        """Whether storage cannot keep up, so that no more should be promised."""

    @property
    def is_waited_for(self) -> bool:
        """Whether the end of an answer is worth the wait: other processes look there too, and it takes writes."""

    def when_written(self, tell: Callable[[], object]) -> None:
        """Call `tell` when all of them find what was handed over so far, or it could not be written.

        That is what `put`, `note_upstream` and `ConversationStore.append` were given.
        """

    def put(self, kept: KeptResponse) -> None:
        """Keep a response; it is on disk before a graceful stop ends.

        Its input and output are added to the conversation that its context names, and that is unlocked.
        """

    async def get(self, response_id: str, owner: str) -> KeptResponse | None:
        """Return the owner's response. Raises StoreFault."""

    async def delete(self, response_id: str, owner: str) -> str | None:
        """Delete the owner's response and return the id of its recording. Raises StoreFault."""

    async def recordings_of(self, response_id: str, owner: str | None = None) -> list[str]:
        """Return the recordings of the responses with this id, of one owner or of all. Raises StoreFault."""

    async def history(self, head: bytes) -> Items:
        """Return what a model was shown, first item first. Raises StoreFault."""

    def note_upstream(self, response_id: str, owner: str, provider: str, expires_at: float) -> None:
        """Note that `provider` itself keeps a response of the owner."""

    async def upstream_of(self, response_id: str, owner: str) -> str | None:
        """Return the provider that keeps the owner's response. Raises StoreFault."""
