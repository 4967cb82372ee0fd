"""Who misses everywhere asks the other processes whether one of them is asking the upstream already: lead or follow.

    miss --claim--> lead: ask the upstream; others may follow
              |---> follow: record what the leader tells
              `---> alone: the place is slow or gone

A follower whose leader is gone claims again as long as its clients were shown nothing; afterwards their streams break.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, Protocol

from antiphon.cache.key import CacheKey
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.flights.following import Boarding, Following, leave
from antiphon.engine.flights.leading import Leading
from antiphon.engine.flights.publishing import LEASE_SECONDS, new_epoch
from antiphon.engine.live import LiveRecording
from antiphon.engine.refusals import internal_error
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Owner, Turn
from antiphon.ports.flights import Claim, Flights
from antiphon.recording.telling import Opening
from antiphon.wire.errors import StoreFault, UpstreamFault

_log = logging.getLogger(__name__)

_REST_SECONDS: Final = 1.0
"""How long a place that did not answer in time is not asked again."""


class Producer(Protocol):
    """What is done here with live recordings: see `Producing`."""

    def ask(self, turn: Turn, live: LiveRecording, source: Source) -> None:
        """Ask the upstream for it."""

    def follow(self, turn: Turn, live: LiveRecording) -> None:
        """Note that somebody else pays for it."""

    def relabel(self, live: LiveRecording, opening: Opening) -> None:
        """Let it begin as somebody else's."""

    def take_back(self, turn: Turn, live: LiveRecording, key: CacheKey) -> Sequence[Turn]:
        """Take the turns away from it that were shown nothing, and return them."""


class Sharing:
    """Equal requests in flight in all processes."""

    def __init__(
        self,
        place: Flights,
        producer: Producer,
        memory: MemoryCache,
        tasks: Tasks,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        *,
        timeout: float,
        max_bytes: int,
    ) -> None:
        """Share in `place` answers of up to `max_bytes`; nobody waits longer than `timeout` seconds for a claim."""
        self._place = place
        self._producer = producer
        self._tasks = tasks
        self._clock = clock
        self._timeout = timeout
        self._rests_until = 0.0
        self._leading = Leading(place, memory, tasks, clock, wall_clock, max_bytes=max_bytes)
        self._following = Following(place, tasks, clock, relabel=producer.relabel, lost=self._lost)
        self.look_again: Callable[[Sequence[Turn], Source, CacheKey], None] | None = None
        """Answers turns whose leader is gone: perhaps it has left an answer in the cache."""
        self.alone = 0
        """How often the place did not answer in time."""

    @property
    def led(self) -> int:
        """How many flights this process leads."""
        return len(self._leading)

    @property
    def followed(self) -> int:
        """How many flights this process follows."""
        return len(self._following)

    def start(self) -> None:
        """Begin to hear of the others."""
        self._tasks.start(self._place.listen(self._moved), "hear of flights")
        self._tasks.start(self._leading.keep(), "lead flights")
        self._tasks.start(self._following.follow(), "follow flights")

    async def close(self) -> None:
        """Let all flights go: who follows asks for itself."""
        await self._leading.close()

    def depart(self, turn: Turn, live: LiveRecording, source: Source, key: CacheKey) -> None:
        """Ask the upstream, or let `live` follow whoever does."""
        if turn.controls.max_age is not None or turn.controls.min_fresh:
            # It wants what is made now, and a flight may be over.
            self._producer.ask(turn, live, source)
            return
        flight = flight_of(turn.ask.owner, key, turn.era)
        if self._leading.again(flight, live, key) or self._clock() < self._rests_until:
            self._producer.ask(turn, live, source)
            return
        self._tasks.start(
            self._claim(Claim(flight, new_epoch()), Boarding(turn, live, source, key)),
            f"claim for {turn.request_id.decode()}",
            on_death=lambda: live.fail(internal_error()),
        )

    def ended(self, live: LiveRecording) -> None:
        """A live recording has ended."""
        self._leading.ended(live)

    async def _claim(self, claim: Claim, boarding: Boarding) -> None:
        turn, live, source = boarding.turn, boarding.live, boarding.source
        # Led from now on, as far as this process knows: a claim may be granted of which nobody hears.
        self._leading.begin(claim, live, boarding.key)
        gone = is_answered = False

        def go() -> None:
            nonlocal gone
            gone = True
            if live.recording.is_live:
                self._producer.ask(turn, live, source)

        loop = asyncio.get_running_loop()

        def be_late() -> None:
            # After what has come meanwhile: if this process was late itself, the place is not.
            loop.call_soon(lambda: loop.call_soon(give_up))

        def give_up() -> None:
            if not is_answered and not gone:
                self._go_alone(go)

        timer = loop.call_later(self._timeout, be_late)
        try:
            epoch = await self._place.claim(claim, LEASE_SECONDS)
        except StoreFault:
            if not gone:
                self._go_alone(go)
            return
        finally:
            is_answered = True
            timer.cancel()
        if epoch is None:
            if not gone:
                go()
            return
        followed = Claim(claim.flight, epoch)
        self._leading.forget(live)
        if gone or not live.recording.is_live:
            await leave(self._place, followed)
            return
        self._producer.follow(turn, live)
        self._following.begin(followed, boarding)

    def _go_alone(self, go: Callable[[], None]) -> None:
        self.alone += 1
        self._rests_until = self._clock() + _REST_SECONDS
        go()

    def _moved(self, flight: bytes | None) -> None:
        self._leading.hint(flight)
        self._following.hint(flight)

    def _lost(self, boarding: Boarding) -> None:
        """The leader is gone: whose clients were shown nothing begins anew, the others are told that it broke off."""
        turn, live, source, key = boarding.turn, boarding.live, boarding.source, boarding.key
        turns = self._producer.take_back(turn, live, key)
        if live.listeners:
            live.broken(UpstreamFault(_BROKEN_OFF, code="upstream_truncated"))
        if not turns:
            return
        assert self.look_again is not None
        self.look_again(turns, source, key)


_BROKEN_OFF: Final = "The answer broke off: the gateway that had asked for it is gone."


def flight_of(owner: Owner, key: CacheKey, era: int = 0) -> bytes:
    """Return what equal requests of one owner have in common: those after a purge share nothing with those before."""
    told = len(owner.name).to_bytes(4) + owner.name.encode() + era.to_bytes(8)
    return sha256(told + key.identity).digest()
