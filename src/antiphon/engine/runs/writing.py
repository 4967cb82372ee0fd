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
"""With storage that refuses."""
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
        patience: float,
        moved: Callable[[Sequence[str]], object],
    ) -> None:
        """Write to `store`, which is waited for up to `patience` seconds if it says nothing.

        `moved` hears of each batch which runs it was of.
        """
        self._moved = moved
        self._store = store
        self._tasks = tasks
        self._patience = patience
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
        try:
            async with asyncio.timeout(self._patience):
                results = await self._append([append for _, append in batch])
        except (StoreFault, TimeoutError) as error:
            why = error.message if isinstance(error, StoreFault) else "storage does not answer"
            # It may be written after all, if nothing was said: that is as if this process had died just after.
            _log.error("%d runs are given up: %s", len(batch), why)
            for writer, _ in batch:
                writer.given_up()
            return
        self._moved([append.run_id for _, append in batch])
        for (writer, append), is_written in zip(batch, results, strict=True):
            if is_written:
                writer.written(append)
            else:
                writer.fenced()

    async def _append(self, appends: Sequence[Append]) -> list[bool]:
        """Append, again and again for a while. Raises StoreFault."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return await self._store.append(appends)
            except StoreFault:
                if time.monotonic() >= give_up_at:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
