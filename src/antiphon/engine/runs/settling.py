"""Settling a run that has ended: its log becomes a recording among the kept responses."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.watch import StreamWatcher
from antiphon.engine.carrying import cancel_carried
from antiphon.engine.rendition import STREAM_HEADERS, render
from antiphon.engine.runs.log import feed
from antiphon.engine.runs.logs import Logs
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Asked
from antiphon.ports.runs import Carried, RunState, RunStore
from antiphon.ports.stores import KeptResponse
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.events import Item
from antiphon.turn.snapshot import Snapshot
from antiphon.wire.errors import StoreFault
from antiphon.wire.objects import write_object

_ENDED_BY_UPSTREAM: Final = frozenset({"completed", "incomplete"})
_log = logging.getLogger(__name__)


class Settling:
    """Moves runs that have ended among the kept responses."""

    def __init__(
        self,
        store: RunStore,
        sources: Mapping[str, Source],
        tasks: Tasks,
        logs: Logs,
        *,
        retention: float,
        ttl: float | None = None,
        patience: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep answers for `retention` seconds, those made in the background for `ttl` where that is given.

        `logs` hear that a run has moved.

        `sources` that carry an answer hear that it is cancelled, again and again until the run is `patience` seconds old.
        """
        self._store = store
        self._sources = sources
        self._patience = patience
        self._tasks = tasks
        self._logs = logs
        self._retention = retention
        self._ttl = retention if ttl is None else ttl
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
            if not await self._is_stopped(page.state) and now < page.state.created_at + self._patience:
                _log.warning("run %s is settled when its upstream has heard that it has ended", run_id)
                return
            kept = settled(
                run_id,
                owner,
                page.frames,
                page.times,
                status=page.state.status,
                created_at=page.state.created_at,
                ended_at=now,
                expires_at=now + (self._ttl if _is_background(page.frames) else self._retention),
            )
            await self._store.settle(kept)
            self._logs.moved([run_id])
        except StoreFault as fault:
            _log.warning("run %s is settled later: %s", run_id, fault.message)

    async def forget(self, carried: Carried) -> None:
        """Let an upstream stop that carries an answer which nobody wants any more."""
        await self._cancel(carried)

    async def _is_stopped(self, state: RunState) -> bool:
        """Whether no upstream goes on with a run that has ended; one that did not end it hears of it now."""
        if state.carried is None or state.status in _ENDED_BY_UPSTREAM:
            return True
        return await self._cancel(state.carried)

    async def _cancel(self, carried: Carried) -> bool:
        source = self._sources.get(carried.provider)
        return source is None or await cancel_carried(source, carried)


def _is_background(frames: Sequence[bytes]) -> bool:
    snapshot = Snapshot()
    feed(snapshot, frames[:1])
    return bool((snapshot.response or {}).get("background"))


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
