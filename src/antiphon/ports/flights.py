"""The port to flights: equal requests that are under way in several processes, of which one asks the upstream.

Whoever claims the flight of a request first *leads* it, in an epoch of its own, as long as it prolongs its lease; the
others *follow*. What the leader tells of its answer are pieces, numbered from 0, which are kept for the followers of
this epoch. Nothing is told while nobody follows. A leader of another epoch, or whose lease ran out, is fenced.

    free --claim--> led --renew, append--> led --append(next epoch)--> led --release, or the lease ran out--> free

Nothing of this has to outlive the servers that keep it: what is lost costs another request upstream. Everything that
is awaited raises StoreFault.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple, Protocol

FOLLOWER_SECONDS: Final = 3.0
"""A follower that says nothing for so long is gone."""
KEPT_SECONDS: Final = 60.0
"""How long pieces are kept that nobody follows any more."""


class Claim(NamedTuple):
    """A flight and an epoch of it."""

    flight: bytes
    """The digest of what makes requests equal, owner included."""
    epoch: str
    """Named by chance and not by number: the server forgets what it has counted."""


class Standing(Enum):
    """What a leader is told of its flight."""

    ALONE = "alone"
    """Nobody follows."""
    FOLLOWED = "followed"
    LOST = "lost"
    """Somebody else may have it."""


class Wanted(NamedTuple):
    """What a follower reads."""

    claim: Claim
    position: int
    """The number of the first piece that it does not know."""
    most: int
    """How many pieces it takes; with 0 it only says that it still follows."""


class Page(NamedTuple):
    """What a follower is told."""

    pieces: Sequence[bytes]
    is_led: bool
    """Whether more may come; otherwise these are the last."""


class Flights(Protocol):
    """The flights of all processes."""

    async def claim(self, claim: Claim, lease: float) -> str | None:
        """Lead the flight for `lease` seconds, or follow it: return the epoch that is followed, None if it is led."""

    async def renew(self, held: Sequence[Claim], lease: float) -> list[Standing]:
        """Prolong leases, for as many seconds from now."""

    async def append(
        self, claim: Claim, at: int, pieces: Sequence[bytes], lease: float, next_epoch: str | None = None
    ) -> bool:
        """Tell the followers pieces, the first of which has the number `at`; False if somebody else may lead.

        Pieces that were told before are not told again, so that what has failed may be tried again. With
        `next_epoch` they are the last of this epoch: who claims the flight now follows the leader in the next one.
        """

    async def release(self, held: Sequence[Claim], *, even_if_followed: bool) -> list[Standing]:
        """Let flights go, but those that are FOLLOWED, unless they too; the others are ALONE or LOST."""

    async def read(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Return what has been told, and say that this process still follows."""

    async def leave(self, claim: Claim) -> None:
        """Follow no more."""

    async def listen(self, moved: Callable[[bytes | None], object]) -> None:
        """Call `moved` with a flight of this process that has moved on, or with None where it may be any; never returns.

        That is when somebody begins to follow or leaves, when pieces are told, and when it is let go. A call may come
        in vain, or be missed.
        """

    async def close(self) -> None:
        """Give connections back."""
