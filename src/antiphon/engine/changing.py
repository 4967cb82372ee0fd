"""Changing many cache entries at once - purging, pinning - so that it is done in every worker when it is said to be.

A change is written to the log that all workers share, and then done to the second level. Each worker that hears of it
does it to its memory, keeps late-comers from joining an answer that was under way before, and says that it has heard.
One that has not looked at the log for longer than its *trust* answers nothing from the cache, so that nobody has to
wait longer than that for a worker that was stopped, has died, or does not reach the log. Where the log's server is not
running, nobody can purge anything, and memory goes on.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from antiphon.cache.changes import UNKNOWN, Change, Changes, Kind
from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.drivers.memory import MemoryCache, elapsed
from antiphon.engine.tasks import Tasks
from antiphon.engine.waking import woken
from antiphon.ports.changing import ChangeLog, Look
from antiphon.ports.stores import CacheLevel
from antiphon.wire.errors import GatewayError, StoreFault

_log = logging.getLogger(__name__)

_LONGEST_WAIT_SECONDS: Final = 30.0
"""For workers that trust their memory for long, and do not answer."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
_SLACK_SECONDS: Final = 0.1
"""Clocks of hosts do not run equally fast."""
_MISSED_SECONDS: Final = 3600.0
"""Who has not looked for so long has perhaps missed what the log has forgotten meanwhile."""

_COUNTS: Final = 1_000
"""Of entries that changes have met here, for who asks how many they were."""


class Unconfirmed(GatewayError):
    """A change is written down, but not every worker is known to have heard of it."""

    status = 503
    type = "server_error"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change has come to."""

    in_memory: int
    """Entries of this worker's memory."""
    stored: int
    """Entries of the second level."""

    @property
    def count(self) -> int:
        """How many entries, as far as this worker knows: most in memory are in the second level too."""
        return max(self.in_memory, self.stored)


