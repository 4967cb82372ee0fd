"""Writes that nobody waits for: what has queued up while the last transaction ran is the next.

While the database is gone they wait, and are written when it is back; what may not be promised then is told by
`is_full`.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.faults import FAULTS, RACED, is_gone
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_BATCH: Final = 256
_RETRY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_RACES: Final = 8
_CLOSING_SECONDS: Final = 10.0
"""How long a stop waits for a database that is gone."""

Write = Callable[[Connection], Awaitable[object]]
"""Is given the connection; done again where the whole transaction has to be."""


class WriteQueue:
    """Writes in their order, many in one transaction."""

    def __init__(
        self, transaction: Callable[[], AbstractAsyncContextManager[Connection]], max_queued_bytes: int
    ) -> None:
        """Write within `transaction`; be full from `max_queued_bytes` on."""
        self._transaction = transaction
        self._max_queued_bytes = max_queued_bytes
        self._jobs: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._bytes = 0
        self._closed = False
        self._give_up_at: float | None = None
        self.dropped = 0
        self.failed = 0
        self.is_refusing = False
        """Whether the database was gone when it was last written to."""

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._jobs)

    @property
    def is_full(self) -> bool:
        """Whether more is waiting than may be held in memory."""
        return self._bytes > self._max_queued_bytes

    def put(
        self,
        write: Write,
        size: int = 0,
        *,
        may_drop: bool = False,
        on_done: Callable[[], object] | None = None,
    ) -> bool:
        """Write in the next transaction; False if the queue is full and the write may be dropped, or closed.

        `on_done` is called when it is committed or has failed.
        """
        if self._closed:
            _log.error("a write came after storage was closed")
            return False
        if may_drop and self._bytes + size > self._max_queued_bytes:
            self.dropped += 1
            return False
        self._bytes += size
        self._jobs.append(_Job(write, size, on_done))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="postgres-write")
        return True

    def put_in_slices(self, work: Callable[[Connection], Awaitable[bool]]) -> None:
        """Do `work` again and again, each time in another transaction, until it says that there is no more.

        So nobody who has something to write waits for all of it.
        """
        more = False

        async def write(connection: Connection) -> None:
            nonlocal more
            more = await work(connection)

        def again() -> None:
            if more and not self._closed:
                self.put_in_slices(work)

        self.put(write, on_done=again)

    def when_written(self, tell: Callable[[], object]) -> None:
        """Call `tell` when everything put so far is committed or has failed; at once if that is so."""
        if not self._jobs:
            tell()
            return
        last = self._jobs[-1]
        told = last.on_done

        def both() -> None:
            if told is not None:
                told()
            tell()

        last.on_done = both

    async def flushed(self) -> None:
        """Return when everything put so far is committed or has failed."""
        done = asyncio.Event()
        self.when_written(done.set)
        await done.wait()

    async def close(self) -> None:
        """Write what there is, and take no more."""
        self._closed = True
        self._give_up_at = time.monotonic() + _CLOSING_SECONDS
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._jobs:
                batch = [self._jobs[place] for place in range(min(len(self._jobs), _BATCH))]
                await self._commit(batch)
        finally:
            self._task = None

    async def _commit(self, batch: "list[_Job]") -> None:
        attempt = 0
        while True:
            error = await self._attempt(batch)
            self.is_refusing = error is not None and is_gone(error)
            if error is None:
                self._finish(len(batch), None)
                return
            if not is_gone(error) and not (isinstance(error, RACED) and len(batch) == 1 and attempt < _RACES):
                break
            if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                self._finish(len(batch), error)
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1
        if len(batch) == 1:
            self._finish(1, error)
            return
        # One bad write must not take the others with it.
        for job in batch:
            await self._commit([job])

    async def _attempt(self, batch: "list[_Job]") -> Exception | None:
        try:
            async with self._transaction() as connection:
                for job in batch:
                    await job.write(connection)
        except (*FAULTS, StoreFault) as error:
            return error
        except Exception as error:
            # A defect of ours must not stop all writes from now on.
            _log.exception("a write has a defect")
            return error
        return None

    def _finish(self, count: int, error: Exception | None) -> None:
        if error is not None:
            self.failed += count
            _log.error("%d writes to storage failed: %s", count, error)
        for _ in range(count):
            job = self._jobs.popleft()
            self._bytes -= job.size
            if job.on_done is not None:
                job.on_done()


@dataclass(slots=True)
class _Job:
    write: Write
    size: int
    on_done: Callable[[], object] | None
