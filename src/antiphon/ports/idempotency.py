"""The port to claims: who is at a request that has an idempotency key, and what it was answered with.

    free --claim--> held --finish--> ended --its time is over--> free
     ^               |
     |               +--lease is over, release--> left    whoever holds it next is told that somebody has held it
     |               |                                    before, and which id the answer was to have
     +---release-----+  of what was not begun

A claim is known by a digest of the owner and the key; the key itself is written nowhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole answer, as it went out."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """It is ours: to be answered, and then finished or released."""

    answer_id: str
    """The id that a response is to have, the same for everybody who has ever held this claim."""
    is_again: bool
    """Whether somebody has held it before, and may have done anything."""


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else is at it."""

    answer_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """It was answered."""

    outcome: Outcome | None
    """None: it is not kept."""


@dataclass(frozen=True, slots=True)
class Reused:
    """It belongs to another request."""


Found = Claimed | Held | Ended | Reused


class ClaimStore(Protocol):
    """Claims of all processes that share a storage. One process holds a claim once."""

    async def claim(self, identity: bytes, fingerprint: bytes, answer_id: str, seconds: float) -> Found:
        """Hold the claim for `seconds`, if it is free; `answer_id` is for the first who does. Raises StoreFault.

        Whoever asks does not hold it: what it held before without knowing is free.
        """

    async def prolong(self, identities: Sequence[bytes], seconds: float) -> None:
        """Hold for `seconds` from now what is held still. Raises StoreFault."""

    def finish(self, identity: bytes, outcome: Outcome | None, on_done: Callable[[], object]) -> None:
        """Note the outcome of what is held, None where it is not to be kept; later.

        `on_done` is called when that is committed, or has failed.
        """

    def release(self, identity: bytes, on_done: Callable[[], object], *, was_begun: bool) -> None:
        """Let go of what is held without an outcome, later; `on_done` as for `finish`.

        Without `was_begun` it is as if it had never been held.
        """

    async def forget(self, answer_id: str) -> None:
        """Drop the outcome that tells the answer with this id, which was deleted, or is about to. Raises StoreFault."""
