"""The port to hints: what processes tell each other about runs, beside what storage tells them (`RunStore.watch`).

A hint makes a listener look sooner. It may be lost, and may come in vain; nothing is true because of one.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class Hints(Protocol):
    """What is said between processes."""

    def publish(self, run_ids: Sequence[str]) -> None:
        """Say, soon, that these runs have moved on. Never waits, never raises."""

    async def send(self) -> None:
        """Send what is published. Never returns."""

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that others have moved on, or with none where it may be any. Never returns."""

    async def check(self) -> None:
        """Return if others can be told. Raises OSError."""

    async def close(self) -> None:
        """Give the connections back; nothing is said any more."""
