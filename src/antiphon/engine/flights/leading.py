"""The flights that this process leads: kept as long as their answers are made, told to others as soon as some follow.

An answer that was stored is led until its lease runs out: who comes before it is found in the second level follows what
is complete. So most flights cost one claim and no more.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from antiphon.cache.key import CacheKey
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.flights.publishing import LEASE_SECONDS, Publisher, may_be_told
from antiphon.engine.live import LiveRecording
from antiphon.engine.tasks import Tasks
from antiphon.engine.waking import woken
from antiphon.ports.flights import Claim, Flights, Standing
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_RENEW_SECONDS: Final = LEASE_SECONDS / 4
_GATHER_SECONDS: Final = 0.01
"""Between two looks at all flights, however many hints come."""
_CLOSE_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False)
class Lead:
    """A flight that is led."""

    claim: Claim
    live: LiveRecording
    key: CacheKey
    renewed_at: float
    is_over: bool = False
    """Whether its answer has ended."""
    publisher: Publisher | None = None
    is_hinted: bool = False
    """Whether somebody has perhaps begun to follow, or left."""
    is_given_up: bool = False
    """Whether it is to be let go whoever follows."""


class Leading:
    """All flights that this process leads."""

    def __init__(
        self,
        place: Flights,
        memory: MemoryCache,
        tasks: Tasks,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        *,
        max_bytes: int,
    ) -> None:
        """Lead in `place`, and tell up to `max_bytes` of an answer there; `clock` is monotonic."""
        self._place = place
        self._memory = memory
        self._tasks = tasks
        self._clock = clock
        self._now = wall_clock
        self._max_bytes = max_bytes
        self._leads: dict[bytes, Lead] = {}
        self._by_live: dict[LiveRecording, Lead] = {}
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._leads)

    def begin(self, claim: Claim, live: LiveRecording, key: CacheKey) -> None:
        """Lead what was claimed just now, or perhaps."""
        lead = Lead(claim, live, key, self._clock())
        self._leads[claim.flight] = lead
        self._by_live[live] = lead
        if len(self._leads) == 1:
            self._wanted.set()

    def again(self, flight: bytes, live: LiveRecording, key: CacheKey) -> bool:
        """Lead a flight with another answer, if it is still led here and nobody is told of the one before."""
        lead = self._leads.get(flight)
        if lead is None or not lead.is_over or lead.publisher is not None or lead.is_given_up:
            return False
        lead.live, lead.key, lead.is_over = live, key, False
        lead.is_hinted = True
        self._wanted.set()
        self._by_live[live] = lead
        return True

    def forget(self, live: LiveRecording) -> None:
        """Somebody else leads it."""
        lead = self._by_live.pop(live, None)
        if lead is not None and self._leads.get(lead.claim.flight) is lead:
            del self._leads[lead.claim.flight]

    def ended(self, live: LiveRecording) -> None:
        """The answer is complete, or there will be none."""
        lead = self._by_live.pop(live, None)
        if lead is None:
            return
        lead.is_given_up = lead.is_given_up or not may_be_told(live)
        lead.is_over = True
        if lead.publisher is not None:
            lead.publisher.on_end()  # also where it listens no more, since nobody follows
        if not live.stored:
            self._wanted.set()

    def hint(self, flight: bytes | None) -> None:
        """Somebody has begun to follow this flight, or has left; None: it may be any."""
        meant = self._leads.values() if flight is None else filter(None, [self._leads.get(flight)])
        for lead in meant:
            lead.is_hinted = True
            self._wanted.set()

    async def keep(self) -> None:
        """Prolong, tell and let go, for ever."""
        while True:
            await woken(self._wanted, _RENEW_SECONDS / 2 if self._leads else None)
            try:
                await self._renew()
                await self._let_go()
            except StoreFault as fault:
                _log.warning("flights are not shared with other processes: %s", fault.message)
                self._drop_unheld()
                await asyncio.sleep(_RENEW_SECONDS)
            await asyncio.sleep(_GATHER_SECONDS)

    def _drop_unheld(self) -> None:
        """Forget what is over, and is let go by its lease as well."""
        for lead in tuple(self._leads.values()):
            if lead.is_over and lead.publisher is None and self._clock() > lead.renewed_at + LEASE_SECONDS:
                self._drop(lead)

    async def close(self) -> None:
        """Let everything go, so that those who follow do not wait for the lease."""
        held = [lead.claim for lead in self._leads.values()]
        if not held:
            return
        with contextlib.suppress(StoreFault, TimeoutError):  # then their leases run out
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._place.release(held, even_if_followed=True)

    async def _renew(self) -> None:
        now = self._clock()
        due = [
            lead
            for lead in self._leads.values()
            if lead.is_hinted or (now - lead.renewed_at >= _RENEW_SECONDS and not lead.is_over)
        ]
        if not due:
            return
        for lead in due:
            lead.is_hinted, lead.renewed_at = False, now
        claims = [lead.claim for lead in due]
        standings = await self._place.renew(claims, LEASE_SECONDS)
        self._stand(due, claims, standings)

    def _stand(self, leads: Sequence[Lead], claims: Sequence[Claim], standings: Sequence[Standing]) -> None:
        for lead, claim, standing in zip(leads, claims, standings, strict=True):
            if lead.claim != claim or self._leads.get(claim.flight) is not lead:
                continue  # it has moved on while the server was asked
            if standing is Standing.LOST:
                self._drop(lead)
            elif standing is Standing.FOLLOWED:
                self._tell(lead)
            elif lead.publisher is not None:
                lead.publisher.leave()

    def _drop(self, lead: Lead) -> None:
        if self._leads.get(lead.claim.flight) is lead:
            del self._leads[lead.claim.flight]
        if self._by_live.get(lead.live) is lead:
            del self._by_live[lead.live]
        if lead.publisher is not None:
            lead.publisher.leave()

    def _tell(self, lead: Lead) -> None:
        """Tell an answer to those who follow, from its beginning."""
        if lead.publisher is not None:
            lead.publisher.attend()
            return
        if lead.is_over and not self._may_still_be_told(lead):
            lead.is_given_up = True
            self._wanted.set()
            return
        publisher = Publisher(
            lead.live, lead.claim, self._place, max_bytes=self._max_bytes, clock=self._clock
        )
        lead.publisher = publisher
        self._tasks.start(self._publish(lead, publisher), "tell an answer to other processes")

    def _may_still_be_told(self, lead: Lead) -> bool:
        """Whether an answer that has ended is what an equal request gets: it may have been purged, or expired."""
        if not may_be_told(lead.live):
            return False
        if not lead.live.stored:
            return True
        if lead.live.parts:
            return all(part.is_current and part.expires_at > self._now() for part in lead.live.parts)
        entry = self._memory.get(lead.key.digest, lead.key.identity)
        is_there = entry is not None and entry.recording is lead.live.recording
        return is_there and entry is not None and entry.expires_at > self._now()

    async def _publish(self, lead: Lead, publisher: Publisher) -> None:
        is_told = await publisher.run()
        lead.publisher = None
        lead.claim, lead.renewed_at = publisher.claim, self._clock()
        lead.is_given_up = lead.is_given_up or not is_told
        publisher.leave()
        self._wanted.set()

    async def _let_go(self) -> None:
        self._drop_unheld()
        silent = [lead for lead in self._leads.values() if lead.publisher is None]
        await self._release([lead for lead in silent if lead.is_given_up], even_if_followed=True)
        over = [lead for lead in silent if lead.is_over and not lead.live.stored and not lead.is_given_up]
        await self._release(over, even_if_followed=False)

    async def _release(self, leads: Sequence[Lead], *, even_if_followed: bool) -> None:
        if not leads:
            return
        claims = [lead.claim for lead in leads]
        standings = await self._place.release(claims, even_if_followed=even_if_followed)
        for lead, standing in zip(leads, standings, strict=True):
            if standing is Standing.FOLLOWED:
                self._tell(lead)
            else:
                self._drop(lead)
