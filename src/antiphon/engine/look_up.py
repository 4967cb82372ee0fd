"""Looking up what answers a turn: an entry of the cache, a live recording of an equal turn, or its upstream.

A hit in memory is answered in the call that brought the turn. A miss starts the upstream in the same call, unless a
second level of the cache has to be asked first.
"""

from collections.abc import Callable, Mapping, Sequence

from antiphon.cache.entry import Entry, Verdict, judge
from antiphon.cache.key import CacheKey
from antiphon.engine.keeper import Keeper
from antiphon.engine.keying import controls_of, key_of
from antiphon.engine.live import LiveRecording
from antiphon.engine.per_item.per_item import PerItem
from antiphon.engine.producing import Producing
from antiphon.engine.refusals import internal_error, not_cached
from antiphon.engine.replaying import Replaying
from antiphon.engine.semantic.level import SemanticLevel
from antiphon.engine.shelving import Shelves
from antiphon.engine.source import Source
from antiphon.engine.staleness import Staleness, stands_in_on_request
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.ports.stores import CacheLevel
from antiphon.recording.pace import INSTANT, Pace, parse_pace
from antiphon.settings import Cache
from antiphon.wire.errors import StoreFault


class LookUp:
    """Finds or makes the answers of turns."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        cache: Cache | None,
        shelves: Shelves,
        producing: Producing,
        keeper: Keeper,
        staleness: Staleness,
        replaying: Replaying,
        tasks: Tasks,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        semantic: SemanticLevel | None = None,
    ) -> None:
        """Answer from `sources`, or from `shelves`; `semantic` finds what was asked in other words.

        `clock` is monotonic.
        """
        self._per_item = PerItem(
            shelves=shelves,
            staleness=staleness,
            producing=producing,
            replaying=replaying,
            tasks=tasks,
            wall_clock=wall_clock,
            clock=clock,
        )
        self._sources = sources
        self._cache = cache
        self._shelves = shelves
        self._producing = producing
        self._keeper = keeper
        self._staleness = staleness
        self._replaying = replaying
        self._tasks = tasks
        self._now = wall_clock
        self._semantic = semantic
        if producing.sharing is not None:
            producing.sharing.look_again = self._look_again

    def answer(self, turn: Turn, headers: Mapping[bytes, bytes], shortcut_key: object) -> None:
        """Answer a turn from the cache, from a live recording, or from its upstream. Raises GatewayError."""
        source = self._sources[turn.ask.target.provider]
        if turn.keeps and self._keeper.is_full:
            raise StoreFault(
                "Storage takes nothing more at the moment that is to be kept; `store: false` needs none.",
                code="storage_busy",
                headers=((b"retry-after", b"1"),),
            )
        turn.pace = _pace(headers)
        cache = self._cache
        if cache is None:
            self._produce(turn, source, None)
            return
        turn.controls = controls = controls_of(turn, headers, cache)
        key = key_of(turn, source, cache) if controls.write else None
        if controls.bypass is not None or key is None:
            turn.result, turn.detail = "bypass", controls.bypass or ""
            self._ask_meaning(turn, source, key, cache)
            if controls.only_if_cached:
                self._refuse_uncached(turn, source)
            elif turn.items is not None:
                self._per_item.refresh(turn, source)
            elif key is not None and stands_in_on_request(turn):
                self._staleness.produce(turn, source, key)
            else:
                self._produce(turn, source, key)
            return
        turn.key = key
        if turn.items is not None:
            self._per_item.answer(turn, source)
            return
        entry = self._shelves.memory.get(key.digest, key.identity)
        verdict = self._staleness.judge(entry, turn, self._now())
        if (
            entry is not None
            and verdict.answers
            and self._replaying.hit(turn, entry, turn.pace, shortcut_key)
        ):
            if verdict is Verdict.REFRESH:
                self._staleness.refresh(turn, entry, source, key)
            return
        turn.stand_in, turn.entry = self._staleness.stand_in, entry
        turn.result, turn.detail = "miss", verdict.reason
        flight = None if controls.only_if_cached else self._producing.flight(turn, key)
        if flight is not None:
            turn.result = "collapsed"
            self._producing.join(turn, flight)
            return
        self._ask_meaning(turn, source, key, cache)
        level = self._shelves.level
        if level is not None and (level.may_hold(key.digest) or self._may_answer(turn)):
            # Who only takes what is cached leads nobody: its fault would be that of all who had joined.
            live = self._producing.begin(turn, source, key, shared=not controls.only_if_cached)
            live.spare = entry
            self._start_search(turn, live, source, key, level)
        elif controls.only_if_cached:
            self._refuse_uncached(turn, source)
        else:
            self._produce(turn, source, key, shared=True, spare=entry)

    async def foretell(self, turn: Turn, headers: Mapping[bytes, bytes]) -> None:
        """Find out what would be done with `turn`, and do nothing of it. Raises GatewayError."""
        cache = self._cache
        if cache is None:
            return
        turn.controls = controls_of(turn, headers, cache)
        source = self._sources[turn.ask.target.provider]
        key = key_of(turn, source, cache)
        if turn.controls.bypass is not None:
            turn.result, turn.detail = "bypass", turn.controls.bypass
            return
        turn.key = key
        if turn.items is not None:
            await self._per_item.foretell(turn)
            return
        level, now = self._shelves.level, self._now()
        entry = self._shelves.memory.get(key.digest, key.identity)
        verdict = self._staleness.judge(entry, turn, now)
        if not verdict.answers and level is not None and level.may_hold(key.digest):
            found = await level.get(key.digest)
            if found is not None and found.identity == key.identity:
                entry, verdict = found, self._staleness.judge(found, turn, now)
        turn.entry = entry
        if entry is not None and verdict.answers:
            turn.result = "hit" if verdict is Verdict.HIT and entry.expires_at > now else "stale"
            return
        turn.result, turn.detail = "miss", verdict.reason
        if self._producing.flight(turn, key) is not None:
            turn.result = "collapsed"
            return
        self._ask_meaning(turn, source, key, cache)
        if self._semantic is not None and await self._semantic.foretell(turn):
            turn.result, turn.detail = "semantic", ""

    def _ask_meaning(self, turn: Turn, source: Source, key: CacheKey | None, cache: Cache) -> None:
        if self._semantic is not None and key is not None:
            turn.question = self._semantic.question(
                turn, key, lambda members: key_of(turn, source, cache, members)
            )

    def _may_answer(self, turn: Turn) -> bool:
        return self._semantic is not None and self._semantic.may_answer(turn.question)

    def _start_search(
        self, turn: Turn, live: LiveRecording, source: Source, key: CacheKey, level: CacheLevel
    ) -> None:
        self._tasks.start(
            self._search(turn, live, source, key, level),
            f"look up {turn.request_id.decode()}",
            on_death=lambda: live.fail(internal_error()),
        )

    async def _search(
        self, turn: Turn, live: LiveRecording, source: Source, key: CacheKey, level: CacheLevel
    ) -> None:
        """Ask the second level; equal requests that came meanwhile are answered with this one."""
        found = await level.get(key.digest)
        if not live.recording.is_live:
            return  # everybody has left
        live.spare = turn.entry = entry = self._shelves.newest(key, found)
        verdict = self._staleness.judge(entry, turn, self._now())
        if entry is not None and verdict.answers:
            if entry is found:
                self._shelves.memory.put(entry)
            self._answer_all(self._producing.withdraw(turn, live, key), entry, source, key)
            return
        if self._semantic is not None and turn.question is not None and self._may_answer(turn):
            match = await self._semantic.search(turn, turn.question)
            if not live.recording.is_live:
                return
            if match is not None and match.entry is not None:
                waiting = self._producing.withdraw(turn, live, key)
                self._answer_all(waiting, match.entry, source, key, similarity=match.similarity)
                return
        if verdict is not Verdict.MISS:
            turn.detail = verdict.reason
        if turn.controls.only_if_cached:
            live.fail(not_cached())
        else:
            self._send(turn, live, source)

    def _look_again(self, turns: Sequence[Turn], source: Source, key: CacheKey) -> None:
        """Answer turns that had waited for another process together."""
        first, *others = turns
        if first.items is not None:
            for turn in turns:
                self._per_item.answer(turn, source)
            return
        first.result = "miss"
        live = self._producing.begin(first, source, key, shared=True)
        live.spare = first.entry
        for turn in others:
            self._producing.join(turn, live)
        if self._shelves.level is None:
            self._producing.send(first, live, source)
        else:
            self._start_search(first, live, source, key, self._shelves.level)

    def _answer_all(
        self, turns: Sequence[Turn], entry: Entry, source: Source, key: CacheKey, *, similarity: float = 0.0
    ) -> None:
        """Replay `entry` to those who take it, and ask the upstream once for the others.

        With a `similarity` it is the answer to a request in other words: then it has to be fresh, and stands in for nobody.
        """
        live: LiveRecording | None = None
        now = self._now()
        for turn in turns:
            turn.similarity = similarity
            verdict = (
                judge(entry, turn.controls, now) if similarity else self._staleness.judge(entry, turn, now)
            )
            answers = verdict is Verdict.HIT if similarity else verdict.answers
            if answers and self._replaying.hit(turn, entry, turn.pace):
                if verdict is Verdict.REFRESH:
                    self._staleness.refresh(turn, entry, source, key)
                continue
            turn.similarity = 0.0
            if not similarity:
                turn.result, turn.detail = "miss", verdict.reason
            if turn.controls.only_if_cached:
                self._refuse_uncached(turn, source)
            elif live is not None:
                turn.result = "collapsed"
                self._producing.join(turn, live)
            else:
                live = self._producing.begin(turn, source, key, shared=True)
                live.spare = None if similarity else entry
                self._send(turn, live, source)

    def _refuse_uncached(self, turn: Turn, source: Source) -> None:
        self._producing.begin(turn, source, None, shared=False).fail(not_cached())

    def _produce(
        self,
        turn: Turn,
        source: Source,
        key: CacheKey | None,
        *,
        shared: bool = False,
        spare: Entry | None = None,
    ) -> None:
        live = self._producing.begin(turn, source, key, shared=shared)
        live.spare = spare
        self._send(turn, live, source)

    def _send(self, turn: Turn, live: LiveRecording, source: Source) -> None:
        self._producing.send(turn, live, source)
        if self._semantic is not None:
            self._semantic.begin(turn)


def _pace(headers: Mapping[bytes, bytes]) -> Pace:
    text = headers.get(b"x-antiphon-replay")
    return INSTANT if text is None else parse_pace(text.decode("latin-1"))
