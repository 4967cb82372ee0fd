"""Writing the logs of all runs of this process: what has queued up while the last batch was committed is the next.

Nobody is shown an event before it is committed. Where storage does not answer, runs are held back, and after a while
given up: their leases run out, and whoever takes them over decides what becomes of them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from antiphon.engine.tasks import Tasks
from antiphon.ports.runs import Append, RunStore
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 0.1


class Writer(Protocol):
    """Who has events to write."""

    def take(self) -> Append | None:
        """Return what is to be written now; it is not taken again."""

    def written(self, append: Append) -> None:
        """It is committed."""

    def fenced(self) -> None:
        """Nothing of it was written: the run belongs to somebody else, or has ended."""

    def given_up(self) -> None:
        """Storage does not take it."""


class LogWriter:
    """Commits batches, one after the other."""

    def __init__(
        self,
        store: RunStore,
        tasks: Tasks,
        moved: Callable[[Sequence[str]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `store`; `moved` hears of each batch which runs it was of; `clock` is monotonic."""
        self._moved = moved
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._dirty: dict[Writer, None] = {}
        self._task: asyncio.Task[None] | None = None

    def want(self, writer: Writer) -> None:
        """Write what `writer` has, with the next batch."""
        self._dirty[writer] = None
        if self._task is None:
            self._task = self._tasks.start(self._write(), "write run logs")

    async def flush(self) -> None:
        """Wait until everything is written."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _write(self) -> None:
        try:
            while self._dirty:
                dirty, self._dirty = self._dirty, {}
                batch = [(writer, append) for writer in dirty if (append := writer.take()) is not None]
                if batch:
                    await self._commit(batch)
        finally:
            self._task = None

    async def _commit(self, batch: list[tuple[Writer, Append]]) -> None:
        appends = [append for _, append in batch]
        give_up_at = self._clock() + _PATIENCE_SECONDS
        while True:
            try:
                results = await self._store.append(appends)
                break
            except StoreFault as fault:
                if self._clock() >= give_up_at:
                    _log.error("%d runs are given up: %s", len(batch), fault.message)
                    for writer, _ in batch:
                        writer.given_up()
                    return
                await asyncio.sleep(_RETRY_SECONDS)
        self._moved([append.run_id for append in appends])
        for (writer, append), is_written in zip(batch, results, strict=True):
            if is_written:
                writer.written(append)
            else:
                writer.fenced()