class Changing:
    """One worker's part in it."""

    def __init__(
        self,
        log: ChangeLog,
        memory: MemoryCache,
        level: CacheLevel | None,
        tasks: Tasks,
        *,
        trust: float,
        wall_clock: Callable[[], float],
    ) -> None:
        """Do to `memory` and `level` what `log` says; trust them for `trust` seconds after each look at it."""
        self.changes = Changes()
        self._log = log
        self._memory = memory
        memory.trusted_until = -math.inf
        self._level = level
        self._tasks = tasks
        self._seconds = trust
        self._now = wall_clock
        self._reader = secrets.token_hex(8)
        self._looking = asyncio.Lock()
        self._news = asyncio.Event()
        self._acknowledged = 0
        self._looked_at = -math.inf
        self._counts: dict[int, int] = {}
        self._is_deaf = False
        self._is_entered = False
        self._followers: list[Callable[[Change | None], None]] = []

    def follow(self, follower: Callable[[Change | None], None]) -> None:
        """Call `follower` with each change when it is done here; with None for one that may have been missed."""
        self._followers.append(follower)

    @property
    def mark(self) -> int:
        """The number of the latest change that was heard of: what a request is as of that begins now."""
        return self.changes.position

    @property
    def era(self) -> int:
        """The number of the latest that meant more than one answer: what was begun before is not joined after it."""
        return self.changes.era

    def admits(self, entry: Entry, mark: int) -> bool:
        """Whether an entry whose request began as of `mark` may be stored; what was changed since is done to it."""
        return self.changes.knows(mark) and self.changes.do_to(entry, mark)

    def serves(self, entry: Entry, mark: int) -> bool:
        """Whether an entry that was asked for as of `mark` may be served, and kept in memory.

        What was changed since the entry's own request began is done to it: its level may have got it too late to know.
        """
        since = next((number for number in (entry.as_of, mark) if number != UNKNOWN), self.mark)
        known_since = mark if mark != UNKNOWN else since
        return (
            self._memory.is_trusted and self.changes.knows(known_since) and self.changes.do_to(entry, since)
        )

    # Hearing.

    async def enter(self) -> None:
        """Look for the first time, so that the second level can be used; if that fails, it is tried again later."""
        await self._look()

    def start(self) -> None:
        """Listen from now on."""
        self._tasks.start(self._follow(), "hear of purges")
        self._tasks.start(self._log.listen(self._news.set), "listen for purges")

    async def stop(self) -> None:
        """Let nobody wait for this worker any more."""
        self._memory.trusted_until = -math.inf
        try:
            await self._log.leave(self._reader)
        except StoreFault:
            _log.info("the next purge will wait for this worker")

    @property
    def is_heard(self) -> bool:
        """Whether the log could be looked at lately."""
        return self._memory.is_trusted

    def joins(self, began_at: float) -> bool:
        """Whether an answer that has been under way since `began_at` (epoch) may be joined.

        Where no purge is heard, one may have come since; but nobody has been told yet that it is done.
        """
        return self._memory.is_trusted or self._now() - began_at < self._seconds

    @property
    def unheard_seconds(self) -> float:
        """How long ago the log was last looked at."""
        return min(elapsed() - self._looked_at, 1e9)

    async def _follow(self) -> None:
        pause = min(self._log.pause, self._seconds / 4)
        while True:
            await self._look()
            await woken(self._news, pause)

    async def _look(self) -> bool:
        """Do what is new, and trust for a while again; False if the log cannot be reached."""
        async with self._looking:
            began = elapsed()
            try:
                # Who was struck off because somebody was tired of waiting enters again, and looks again then.
                is_heard = await self._look_entered() or await self._look_entered()
            except StoreFault as fault:
                if not self._is_deaf:
                    _log.warning("purges of other workers are not heard of: %s", fault)
                self._is_deaf = True
                has_begun = self._looked_at != -math.inf
                if _is_down(fault) and (self._memory.is_trusted or not has_begun):
                    # Where the log is, nobody listens: no purge can be done anywhere, so that none was missed.
                    # Who begins then has nothing in memory that is older.
                    self._memory.trusted_until = began + self._seconds
                return False
            self._is_deaf = False
            return is_heard

    async def _look_entered(self) -> bool:
        """Look as one who is waited for; False if nobody waits for this worker any more. Raises StoreFault."""
        if not self._is_entered:
            await self._log.enter(self._reader, self._seconds)
            self._is_entered, self._acknowledged = True, 0
        began = elapsed()
        look = await self._log.look(self._reader, self.changes.position)
        if look.is_entered:
            self._do(look, began)
            if look.latest > self._acknowledged:
                look = replace(look, is_entered=await self._log.acknowledge(self._reader, look.latest))
                self._acknowledged = look.latest
        self._is_entered = look.is_entered
        if self._is_entered:
            self._looked_at = began
            self._memory.trusted_until = began + self._seconds
        return self._is_entered

    def _do(self, look: Look, began: float) -> None:
        is_late = began - self._looked_at > _MISSED_SECONDS
        if is_late or not look.is_whole or look.latest < self.changes.position:
            self._miss(look)
        for change in look.changes:
            if change.number > self.changes.position:
                self.changes.add(change)
                self._counts[change.number] = self._do_to_memory(change)
                if len(self._counts) > _COUNTS:
                    del self._counts[next(iter(self._counts))]
                self._tell(change)

    def _miss(self, look: Look) -> None:
        """Start anew: the log is another one, or has forgotten what this worker had not heard of."""
        if self._looked_at == -math.inf:
            return
        self._memory.clear()
        self.changes.forget_all(look.latest)
        self._tell(None)

    def _tell(self, change: Change | None) -> None:
        for follower in self._followers:
            follower(change)

    def _do_to_memory(self, change: Change) -> int:
        meant = self._memory.select(change.selector)
        for entry in meant:
            if change.kind is Kind.PURGE:
                self._memory.remove(entry.digest)
            else:
                change.does_to(entry)
        return len(meant)

    # Changing.

    async def change(self, kind: Kind, selector: Selector) -> Changed:
        """Change what is meant in every worker; it is done when this returns.

        Raises StoreFault: nothing has been done, or nobody knows. Raises Unconfirmed: it will be done wherever the log
        is heard, but this is not known of all.
        """
        change = Change(kind, selector, self._now())
        number = await self._log.append(change)
        written_at = elapsed()
        try:
            is_heard = await self._look()
            stored = await self._do_to_level(change)
            is_heard = await self._heard(number, written_at) and (is_heard or await self._look())
        except StoreFault as fault:
            raise _unconfirmed("storage was lost meanwhile") from fault
        if not is_heard:
            raise _unconfirmed("a worker does not answer")
        return Changed(self._counts.get(number, 0), stored)

    async def _do_to_level(self, change: Change) -> int:
        level, selector = self._level, change.selector
        if level is None:
            return 0
        match change.kind:
            case Kind.PURGE:
                return await level.remove(selector)
            case Kind.EXPIRE:
                return await level.expire(selector, change.at)
            case Kind.PIN | Kind.UNPIN:
                assert selector.digest is not None
                await level.pin(selector.digest, is_pinned=change.kind is Kind.PIN)
                return 1

    async def _heard(self, number: int, written_at: float) -> bool:
        """Wait until everybody has heard, or serves nothing from memory."""
        pause = _SHORTEST_PAUSE
        while behind := await self._log.behind(number):
            longest = max(behind) + _SLACK_SECONDS
            now = elapsed()
            if now > written_at + longest:
                await self._log.strike(number)
                return True
            if now > written_at + _LONGEST_WAIT_SECONDS:
                return False
            await asyncio.sleep(min(pause, max(0.0, written_at + longest - now) + 0.001))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True


def _is_down(fault: BaseException | None) -> bool:
    """Whether the server of the log is not running, as its own host says; nothing is known where it just is silent."""
    while fault is not None:
        if isinstance(fault, ConnectionRefusedError | FileNotFoundError):
            return True
        fault = fault.__cause__ or fault.__context__
    return False


def _unconfirmed(why: str) -> Unconfirmed:
    return Unconfirmed(
        f"It is written down, and is done wherever that is heard of, but this is not known of all: {why}. "
        "Doing it again does no harm.",
        code="purge_unconfirmed",
        headers=((b"retry-after", b"5"),),
    )


def selected(memory: MemoryCache, stored: Sequence[Entry], selector: Selector) -> list[Entry]:
    """Return the entries of both levels that are meant, newest first, each once."""
    found = {entry.digest: entry for entry in stored}
    for entry in memory.select(selector):
        found.setdefault(entry.digest, entry)
    return sorted(found.values(), key=lambda entry: entry.stored_at, reverse=True)
