"""Looking after runs of all workers: whose worker is gone, that are too late, or that have ended and are not settled."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from typing import Final

from antiphon.dialects.responses.retelling import failed
from antiphon.engine.runs.log import RunLog
from antiphon.engine.runs.settling import Settling
from antiphon.engine.runs.working import OPENING, Worker
from antiphon.engine.tasks import Tasks
from antiphon.ports.runs import RunStore, StaleRun
from antiphon.settings import Background
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_REAP_SECONDS: Final = 5.0
_STALE_AT_ONCE: Final = 100
_WHY: Final[Mapping[str, tuple[str, str]]] = {
    "lease": ("server_error", "The worker that made this answer was lost; what it had told is kept."),
    "queue_deadline": ("server_error", "It waited too long to be begun."),
    "deadline": ("server_error", "It took too long."),
}


class Reaper:
    """Decides what becomes of runs that nobody looks after."""

    def __init__(
        self, store: RunStore, tasks: Tasks, settling: Settling, worker: Worker, settings: Background
    ) -> None:
        """Look into `store`; what is queued again is perhaps for `worker`."""
        self._store = store
        self._tasks = tasks
        self._settling = settling
        self._worker = worker
        self._settings = settings

    def start(self) -> None:
        """Look again and again."""
        self._tasks.start(self._reap(), "look after runs")

    async def look(self) -> None:
        """Decide about all that is stale now. Raises StoreFault."""
        for stale in await self._store.stale(_STALE_AT_ONCE):
            await self._decide(stale)

    async def _reap(self) -> None:
        while True:
            try:
                await self.look()
            except StoreFault as fault:
                _log.warning("runs cannot be looked after: %s", fault.message)
            await asyncio.sleep(_REAP_SECONDS * (0.75 + secrets.randbelow(500) / 1000))

    async def _decide(self, stale: StaleRun) -> None:
        if stale.why == "ended":
            await self._settling.settle(stale.id, stale.owner)
            return
        is_last = stale.attempt >= self._settings.max_attempts
        may_restart = not (stale.is_shown and stale.is_public) and not stale.has_effect and not is_last
        if stale.why == "lease" and may_restart:
            await self._store.restart(stale.id, stale.state, min(OPENING, stale.state.last_seq + 1))
            self._worker.wake()
            return
        code, message = _WHY[stale.why]
        log = RunLog(stale.id, stale.state.status)
        page = await self._store.read(stale.id, -1)
        log.grow(0, page.frames, page.times, stale.state.status)
        frame = failed(log.snapshot(), stale.state.last_seq + 1, code, message)
        if await self._store.end(stale.id, "failed", [frame], stale.state):
            self._worker.stop_run(stale.id)
            await self._settling.settle(stale.id, stale.owner)
