"""The flights that this process follows: what their leaders tell is recorded once more, for the clients here."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.cache.key import CacheKey
from antiphon.engine.flights.publishing import LEASE_SECONDS
from antiphon.engine.live import LiveRecording
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.engine.waking import woken
from antiphon.ports.flights import Claim, Flights, Page, Wanted
from antiphon.recording import Mode
from antiphon.recording.telling import Opening, Over, Part, read_piece
from antiphon.wire.errors import StoreFault, UpstreamFault

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = LEASE_SECONDS / 4
"""How often the place is looked into even if no hint comes."""
_MOST_PIECES: Final = 16
_TRUST_SECONDS: Final = LEASE_SECONDS + 1.0
"""How long a place that says nothing is waited for, so that a stream need not break off."""
_UNTOLD_TRUST_SECONDS: Final = 1.0
"""How long if nothing was told yet."""


@dataclass(frozen=True, slots=True)
class Boarding:
    """What is needed to ask the upstream for a turn after all."""

    turn: Turn
    live: LiveRecording
    source: Source
    key: CacheKey


@dataclass(slots=True, eq=False)
class Feed:
    """A flight that is followed; the `ports.upstream.Call` of its live recording."""

    claim: Claim
    boarding: Boarding
    on_cancel: Callable[["Feed"], None]
    heard_at: float
    """When the place said last that there is a leader."""
    position: int = 0
    is_hinted: bool = True
    is_paused: bool = False
    on_resume: Callable[[], None] = field(default=lambda: None)

    def cancel(self) -> None:
        """Follow no more."""
        self.on_cancel(self)

    def pause(self) -> None:
        """Take no more for now."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on."""
        self.is_paused, self.is_hinted = False, True
        self.on_resume()


class Following:
    """All flights that this process follows."""

    def __init__(
        self,
        place: Flights,
        tasks: Tasks,
        clock: Callable[[], float],
        *,
        relabel: Callable[[LiveRecording, Opening], None],
        lost: Callable[[Boarding], None],
    ) -> None:
        """Read from `place`.

        `relabel` makes a live recording the same as its leader's before it begins, and `lost` is told of those whose
        leader is gone.
        """
        self._place = place
        self._tasks = tasks
        self._clock = clock
        self._relabel = relabel
        self._lost = lost
        self._feeds: dict[bytes, Feed] = {}
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._feeds)

    def begin(self, claim: Claim, boarding: Boarding) -> None:
        """Let a live recording be fed by whoever leads in this epoch."""
        feed = Feed(claim, boarding, self._cancelled, self._clock(), on_resume=self._wanted.set)
        self._feeds[claim.flight] = feed
        boarding.live.started(feed)
        self._wanted.set()

    def hint(self, flight: bytes | None) -> None:
        """A flight has moved on; None: it may be any."""
        meant = self._feeds.values() if flight is None else filter(None, [self._feeds.get(flight)])
        for feed in meant:
            feed.is_hinted = True
            self._wanted.set()

    async def follow(self) -> None:
        """Let the recordings grow, for ever."""
        while True:
            await woken(self._wanted, _LOOK_SECONDS / 2 if self._feeds else None)
            await self._look()

    async def _look(self) -> None:
        now = self._clock()
        due = [
            feed
            for feed in self._feeds.values()
            if (feed.is_hinted and not feed.is_paused) or now - feed.heard_at >= _LOOK_SECONDS
        ]
        if not due:
            return
        wanted = [Wanted(feed.claim, feed.position, 0 if feed.is_paused else _MOST_PIECES) for feed in due]
        for feed in due:
            feed.is_hinted = False
        try:
            pages = await self._place.read(wanted)
        except StoreFault as fault:
            self._not_heard(due, fault)
            await asyncio.sleep(_LOOK_SECONDS / 4)
            return
        for feed, asked, page in zip(due, wanted, pages, strict=True):
            if self._feeds.get(feed.claim.flight) is feed:
                self._take(feed, page, asked.most)

    def _not_heard(self, feeds: list[Feed], fault: StoreFault) -> None:
        _log.warning("flights of other processes cannot be followed: %s", fault.message)
        now = self._clock()
        for feed in feeds:
            patience = _TRUST_SECONDS if feed.position else _UNTOLD_TRUST_SECONDS
            if now - feed.heard_at > patience and self._feeds.get(feed.claim.flight) is feed:
                self._give_up(feed)

    def _take(self, feed: Feed, page: Page, most: int) -> None:
        if page.is_led:
            feed.heard_at = self._clock()
        for data in page.pieces:
            feed.position += 1
            try:
                is_over = self._say(feed, data)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                _log.warning("the leader of a flight is not understood: %s", error)
                self._give_up(feed)
                return
            if is_over or self._feeds.get(feed.claim.flight) is not feed:
                return
        if len(page.pieces) == most > 0:
            feed.is_hinted = True
            self._wanted.set()
        elif not page.is_led and most > 0:
            self._give_up(feed)

    def _say(self, feed: Feed, data: bytes) -> bool:
        """Record a piece; returns whether it was the last one."""
        live = feed.boarding.live
        piece = read_piece(data)
        if isinstance(piece, Opening):
            self._relabel(live, piece)
        elif isinstance(piece, Part):
            if piece.times and live.recording.mode is Mode.STREAM:
                live.frames(piece.frames, piece.times)
            else:
                live.data(b"".join(piece.frames))
        else:
            self._forget(feed)
            self._end(live, piece)
        return isinstance(piece, Over)

    @staticmethod
    def _end(live: LiveRecording, over: Over) -> None:
        live.stored = over.is_stored
        if over.fault is None:
            live.end()
            return
        message, code, status = over.fault
        live.broken(UpstreamFault(message, code=code, status=status))

    def _give_up(self, feed: Feed) -> None:
        self._forget(feed)
        self._lost(feed.boarding)

    def _forget(self, feed: Feed) -> None:
        if self._feeds.get(feed.claim.flight) is feed:
            del self._feeds[feed.claim.flight]

    def _cancelled(self, feed: Feed) -> None:
        self._forget(feed)
        self._tasks.start(leave(self._place, feed.claim), "leave a flight")


async def leave(place: Flights, claim: Claim) -> None:
    """Follow no more; the leader hears of it, at once or after a while."""
    with contextlib.suppress(StoreFault):
        await place.leave(claim)
