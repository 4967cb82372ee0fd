"""Writes that nobody waits for: in their order, many at once; while the server is gone they wait for it."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, ResponseError, TryAgainError

from antiphon.drivers.redis.client import FAULTS

_log = logging.getLogger(__name__)

_BATCH: Final = 256
_BATCH_BYTES: Final = 1024 * 1024
_RETRY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_CLOSING_SECONDS: Final = 2.0
"""How long a stop waits for a server that is gone."""
_FULL: Final = "OOM"
_FOR_NOW: Final = ("LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "BUSY", "READONLY")
_ALSO_FOR_NOW: Final = (AskError, ClusterDownError, ReadOnlyError, TryAgainError)

Write = Callable[[], Awaitable[object]]
"""Done again from the beginning where the server was gone."""


class WriteQueue:
    """Writes, bounded in the bytes that wait."""

    def __init__(self, max_queued_bytes: int) -> None:
        """Be full from `max_queued_bytes` on."""
        self._max_queued_bytes = max_queued_bytes
        self._jobs: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._bytes = 0
        self._give_up_at: float | None = None
        self.dropped = 0
        """Writes that were given up because too many waited, or because the server is full."""
        self.failed = 0
        """Writes that the server refused, or that it was gone for until the end."""

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._jobs)

    def put(self, write: Write, size: int = 0, *, may_drop: bool = False) -> None:
        """Write soon; what may be dropped is, and counted, where too much waits."""
        if may_drop and (self._bytes + size > self._max_queued_bytes or self._give_up_at is not None):
            self.dropped += 1
            return
        self._bytes += size
        self._jobs.append(_Job(write, size, may_drop))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="redis-write")

    async def flushed(self) -> None:
        """Return when everything put so far is written or given up. Raises TimeoutError where the server is gone."""
        done = asyncio.get_running_loop().create_future()

        async def tell() -> None:
            if not done.done():
                done.set_result(None)

        if self._jobs:
            self.put(tell)
            async with asyncio.timeout(_CLOSING_SECONDS):
                await done

    async def close(self) -> None:
        """Write what there is, or give it up after a while, and take no more."""
        self._give_up_at = time.monotonic() + _CLOSING_SECONDS
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        attempt = 0
        try:
            while self._jobs:
                if await self._attempt(self._next()):
                    attempt = 0
                    continue
                if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                    self._give_up()
                    return
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
        finally:
            self._task = None

    def _next(self) -> "list[_Job]":
        """Return what is written at once: sent together, it is on its way in one go."""
        batch: list[_Job] = []
        size = 0
        for job in self._jobs:
            size += job.size
            if batch and (
                len(batch) == _BATCH or size > _BATCH_BYTES or not (job.may_drop and batch[-1].may_drop)
            ):
                break  # what is not a put waits for those before it, and they for it
            batch.append(job)
        return batch

    async def _attempt(self, batch: "list[_Job]") -> bool:
        """Write; False if the server is gone, and all of it is to be tried again."""
        results = await asyncio.gather(*(job.write() for job in batch), return_exceptions=True)
        for result in results:
            if isinstance(result, FAULTS) and _is_for_now(result):
                return False
        for job, result in zip(batch, results, strict=True):
            self._jobs.popleft()
            self._bytes -= job.size
            if isinstance(result, BaseException):
                self._count(result)
        return True

    def _count(self, error: BaseException) -> None:
        if isinstance(error, ResponseError) and str(error).startswith(_FULL):
            self.dropped += 1
            return
        self.failed += 1
        _log.error("a write to Redis failed: %s", error)

    def _give_up(self) -> None:
        self.failed += len(self._jobs)
        _log.error("%d writes to Redis are given up: nobody answers", len(self._jobs))
        self._jobs.clear()
        self._bytes = 0


@dataclass(slots=True)
class _Job:
    write: Write
    size: int
    may_drop: bool


def _is_for_now(error: BaseException) -> bool:
    """Whether it is not about what was written: the server is gone, is starting, or is looking for its others."""
    # The library has classes for these, and words of its own.
    return (
        not isinstance(error, ResponseError)
        or isinstance(error, _ALSO_FOR_NOW)
        or str(error).startswith(_FOR_NOW)
    )
