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
"""Between two looks; less where leases are short."""
_STALE_AT_ONCE: Final = 100
_LOST: Final = frozenset({"lease", "released"})
_WHY: Final[Mapping[str, str]] = {
    "lease": "The worker that made this answer was lost; what it had told is kept.",
    "released": "The worker that made this answer had to let it go; what it had told is kept.",
    "queue_deadline": "It waited too long to be begun: its queue deadline has passed.",
    "deadline": "It took too long: its deadline has passed.",
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
        seconds = min(_REAP_SECONDS, self._settings.lease / 3)
        while True:
            try:
                await self.look()
            except StoreFault as fault:
                _log.warning("runs cannot be looked after: %s", fault.message)
            await asyncio.sleep(seconds * (0.75 + secrets.randbelow(500) / 1000))

    async def _decide(self, stale: StaleRun) -> None:
        if stale.why == "ended":
            await self._settling.settle(stale.id, stale.owner)
            return
        length = stale.state.last_seq + 1
        if stale.why in _LOST and stale.state.carried is not None:
            # Its upstream goes on with it.
            await self._restart(stale, length)
            return
        is_promised = stale.is_shown and stale.is_public
        is_last = stale.attempt >= self._settings.max_attempts
        if stale.why in _LOST and not is_promised and not stale.has_effect and not is_last:
            await self._restart(stale, min(OPENING, length))
            return
        code, message = "server_error", _WHY[stale.why]
        if stale.why in _LOST and not is_promised and not stale.has_effect:
            message = f"It was begun {stale.attempt} times, and each time its worker was lost."
        log = RunLog(stale.id, stale.state.status)
        page = await self._store.read(stale.id, -1)
        log.grow(0, page.frames, page.times, stale.state.status)
        frame = failed(log.snapshot(), stale.state.last_seq + 1, code, message)
        if await self._store.end(stale.id, "failed", [frame], stale.state):
            self._worker.stop_run(stale.id)
            await self._settling.settle(stale.id, stale.owner)

    async def _restart(self, stale: StaleRun, keep: int) -> None:
        """Queue a run again; if somebody was promised its events meanwhile, it is decided about again."""
        if await self._store.restart(stale.id, stale.state, keep):
            self._worker.wake()
