"""The second level of the cache as turns see it: whatever keeps it, nobody waits for it for long.

A look-up that has not come back in time is a miss; what it brings later is thrown away. After a few that failed the
level is paused: nobody asks it any more, until a look-up of its own, a while later and in the background, has come
back in time. What is put goes on to the level all the same, which writes it when it can, or drops it.

What is purged while a look-up is under way is not brought back by it, nor what was put too late to be purged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.engine.changing import Changing
from antiphon.engine.tasks import Tasks
from antiphon.ports.stores import CacheLevel, Totals
from antiphon.wire.errors import StoreFault

T = TypeVar("T")

_log = logging.getLogger(__name__)

_STRIKES: Final = 3
"""Look-ups one after the other that fail until nobody asks any more."""
_FIRST_PROBE_SECONDS: Final = 0.25
_LONGEST_PROBE_SECONDS: Final = 2.0
_AT_ONCE: Final = 50
"""Entries that are looked for together in the time for one."""
_NOBODY: Final = b"\0" * 16
"""No entry has this digest."""


class Failed(StrEnum):
    """Why a look-up has brought nothing, not even that there is nothing."""

    TIMEOUT = "timeout"
    FAULT = "fault"


class SecondLevel:
    """Implements `ports.stores.CacheLevel` around another one; look-ups never raise."""

    def __init__(
        self, level: CacheLevel, *, timeout: float, tasks: Tasks, changing: Changing | None = None
    ) -> None:
        """Let nobody wait for a look-up for more than `timeout` seconds; bring nothing that `changing` has purged."""
        self._changing = changing
        self._level = level
        self._timeout = timeout
        self._tasks = tasks
        self._strikes = 0
        self._is_paused = False
        self._last_fault = ""
        self.outcomes = {"hit": 0, "miss": 0, **dict.fromkeys(map(str, Failed), 0)}
        """How often which has happened, counted by entries that were looked for."""

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
        return not self._is_paused and not isinstance(await self._look(self._level.get(_NOBODY)), Failed)

    def may_hold(self, digest: bytes) -> bool:
        """Whether a look-up can find anything; costs nothing."""
        return not self._is_paused and self._level.may_hold(digest)

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry, expired or not, if it is there in time. Never raises."""
        mark = self._mark
        found = await self._look(self._level.get(digest))
        entry = None if isinstance(found, Failed) or found is None or not self._serves(found, mark) else found
        self.outcomes[found if isinstance(found, Failed) else "miss" if entry is None else "hit"] += 1
        return entry

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Do the same for several at once, which may take longer the more they are. Never raises."""
        mark = self._mark
        found = await self._look(self._level.get_many(digests), 1 + len(digests) // _AT_ONCE)
        entries = {} if isinstance(found, Failed) else found
        entries = {digest: entry for digest, entry in entries.items() if self._serves(entry, mark)}
        self.outcomes["hit"] += len(entries)
        self.outcomes[found if isinstance(found, Failed) else "miss"] += len(digests) - len(entries)
        return entries

    @property
    def _mark(self) -> int:
        return 0 if self._changing is None else self._changing.mark

    def _serves(self, entry: Entry, mark: int) -> bool:
        return self._changing is None or self._changing.serves(entry, mark)

    def put(self, entry: Entry) -> None:
        """Write later, in the background; dropped, and counted, when the queue is full."""
        self._level.put(entry)

    async def select(self, selector: Selector, limit: int) -> list[Entry]:
        """Return what is meant, newest first. Raises StoreFault."""
        return await self._level.select(selector, limit)

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant, for good; return how many. Raises StoreFault."""
        return await self._level.remove(selector)

    async def count(self, selector: Selector) -> int:
        """Return how many are meant. Raises StoreFault."""
        return await self._level.count(selector)

    async def expire(self, selector: Selector, at: float) -> int:
        """Let what is meant be stale from `at` on; return how many. Raises StoreFault."""
        return await self._level.expire(selector, at)

    async def pin(self, digest: bytes, *, is_pinned: bool) -> None:
        """Pin the entry, or no more. Raises StoreFault."""
        await self._level.pin(digest, is_pinned=is_pinned)

    async def totals(self) -> Totals:
        """Return how much there is. Raises StoreFault."""
        return await self._level.totals()

    async def _look(self, asking: Coroutine[Any, Any, T], times: int = 1) -> T | Failed:
        """Return what `asking` does, if it does so in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T | Failed] = loop.create_future()
        # A task of its own: who breaks off a look-up in a driver may have to wait for the driver to agree.
        work, name = self._ask(asking, answer), "look up in the second level"
        self._tasks.start(work, name, lambda: _settle(answer, Failed.FAULT))
        timer = loop.call_later(self._timeout * times, _too_late, answer)
        try:
            found = await answer
        finally:
            timer.cancel()
        if not isinstance(found, Failed):
            self._strikes = 0
        else:
            self._strikes += 1
            if self._strikes >= _STRIKES and not self._is_paused:
                self._pause(found)
        return found

    async def _ask(self, asking: Awaitable[T], answer: "asyncio.Future[T | Failed]") -> None:
        try:
            found: T | Failed = await asking
        except StoreFault as fault:
            found, self._last_fault = Failed.FAULT, fault.message
        _settle(answer, found)

    def _pause(self, why: Failed) -> None:
        self._is_paused = True
        said = self._last_fault if why is Failed.FAULT else f"nothing for {self._timeout:g} s"
        _log.warning("the second level of the cache is not available (%s): memory goes on alone", said)
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


def _too_late(answer: "asyncio.Future[T | Failed]") -> None:
    """Give up, after what has come meanwhile: if this process was late itself, its look-ups are not to suffer."""
    loop = answer.get_loop()
    loop.call_soon(lambda: loop.call_soon(_settle, answer, Failed.TIMEOUT))


def _settle(answer: "asyncio.Future[T | Failed]", found: T | Failed) -> None:
    if not answer.done():
        answer.set_result(found)
