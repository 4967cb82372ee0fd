"""Which runs are let in: begun at once, or to wait while there is room."""

from typing import Final

from antiphon.drivers.postgres import run_statements as sql
from antiphon.drivers.postgres.connection import Connection
from antiphon.ports.runs import NewRun, QueueFull, RunLimits

_UNCOUNTED: Final = 16
"""Of how many runs that may wait one is let in uncounted, where there was room when they were counted."""


async def may_begin(connection: Connection, new: NewRun, limits: RunLimits, time: float | None) -> bool:
    """Whether a new run may be begun at once; what is counted for that stays so until the transaction ends.

    `time` is `Database.time()`.
    """
    most = limits.in_progress_per_owner
    if most is not None:
        await connection.execute(sql.LOCK_ONE, new.owner)
        if await connection.fetchval(sql.IN_PROGRESS_OF, new.owner) >= most:
            return False
    if await connection.fetchval(sql.IS_ANY_WAITING) is None:  # which is usual where a slot is free
        return True
    return await connection.fetchval(sql.IS_URGENT_WAITING, time, 1, new.priority, most) is None


class Room:
    """Room for runs that wait, counted now and then: counting ten thousand for each new one would take too long.

    Several processes may so let in a sixteenth more than may be, each.
    """

    def __init__(self) -> None:
        """Count when the first comes."""
        self._left: dict[str | None, int] = {}

    async def take(self, connection: Connection, owner: str, limits: RunLimits) -> None:
        """Let a run of `owner` in. Raises QueueFull if as many wait as may."""
        if limits.queued_per_owner is not None:
            await self._take(connection, owner, limits.queued_per_owner)
        if limits.queued is not None:
            await self._take(connection, None, limits.queued)

    async def _take(self, connection: Connection, owner: str | None, most: int) -> None:
        if self._left.get(owner, 0) <= 0:
            counted = (
                await connection.fetchval(sql.QUEUED)
                if owner is None
                else await connection.fetchval(sql.QUEUED_OF, owner)
            )
            self._left[owner] = min(most - counted, 1 + most // _UNCOUNTED)
        self._left[owner] -= 1
        if self._left[owner] < 0:
            raise QueueFull(is_owners=owner is not None)
