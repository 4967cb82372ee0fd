"""Refreshing entries that have expired and were given all the same: one turn for each, whose client nobody is.

A refresh that fails leaves the entry as it was, and is not tried again for a while.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from antiphon.cache.controls import MOST_TAGS, PLAIN
from antiphon.cache.entry import Entry, Verdict, judge
from antiphon.cache.key import CacheKey
from antiphon.engine.inner import InnerReply
from antiphon.engine.live import LiveRecording
from antiphon.engine.producing import Producing
from antiphon.engine.refusals import internal_error
from antiphon.engine.shelving import Shelves
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn, mint_response_id

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 100
_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_MOST_FAILED: Final = 10_000


Send = Callable[[Turn, LiveRecording, Source], None]
"""Asks the upstream for a turn."""


class Refreshing:
    """All refreshes of this process."""

    def __init__(
        self,
        shelves: Shelves,
        producing: Producing,
        tasks: Tasks,
        *,
        wall_clock: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put fresh entries on `shelves`; `clock` is monotonic."""
        self._shelves = shelves
        self._producing = producing
        self._tasks = tasks
        self._now = wall_clock
        self._clock = clock
        self._under_way: set[bytes] = set()
        self._failed: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        """By digest: the last pause, and when it is over."""

    @property
    def count(self) -> int:
        """How many go on."""
        return len(self._under_way)

    def refresh(self, turn: Turn, entry: Entry, source: Source, key: CacheKey, send: Send) -> None:
        """Fetch by `send` a fresh answer to what `turn` has asked, unless that is done already or has failed just now."""
        digest = key.digest
        if digest in self._under_way or len(self._under_way) >= _AT_ONCE:
            return
        if digest in self._failed and self._clock() < self._failed[digest][1]:
            return
        self._under_way.add(digest)
        self._tasks.start(
            self._refresh(turn, entry, source, key, send), f"refresh {turn.request_id.decode()}"
        )

    async def _refresh(self, turn: Turn, entry: Entry, source: Source, key: CacheKey, send: Send) -> None:
        try:
            if await self._is_done_elsewhere(entry, key) or self._producing.flight(turn, key) is not None:
                return
            refreshing = self._turn(turn, entry, key)
            live = self._producing.begin(refreshing, source, key, shared=True)
            live.spare = entry
            try:
                send(refreshing, live, source)
            except BaseException:
                live.fail(internal_error())
                raise
            assert isinstance(refreshing.reply, InnerReply)
            await refreshing.reply.over()
            self._note(key.digest, live)
        finally:
            self._under_way.discard(key.digest)

    async def _is_done_elsewhere(self, entry: Entry, key: CacheKey) -> bool:
        """Whether another process has put a fresh entry into the second level; it is taken into memory then."""
        level = self._shelves.level
        if level is None or not level.may_hold(key.digest):
            return False
        found = await level.get(key.digest)
        if found is None or found.identity != key.identity or found.stored_at <= entry.stored_at:
            return False
        if judge(found, PLAIN, self._now()) is not Verdict.HIT:
            return False
        held = self._shelves.memory.get(key.digest, key.identity)
        if held is None or held.stored_at < found.stored_at:
            self._shelves.memory.put(found)
        return True

    def _turn(self, turn: Turn, entry: Entry, key: CacheKey) -> Turn:
        """Return the turn that asks again; what it is answered is kept for nobody but the cache."""
        made = Turn(turn.ask, turn.request_id + b"-refresh", InnerReply(), self._clock())
        made.response_id = mint_response_id() if turn.response_id else b""
        made.is_kept_upstream, made.is_for_chains = turn.is_kept_upstream, turn.is_for_chains
        made.context, made.key = turn.context, key
        made.result, made.detail = "refresh", Verdict.STALE.value
        tags = tuple(dict.fromkeys((*turn.controls.tags, *entry.tags)))[:MOST_TAGS]
        made.controls = replace(PLAIN, ttl=turn.controls.ttl, tags=tags)
        return made

    def _note(self, digest: bytes, live: LiveRecording) -> None:
        if live.is_followed:
            return  # another process asks, and notes how that went
        if live.stored:
            self._failed.pop(digest, None)
            return
        pause = min(2 * self._failed.get(digest, (_PAUSE_SECONDS / 2, 0.0))[0], _LONGEST_PAUSE_SECONDS)
        self._failed[digest] = (pause, self._clock() + pause)
        self._failed.move_to_end(digest)
        if len(self._failed) > _MOST_FAILED:
            self._failed.popitem(last=False)
        _log.warning(
            "an expired answer of %s/%s could not be refreshed (%s); it is not tried again for %d seconds",
            live.recording.provider,
            live.recording.model,
            live.recording.outcome.reason or live.recording.outcome.state.value,
            pause,
        )
