"""Replaying a complete recording from the cache, in the form that was asked for."""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from antiphon.cache.controls import PLAIN
from antiphon.cache.entry import Entry
from antiphon.cache.key import CacheKey
from antiphon.cache.status import hit_headers, semantic_hit_headers
from antiphon.dialects.native import changed_echo
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.answers import CLIENT_CLOSED, Ending, OnEnding
from antiphon.engine.changing import Changing
from antiphon.engine.keeper import Keeper
from antiphon.engine.rendition import Header, Rendition, render
from antiphon.engine.turn import Ask, Turn, mint_response_id
from antiphon.ports.reply import Reply
from antiphon.recording import Mode, Recording
from antiphon.recording.pace import INSTANT, Pace
from antiphon.wire.errors import GatewayError
from antiphon.wire.sse import FrameReader

_log = logging.getLogger(__name__)

_WHOLE_BYTES = 256 * 1024
_SLICE_BYTES = 128 * 1024
_STANDS_IN = b"stale-if-error"
_PINNED = b"pinned"


@dataclass(frozen=True, slots=True)
class _Noted:
    """What a request turned out to mean and what its answer needs, for when the same bytes come again."""

    ask: Ask
    key: CacheKey
    rendition: Rendition
    has_id: bool
    keeps: bool
    echoed: dict[str, bytes]


