"""The second level of the cache as turns see it: whatever keeps it, nobody waits for it for long.

A look-up that has not come back in time is a miss; what it brings later is thrown away. After a few that failed the
level is paused: nobody asks it any more, until a look-up of its own, a while later and in the background, has come
back in time. What is put goes on to the level all the same, which writes it when it can, or drops it.

What is purged while a look-up is under way is not brought back by it.
"""

import asyncio
import logging
from enum import StrEnum
from typing import Final

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.engine.tasks import Tasks
from antiphon.ports.stores import CacheLevel
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_STRIKES: Final = 3
"""Look-ups one after the other that fail until nobody asks any more."""
_FIRST_PROBE_SECONDS: Final = 0.25
_LONGEST_PROBE_SECONDS: Final = 2.0
_NOBODY: Final = b"\0" * 16
"""No entry has this digest."""


class Outcome(StrEnum):
    """How a look-up ended."""

    HIT = "hit"
    MISS = "miss"
    TIMEOUT = "timeout"
    FAULT = "fault"


class SecondLevel:
    """Implements `ports.stores.CacheLevel` around another one; look-ups never raise."""

    def __init__(self, level: CacheLevel, *, timeout: float, tasks: Tasks) -> None:
        """Let nobody wait for a look-up for more than `timeout` seconds."""
        self._level = level
        self._timeout = timeout
        self._tasks = tasks
        self._strikes = 0
        self._is_paused = False
        self._under_way = 0
        self._purged: list[Selector] = []
        """What was purged while look-ups were under way, or is just being purged."""
        self._purging = 0
        self.outcomes = dict.fromkeys(Outcome, 0)

    @property
    def is_available(self) -> bool:
        """Whether it is asked; it may have gone since it was asked last."""
        return not self._is_paused

    @property
    def unreadable(self) -> int:
        """How many entries counted as misses because they could not be read."""
        return self._level.unreadable

    @property
    def dropped(self) -> int:
        """How many entries were not written: too many waited, or there is no room."""
        return self._level.dropped

    async def check(self) -> bool:
        """Ask it something, and return whether it can be used."""
        if not self._is_paused:
            _, outcome = await self._look(_NOBODY)
            self._judge(outcome)
            return outcome is Outcome.MISS
        return False

    def may_hold(self, digest: bytes) -> bool:
        """Whether a look-up can find anything; costs nothing."""
        return not self._is_paused and self._level.may_hold(digest)

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry, expired or not, if it is there in time. Never raises."""
        self._under_way += 1
        try:
            entry, outcome = await self._look(digest)
            if entry is not None and any(selector.matches(entry) for selector in self._purged):
                entry, outcome = None, Outcome.MISS
        finally:
            self._under_way -= 1
            self._forget_purges()
        self.outcomes[outcome] += 1
        self._judge(outcome)
        return entry

    def put(self, entry: Entry) -> None:
        """Write later, in the background; dropped, and counted, when the queue is full."""
        self._level.put(entry)

    def remove_recording(self, recording_id: str) -> None:
        """Remove entries that hold this recording, before whatever is put or got next."""
        self.forget(Selector(recording_id=recording_id))
        self._level.remove_recording(recording_id)

    async def select(self, selector: Selector, limit: int) -> list[Entry]:
        """Return what is meant, newest first. Raises StoreFault."""
        return await self._level.select(selector, limit)

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant, for good; return how many. Raises StoreFault."""
        self._purging += 1
        self._purged.append(selector)
        try:
            return await self._level.remove(selector)
        finally:
            self._purging -= 1
            self._forget_purges()

    def forget(self, selector: Selector) -> None:
        """Let no look-up that is under way bring what is meant: another process has removed it."""
        if self._under_way:
            self._purged.append(selector)

    def _forget_purges(self) -> None:
        if not self._under_way and not self._purging:
            self._purged.clear()

    async def _look(self, digest: bytes) -> tuple[Entry | None, Outcome]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Entry | None, Outcome]] = loop.create_future()
        # A task of its own: who breaks off a look-up in a driver may have to wait for the driver to agree.
        work, name = self._ask(digest, answer), "look up in the second level"
        self._tasks.start(work, name, lambda: _settle(answer, Outcome.FAULT))
        timer = loop.call_later(self._timeout, _too_late, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    async def _ask(self, digest: bytes, answer: asyncio.Future[tuple[Entry | None, Outcome]]) -> None:
        try:
            entry = await self._level.get(digest)
        except StoreFault:
            _settle(answer, Outcome.FAULT)
        else:
            _settle(answer, Outcome.MISS if entry is None else Outcome.HIT, entry)

    def _judge(self, outcome: Outcome) -> None:
        if outcome in {Outcome.HIT, Outcome.MISS}:
            self._strikes = 0
            return
        self._strikes += 1
        if self._strikes >= _STRIKES and not self._is_paused:
            self._is_paused = True
            _log.warning("the second level of the cache is not available (%s): memory goes on alone", outcome)
            self._tasks.start(self._probe(), "probe the second level")

    async def _probe(self) -> None:
        """Ask until an answer comes in time, never twice at once."""
        loop = asyncio.get_running_loop()
        wait = _FIRST_PROBE_SECONDS
        while True:
            await asyncio.sleep(wait)
            began = loop.time()
            try:
                await self._level.get(_NOBODY)
            except StoreFault:
                wait = min(2 * wait, _LONGEST_PROBE_SECONDS)
                continue
            if loop.time() - began <= self._timeout:
                break
        self._is_paused, self._strikes = False, 0
        _log.warning("the second level of the cache is available again")


def _too_late(answer: asyncio.Future[tuple[Entry | None, Outcome]]) -> None:
    """Give up, after what has come meanwhile: if this process was late itself, its look-ups are not to suffer."""
    loop = answer.get_loop()
    loop.call_soon(lambda: loop.call_soon(_settle, answer, Outcome.TIMEOUT))


def _settle(
    answer: asyncio.Future[tuple[Entry | None, Outcome]], outcome: Outcome, entry: Entry | None = None
) -> None:
    if not answer.done():
        answer.set_result((entry, outcome))
