"""The logs that somebody in this process follows, and looking into storage for those that are written elsewhere."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from antiphon.engine.runs.log import RunLog
from antiphon.engine.waking import woken
from antiphon.ports.hints import Hints
from antiphon.ports.runs import Page, RunStore
from antiphon.ports.stores import ResponseStore
from antiphon.recording import State
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
"""How often storage is looked into even if no hint comes."""
_LOGS_AT_ONCE: Final = 100
"""That are read together."""


class Logs:
    """Logs by run."""

    def __init__(self, store: RunStore, responses: ResponseStore, hints: Hints | None = None) -> None:
        """Look into `store`, and for runs that are settled into `responses`; `hints` reach other processes."""
        self._hints = hints
        self._store = store
        self._responses = responses
        self._logs: dict[str, RunLog] = {}
        self._owners: dict[str, str] = {}
        self._here: set[str] = set()
        self._hinted = asyncio.Event()

    def hint(self, run_ids: Sequence[str] = ()) -> None:
        """These runs may have moved on elsewhere, or any, if none is named."""
        if not run_ids or any(run_id in self._logs for run_id in run_ids):
            self._hinted.set()

    def moved(self, run_ids: Sequence[str]) -> None:
        """This process has written to these runs, wherever they are executed."""
        self.hint(run_ids)
        self.tell_others(run_ids)

    def tell_others(self, run_ids: Sequence[str]) -> None:
        """This process has written to these runs, which it executes itself."""
        if self._hints is not None:
            self._hints.publish(run_ids)

    def open(self, run_id: str, owner: str, status: str) -> RunLog:
        """Return the log of a run, known or not."""
        log = self._logs.get(run_id)
        if log is None:
            log = self._logs[run_id] = RunLog(run_id, status)
            self._owners[run_id] = owner
        return log

    def written_here(self, log: RunLog, *, is_so: bool) -> None:
        """Note whether this process writes the log, and so knows all of it."""
        if is_so:
            self._here.add(log.run_id)
        else:
            self._here.discard(log.run_id)
            self.release(log)
            self.hint()

    def is_here(self, run_id: str) -> bool:
        """Whether this process writes the log."""
        return run_id in self._here

    def release(self, log: RunLog) -> None:
        """Forget a log that nobody follows and that is not written here."""
        if not log.listeners and log.run_id not in self._here and self._logs.get(log.run_id) is log:
            del self._logs[log.run_id], self._owners[log.run_id]

    async def refresh(self, log: RunLog) -> None:
        """Read what the log does not hold yet. Raises StoreFault."""
        await self._take(log, await self._store.read(log.run_id, len(log.frames) - 1))

    async def _take(self, log: RunLog, page: Page) -> None:
        if page.state is not None and page.state.epoch > log.epoch and log.frames:
            page = await self._store.read(log.run_id, -1)
        if page.state is not None:
            log.take(page)
            return
        kept = await self._responses.get(log.run_id, self._owners.get(log.run_id, ""))
        if kept is None:
            log.grow(len(log.frames), (), (), "cancelled")  # it was deleted
        else:
            recording = kept.recording
            state = recording.outcome.state
            status = "failed" if state is State.LIVE else state.value
            log.replace(recording.frames, recording.times, status)

    def cut(self, *, elsewhere: bool) -> None:
        """Let go of all who follow, or only of those who follow what is written `elsewhere`: they may come back."""
        for run_id, log in tuple(self._logs.items()):
            if not elsewhere or run_id not in self._here:
                for listener in tuple(log.listeners):
                    listener.on_cut()

    async def look(self) -> None:
        """Let the logs that are followed, of runs elsewhere, grow."""
        followed = [log for run_id, log in self._logs.items() if run_id not in self._here and log.listeners]
        try:
            for start in range(0, len(followed), _LOGS_AT_ONCE):
                some = followed[start : start + _LOGS_AT_ONCE]
                pages = await self._store.read_many([(log.run_id, len(log.frames) - 1) for log in some])
                for log, page in zip(some, pages, strict=True):
                    await self._take(log, page)
        except StoreFault as fault:
            _log.warning("runs cannot be followed: %s", fault.message)

    def keep_alive(self) -> None:
        """Let who follows hear something, if nothing has come since this was called last."""
        for log in tuple(self._logs.values()):
            for listener in tuple(log.listeners):
                listener.on_silence()

    async def follow(self) -> None:
        """Let the logs of runs elsewhere grow, for ever."""
        while True:
            await woken(self._hinted, _LOOK_SECONDS)
            await self.look()
