"""Settling a run that has ended: its log becomes a recording among the kept responses."""

import logging
import time
from collections.abc import Callable, Sequence

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.watch import StreamWatcher
from antiphon.engine.rendition import STREAM_HEADERS, render
from antiphon.engine.runs.log import feed
from antiphon.engine.runs.logs import Logs
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Asked
from antiphon.ports.runs import RunStore
from antiphon.ports.stores import KeptResponse
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.events import Item
from antiphon.turn.snapshot import Snapshot
from antiphon.wire.errors import StoreFault
from antiphon.wire.objects import write_object

_log = logging.getLogger(__name__)


class Settling:
    """Moves runs that have ended among the kept responses."""

    def __init__(
        self,
        store: RunStore,
        tasks: Tasks,
        logs: Logs,
        retention: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep answers for `retention` seconds; `logs` hear that a run has moved."""
        self._store = store
        self._tasks = tasks
        self._logs = logs
        self._retention = retention
        self._now = wall_clock

    def soon(self, run_id: str, owner: str) -> None:
        """Settle a run in the background."""
        self._tasks.start(self.settle(run_id, owner), f"settle {run_id}")

    async def settle(self, run_id: str, owner: str) -> None:
        """Settle a run; where storage is gone somebody does it later."""
        try:
            page = await self._store.read(run_id, -1)
            if page.state is None:
                return
            now = self._now()
            kept = settled(
                run_id,
                owner,
                page.frames,
                page.times,
                status=page.state.status,
                created_at=page.state.created_at,
                ended_at=now,
                expires_at=now + self._retention,
            )
            await self._store.settle(kept)
            self._logs.moved([run_id])
        except StoreFault as fault:
            _log.warning("run %s is settled later: %s", run_id, fault.message)


def settled(
    run_id: str,
    owner: str,
    frames: Sequence[bytes],
    times: Sequence[int],
    *,
    status: str,
    created_at: float,
    ended_at: float,
    expires_at: float,
) -> KeptResponse:
    """Return the answer of an ended run as it is kept."""
    watcher = StreamWatcher()
    watcher.feed(frames)
    outcome = watcher.close(clean=True)
    if status == "cancelled":
        outcome = Outcome(State.CANCELLED, "cancelled", outcome.usage, run_id, outcome.model)
    recording = Recording(
        id=run_id,
        dialect=RESPONSES.name,
        mode=Mode.STREAM,
        provider="",
        model=outcome.model or "",
        started_at=created_at,
        head=Head(200, STREAM_HEADERS[0][1]),
        frames=[*frames],
        times=[*times],
        size=sum(map(len, frames)),
        outcome=outcome,
        ended_at=ended_at,
    )
    return KeptResponse(run_id, owner, recording, None, {}, expires_at)


def body_of(kept: KeptResponse) -> bytes:
    """Return a kept response as JSON."""
    if kept.recording.outcome.state is State.CANCELLED:
        snapshot = Snapshot()
        feed(snapshot, kept.recording.frames)
        return write_object(cancelled(snapshot))
    rendition = render(kept.recording, RESPONSES, Asked(Mode.JSON))
    return rendition.fill(kept.id.encode(), kept.created_at, kept.echoed)


def cancelled(snapshot: Snapshot) -> Item:
    """Return the response of a run that was cancelled, with what there is of its output (specification, 2.4)."""
    return (snapshot.response or {}) | {"status": "cancelled", "completed_at": None}
