"""The port to the outbox of webhooks: what is to be told to whom, kept until it was.

A notice is written when a run is accepted, and waits there until the transaction that ends the run makes it due.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Notice:
    """That a run has ended is to be told."""

    id: str
    """The same at every attempt, so that a receiver knows what it was told before."""
    run_id: str
    hook: str
    """The name of who is to be told."""
    status: str
    """How the run has ended."""
    ended_at: float
    """Seconds since the epoch."""
    attempt: int
    """1 for the first."""


class Outbox(Protocol):
    """Notices of all workers. Everything raises StoreFault."""

    async def due(self, limit: int, seconds: float) -> list[Notice]:
        """Take up to `limit` notices that are due; they are due again after `seconds`, if nothing is said of them."""

    async def put_off(self, notice_id: str, seconds: float) -> None:
        """Let a notice be due after `seconds`."""

    async def forget(self, notice_id: str) -> None:
        """Drop a notice: it was told, or never will be."""
