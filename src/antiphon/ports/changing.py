"""The port to the log of changes: purges and pins that all workers with a memory of entries have to hear of.

A worker serves from its memory only for a while after it has looked at the log (its *trust*), and says how far it has
heard. So whoever changes something knows when it is done: when all readers have heard of it, or can have trusted
their memory no longer than until now.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from antiphon.cache.changes import Change

CHANGES_SECONDS: Final = 24 * 3600.0
"""How far back the log goes at least: longer than any answer is under way."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the log says."""

    changes: Sequence[Change]
    """Those after the place that was asked for, in order."""
    latest: int
    """The number of the latest there has ever been."""
    is_entered: bool
    """Whether whoever looked is still waited for."""
    is_whole: bool = True
    """Whether none is missing between that place and the latest."""


class ChangeLog(Protocol):
    """What the workers that share a cache tell each other. All but `listen` raise StoreFault."""

    @property
    def pause(self) -> float:
        """Seconds between two looks: longer where `listen` tells of news."""

    async def enter(self, reader: str, trust: float) -> None:
        """Let `reader` be waited for; it goes on for `trust` seconds without looking. What it knows it looks up then."""

    async def look(self, reader: str, after: int) -> Look:
        """Return what has come after the number `after`, as far as the log goes back."""

    async def acknowledge(self, reader: str, position: int) -> bool:
        """Say that `reader` has done all changes up to `position`; False if it is not waited for any more."""

    async def append(self, change: Change) -> int:
        """Write a change for all to see, and return its number: greater than those of all that anybody has seen."""

    async def behind(self, number: int) -> list[float]:
        """Return the trust of each reader that has not heard of `number`."""

    async def strike(self, number: int) -> None:
        """Wait no more for those who have not heard of `number`, because they trust their memory no longer."""

    async def leave(self, reader: str) -> None:
        """Wait no more for `reader`."""

    async def listen(self, heard: Callable[[], object]) -> None:
        """Call `heard` when there may be something new. It may call in vain, or not at all. Never returns."""

    def sweep(self, before: float) -> None:
        """Forget, in the background, what was written before `before`, but never the latest."""