class Replaying:
    """Answers turns from cache entries."""

    def __init__(
        self,
        *,
        memory: MemoryCache,
        changing: Changing | None = None,
        original_ids: bool,
        keeper: Keeper,
        on_ending: OnEnding,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """Give answers to `keeper`; `original_ids`: they carry the id of the first one instead of one of their own."""
        self._memory = memory
        self._changing = changing
        self._original_ids = original_ids
        self._keeper = keeper
        self._on_ending = on_ending
        self._now = wall_clock
        self._clock = clock

    def repeat(self, shortcut_key: Hashable, request_id: bytes, reply: Reply, received_at: float) -> bool:
        """Answer a request whose bytes were seen before; False if it has to be looked at."""
        shortcut = self._memory.shortcut(shortcut_key)
        if shortcut is None:
            return False
        entry, noted = shortcut.entry, shortcut.value
        assert isinstance(noted, _Noted)
        now = self._now()
        if entry.expires_at <= now:
            return False
        turn = Turn(noted.ask, request_id, reply, received_at)
        turn.key = noted.key
        if noted.has_id:
            if noted.keeps and self._keeper.is_full:
                return False
            turn.response_id = mint_response_id()
            turn.keeps = noted.keeps
        self._replay(turn, entry, noted.rendition, noted.echoed, INSTANT, now)
        return True

    def hit(
        self,
        turn: Turn,
        entry: Entry,
        pace: Pace,
        shortcut_key: Hashable | None = None,
        *,
        failure: str | None = None,
    ) -> bool:
        """Replay an entry; False if it cannot be read, which is a miss.

        `failure` is the code of the upstream's failure for which the entry stands in.
        """
        # What is in memory is changed there; what was only read, or taken out since, is looked at again.
        changing = None if entry.is_current else self._changing
        if changing is not None and not changing.serves(entry, turn.as_of):
            return False
        ask = turn.ask
        rendition = entry.renditions.get(ask.asked)
        if rendition is None:
            try:
                rendition = render(entry.recording, ask.dialect, ask.asked)
            except (ValueError, GatewayError) as error:
                _log.warning("a cache entry cannot be read and counts as a miss: %s", error)
                self._memory.remove(entry.digest)
                return False
            self._memory.add_rendition(entry, ask.asked, rendition, rendition.size)
        assert isinstance(rendition, Rendition)
        echoed = changed_echo(ask.request.echo, entry.echo)
        if shortcut_key is not None and turn.key is not None and turn.controls is PLAIN:
            noted = _Noted(ask, turn.key, rendition, bool(turn.response_id), turn.keeps, echoed)
            self._memory.add_shortcut(shortcut_key, entry, noted, len(ask.request.body))
        self._replay(turn, entry, rendition, echoed, pace, self._now(), failure)
        return True

    def _replay(
        self,
        turn: Turn,
        entry: Entry,
        rendition: Rendition,
        echoed: dict[str, bytes],
        pace: Pace,
        now: float,
        failure: str | None = None,
    ) -> None:
        remaining = entry.expires_at - now
        turn.result, turn.pays, turn.entry = "hit" if remaining > 0 else "stale", False, entry
        if turn.similarity:
            turn.result = "semantic"
        turn.first_byte_at = self._clock()
        body = rendition.body
        if not isinstance(body, bytes):
            # What the provider keeps itself is replayed under its own id.
            created_at = int(now) if turn.response_id else None
            if self._original_ids and entry.public_id:
                turn.response_id, created_at = entry.public_id.encode(), None
            if turn.keeps:
                self._keeper.keep(turn, entry.recording, entry.echo, created_at)
            body = rendition.fill(turn.response_id, created_at, echoed)
        headers = (
            *rendition.headers,
            (b"x-request-id", turn.request_id),
            *(
                hit_headers(
                    entry.shown_key, now - entry.stored_at, remaining, _detail(entry, remaining, failure)
                )
                if not turn.similarity
                else semantic_hit_headers(entry.shown_key, now - entry.stored_at, remaining, turn.similarity)
            ),
        )
        replay = Replay(turn, entry.recording, self._on_ending, failure)
        turn.reply.watch(replay)
        if turn.keeping is None:
            replay.begin(headers, body, rendition, pace)
        else:
            turn.keeping.then(partial(replay.begin, headers, body, rendition, pace))


class Replay:
    """One replay; the watcher of its reply."""

    __slots__ = (
        "_body",
        "_due",
        "_failure",
        "_frames",
        "_is_gone",
        "_on_ending",
        "_position",
        "_recording",
        "_timer",
        "_turn",
    )

    def __init__(
        self, turn: Turn, recording: Recording, on_ending: OnEnding, failure: str | None = None
    ) -> None:
        """Answer `turn`, in the place of an upstream that has failed with `failure`."""
        self._failure = failure
        self._turn = turn
        self._recording = recording
        self._on_ending = on_ending
        self._is_gone = False
        self._body: memoryview | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, headers: tuple[Header, ...], body: bytes, rendition: Rendition, pace: Pace) -> None:
        """Send it, unless the client has left meanwhile: everything now, or each frame when it is due."""
        if self._is_gone:
            return
        if pace is INSTANT or self._turn.ask.asked.mode is Mode.JSON:
            self._at_once(headers, body)
        else:
            self._at_pace(headers, body, rendition, pace)

    def _at_once(self, headers: tuple[Header, ...], body: bytes) -> None:
        """Send everything now, as fast as the client reads."""
        if len(body) <= _WHOLE_BYTES:
            self._turn.reply.send(200, headers, body)
            return
        self._turn.reply.start(200, headers, len(body))
        self._body = memoryview(body)
        self._position = 0
        self._pump()

    def _at_pace(self, headers: tuple[Header, ...], body: bytes, rendition: Rendition, pace: Pace) -> None:
        """Send frame by frame, each when it is due."""
        reader = FrameReader(len(body))
        self._frames = [frame for frame in (*reader.feed(body), reader.close()) if frame]
        self._due = [pace.due(rendition.times, index) for index in range(len(self._frames))]
        self._position = 0
        self._turn.reply.start(200, headers)
        loop = asyncio.get_running_loop()
        self._send_due(loop, loop.time())

    def on_writable(self) -> None:
        """Go on where the client's slowness had stopped us."""
        if self._body is not None:
            self._pump()

    def on_sent(self) -> None:
        """The replay was consumed."""
        failure = self._failure
        ending = _CONSUMED if failure is None else Ending(200, sent=True, error=failure)
        self._on_ending(self._turn, self._recording, ending)

    def on_gone(self) -> None:
        """The client has left before the end."""
        self._is_gone = True
        if self._timer is not None:
            self._timer.cancel()
        self._on_ending(self._turn, self._recording, _LEFT)

    def _pump(self) -> None:
        reply, body = self._turn.reply, self._body
        assert body is not None
        while self._position < len(body) and not reply.congested:
            reply.write(bytes(body[self._position : self._position + _SLICE_BYTES]))
            self._position += _SLICE_BYTES
        if self._position >= len(body):
            self._body = None
            reply.end()

    def _send_due(self, loop: asyncio.AbstractEventLoop, started: float) -> None:
        # A slow client holds up no more than the frames that are held anyway.
        reply = self._turn.reply
        elapsed = loop.time() - started
        while self._position < len(self._frames) and self._due[self._position] <= elapsed:
            reply.write(self._frames[self._position])
            self._position += 1
        if self._position == len(self._frames):
            reply.end()
        else:
            self._timer = loop.call_at(started + self._due[self._position], self._send_due, loop, started)


_CONSUMED = Ending(200, sent=True)
_LEFT = Ending(CLIENT_CLOSED, sent=False, error="client_left")


def _detail(entry: Entry, remaining: float, failure: str | None) -> bytes:
    """Say why something is a hit that has expired, where nobody has asked for it."""
    if failure:
        return _STANDS_IN
    return _PINNED if entry.is_pinned and remaining <= 0 else b""
