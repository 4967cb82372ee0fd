"""Looking for an answer by meaning: only after every exact look-up has missed, and never for longer than is set.

Where nothing is known yet of how alike is alike enough, and in shadow mode always, the upstream is asked at once, and
what would have been served is compared with what it says.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from antiphon.cache.entry import Entry, Verdict, judge
from antiphon.cache.key import CacheKey
from antiphon.cache.semantic.agreement import SAME, normalized, numbers_agree
from antiphon.cache.semantic.facts import read_facts
from antiphon.cache.semantic.gates import refused_by
from antiphon.cache.semantic.learning import pairs_needed
from antiphon.cache.semantic.likeness import likeness
from antiphon.dialects.answer_text import answer_text
from antiphon.dialects.last_text import LastText, NoLastText, last_text
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.rendition import render
from antiphon.engine.semantic.counts import Counts
from antiphon.engine.semantic.embedding import Embedding
from antiphon.engine.semantic.evidence import LearnedThresholds
from antiphon.engine.semantic.question import Match, Question
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Ask, Asked, Owner, Turn
from antiphon.ports.stores import CacheLevel
from antiphon.ports.vectors import Neighbour, Placed, VectorStore
from antiphon.recording import Mode
from antiphon.settings import Semantic
from antiphon.wire.errors import GatewayError, StoreFault

_log = logging.getLogger(__name__)

_NEIGHBOURS: Final = 24
"""Looked at for each request: gates may refuse the nearest."""
_FLOOR: Final = 0.75
"""What is less alike is not even worth a comparison of the answers."""
_REFRESH_SECONDS: Final = 60.0
_LONGEST_ANSWER: Final = 8_000
"""Characters of an answer that is compared by its vector."""
_JSON: Final = Asked(Mode.JSON)

_T = TypeVar("_T")
KeyOf = Callable[[Mapping[str, msgspec.Raw]], CacheKey]
"""The key of the request with other members."""


class SemanticLevel:
    """Finds entries by the meaning of the last user text."""

    def __init__(
        self,
        settings: Semantic,
        *,
        vectors: VectorStore,
        memory: MemoryCache,
        level: CacheLevel,
        tasks: Tasks,
        wall_clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Look in `vectors`, and for the entries in `memory` and `level`; `draw` says which hits are verified."""
        self._settings = settings
        self._vectors = vectors
        self._memory = memory
        self._level = level
        self._tasks = tasks
        self._now = wall_clock
        self._draw = draw
        self._embedding: Embedding | None = None
        fixed = None if isinstance(settings.threshold, str) else settings.threshold
        found_by = settings.embedding_model + ("" if settings.gates else " without gates")
        self.thresholds = LearnedThresholds(vectors, settings.max_error, fixed, found_by, wall_clock)
        self.counts = Counts()

    def start(self, embedding: Embedding) -> None:
        """Begin: `embedding` makes the vectors."""
        self._embedding = embedding
        self._tasks.start(self._keep_learning(), "read what was learned for the semantic cache")

    def close(self) -> None:
        """Make no more vectors."""
        if self._embedding is not None:
            self._embedding.close()

    def question(self, turn: Turn, key: CacheKey, key_of: KeyOf) -> Question | None:
        """Return what is to be looked for; None where the request takes no part."""
        said = self._said(turn)
        if said is None or self._embedding is None:
            return None
        # Vectors of different models have nothing to do with each other.
        model = self._settings.embedding_model.encode()
        target = turn.ask.target
        return Question(
            digest=key.digest,
            partition=key_of(said.rest).digest + model,
            text=said.text,
            scope=key.scope,
            target=f"{target.provider}/{target.model}",
        )

    def may_answer(self, question: Question | None) -> bool:
        """Whether a hit is possible, so that it is worth waiting for the look-up."""
        return (
            question is not None
            and self._settings.mode == "on"
            and self.thresholds.threshold(question.target) is not None
        )

    async def search(self, turn: Turn, question: Question) -> Match | None:
        """Return the entry to be served; None if there is none that is alike enough, or it takes too long."""
        threshold = self.thresholds.threshold(question.target)
        assert threshold is not None
        try:
            async with asyncio.timeout(self._settings.timeout):
                match = await asyncio.shield(self._match(question, turn.ask.owner))
        except TimeoutError:
            self.counts.late += 1
            question.note = "semantic late"
            return None
        if match is None or match.similarity < threshold:
            return None
        if match.entry is None:
            question.note = f"semantic refused {match.refused_by} {match.similarity:.4f}"
            return None
        if judge(match.entry, turn.controls, self._now()) is not Verdict.HIT:
            return None
        if self._draw() < self._settings.verify:
            return None  # the upstream is asked, and the two answers are compared
        self.counts.hits += 1
        return match

    async def foretell(self, turn: Turn) -> bool:
        """Whether a turn would be answered from here; the upstream is not asked, but the embeddings model is."""
        question = turn.question
        if question is None:
            return False
        match = await self._match(question, turn.ask.owner)
        threshold = self.thresholds.threshold(question.target)
        return (
            match is not None
            and match.entry is not None
            and threshold is not None
            and match.similarity >= threshold
            and self.may_answer(question)
            and judge(match.entry, turn.controls, self._now()) is Verdict.HIT
        )

    def begin(self, turn: Turn) -> None:
        """Look for what would have been served, beside the upstream's answer."""
        if turn.question is not None:
            self._match(turn.question, turn.ask.owner)

    def stored(self, turn: Turn, entry: Entry) -> None:
        """Remember where a new entry is to be found, and compare it with what would have been served."""
        question = turn.question
        if question is not None:
            self._tasks.start(self._place(question, turn.ask, entry), "place an answer in the semantic cache")

    async def forget_near(self, entry: Entry, similarity: float = 0.9) -> list[bytes]:
        """Return the digests of the entries whose texts are so near to that of `entry`, and forget all these texts.

        For answers that turned out to be wrong: what is near was perhaps made from the same mistake. Raises StoreFault.
        """
        near = [each.digest for each in await self._vectors.around(entry.digest, similarity, _NEIGHBOURS)]
        self._vectors.remove([entry.digest, *near])
        return near

    def forget(self, digests: Sequence[bytes]) -> None:
        """Forget the texts of entries that were removed."""
        self._vectors.remove(digests)

    def judge_served(self, model: str, similarity: float, *, right: bool) -> None:
        """Learn from somebody who has looked at an answer that was served, or would have been."""
        self.thresholds.note(model, similarity, agreed=right, source="feedback")

    async def report(self) -> dict[str, object]:
        """Return what was learned and counted, as it is shown. Raises StoreFault."""
        settings = self._settings
        models = {
            model: {
                "threshold": self.thresholds.threshold(model),
                "pairs": self.thresholds.pairs(model),
                "levels": [msgspec.to_builtins(level) for level in learned.levels if level.pairs],
            }
            for model, learned in self.thresholds.models().items()
        }
        return {
            "mode": settings.mode,
            "embedding_model": settings.embedding_model,
            "threshold": settings.threshold,
            "max_error": settings.max_error,
            "pairs_needed": pairs_needed(settings.max_error),
            "vectors": await self._vectors.count(),
            "models": models,
            "this_worker": msgspec.to_builtins(self.counts),
        }

    # What is behind.

    def _said(self, turn: Turn) -> LastText | None:
        if turn.context is not None or turn.controls.is_exact:
            self.counts.apart["continued" if turn.context is not None else "exact"] += 1
            return None
        request, settings = turn.ask.request, self._settings
        try:
            return last_text(
                turn.ask.dialect.name,
                request.members,
                max_turns=settings.max_turns,
                max_characters=settings.max_characters,
            )
        except NoLastText as reason:
            self.counts.apart[str(reason)] += 1
            return None

    def _vector(self, question: Question, owner: Owner) -> asyncio.Future[bytes | None]:
        if question.vector is None:
            assert self._embedding is not None
            question.vector = self._going(self._embedding.vector(question.text, owner), "embed a text")
        return question.vector

    def _match(self, question: Question, owner: Owner) -> "asyncio.Future[Match | None]":
        if question.match is None:
            self.counts.asked += 1
            question.match = self._going(self._nearest(question, owner), "look for a text")
        return question.match

    def _going(self, work: "Awaitable[_T]", name: str) -> "asyncio.Future[_T | None]":
        """Do `work` in a task that nobody's impatience ends; None if it fails."""
        future: asyncio.Future[_T | None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            result: _T | None = None
            try:
                result = await work
            finally:
                future.set_result(result)

        self._tasks.start(run(), name)
        return future

    async def _nearest(self, question: Question, owner: Owner) -> Match | None:
        """Find the nearest that every gate lets pass; else the nearest that was refused."""
        vector = await self._vector(question, owner)
        if vector is None:
            self.counts.failed += 1
            return None
        try:
            near = await self._vectors.nearest(_place_of(question, vector), vector, _NEIGHBOURS)
        except StoreFault:
            self.counts.failed += 1
            return None
        refused: Match | None = None
        for neighbour in near:
            if neighbour.similarity < _FLOOR:
                break
            if neighbour.digest == question.digest:
                continue
            gate = refused_by(question.facts, read_facts(neighbour.text)) if self._settings.gates else None
            if gate is not None:
                self.counts.refused[gate] += 1
                refused = refused or Match(None, neighbour.similarity, gate)
                continue
            entry = await self._entry(neighbour)
            # The scope is in the partition already; but an answer of another's is the worst that could be served.
            if entry is not None and entry.origin.scope == question.scope:
                return Match(entry, neighbour.similarity)
        return refused

    async def _entry(self, neighbour: Neighbour) -> Entry | None:
        entry = self._memory.peek(neighbour.digest)
        if entry is None:
            # If there is none it was purged, or made room for others, or the level is too slow now: its text goes when
            # the entry would have expired at the latest.
            entry = await self._level.get(neighbour.digest)
        return entry

    async def _place(self, question: Question, ask: Ask, entry: Entry) -> None:
        text = _text_of(entry, ask)
        if text is None:
            return
        match = await self._match(question, ask.owner)
        if match is not None and match.entry is not None:
            await self._compare(question, ask, text, match.entry, match.similarity)
        vector = await self._vector(question, ask.owner)
        if vector is not None:
            self._vectors.put(
                Placed(_place_of(question, vector), entry.digest, vector, question.text, entry.keep_until)
            )

    async def _compare(
        self, question: Question, ask: Ask, fresh: str, would_be: Entry, similarity: float
    ) -> None:
        cached = _text_of(would_be, ask)
        if cached is None or would_be.expires_at <= self._now():
            return
        threshold = self.thresholds.threshold(question.target)
        would_hit = threshold is not None and similarity >= threshold
        self.counts.would_hit += would_hit
        learns = threshold is None or self._settings.mode == "shadow"
        if not (learns or would_hit or self._draw() < self._settings.verify):
            return  # enough is known: comparing costs two more vectors
        agreed = await self._is_same(fresh, cached, ask.owner)
        if agreed is None:
            return
        self.counts.compared += 1
        self.counts.agreed += agreed
        self.thresholds.note(question.target, similarity, agreed=agreed, source="shadow")

    async def _is_same(self, fresh: str, cached: str, owner: Owner) -> bool | None:
        """Whether two answers say the same; None if that cannot be found out."""
        if normalized(fresh) == normalized(cached):
            return True
        if not numbers_agree(fresh, cached):
            return False
        assert self._embedding is not None
        if max(len(fresh), len(cached)) > _LONGEST_ANSWER:
            return None  # more than most embeddings models read
        one = await self._embedding.vector(fresh, owner)
        other = await self._embedding.vector(cached, owner)
        return None if one is None or other is None else likeness(one, other) >= SAME

    async def _keep_learning(self) -> None:
        while True:
            await self.thresholds.refresh()
            await asyncio.sleep(_REFRESH_SECONDS)


def _place_of(question: Question, vector: bytes) -> bytes:
    # A model that changes the length of its vectors is another model.
    return hashlib.blake2b(
        question.partition + len(vector).to_bytes(4, "big"), digest_size=16, person=b"semantic"
    ).digest()


def _text_of(entry: Entry, ask: Ask) -> str | None:
    """Return the text of an answer of the dialect of `ask`; None where it is not only text."""
    try:
        rendition = render(entry.recording, ask.dialect, _JSON)
    except (ValueError, GatewayError):
        return None
    return answer_text(ask.dialect.name, rendition.fill(b"", None, {}))
