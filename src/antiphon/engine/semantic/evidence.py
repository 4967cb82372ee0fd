"""What was learned so far, for each model: read from storage, and added to."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from antiphon.cache.semantic.learning import Learned, learn
from antiphon.ports.vectors import MOST_EVIDENCE, Evidence, VectorStore
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_LEARNED_AT_ONCE: Final = 2_000
"""Pairs of a model; with more of them, one more can wait until all are read again."""
_SEPARATOR: Final = "\n"
NOTHING: Final = learn((), 0.0)


class LearnedThresholds:
    """The threshold of each model."""

    def __init__(
        self,
        vectors: VectorStore,
        max_error: float,
        fixed: float | None,
        circumstance: str,
        now: Callable[[], float],
    ) -> None:
        """Learn to keep `max_error`; a `fixed` threshold is taken whatever was learned.

        `circumstance` is how pairs were found, such as by which embeddings model: what was found otherwise says nothing.
        """
        self._vectors = vectors
        self._circumstance = _SEPARATOR + circumstance
        self._max_error = max_error
        self._fixed = fixed
        self._now = now
        self._pairs: dict[str, deque[tuple[float, bool]]] = {}
        self._learned: dict[str, Learned] = {}
        self._noted_meanwhile: list[Evidence] | None = None
        """What is noted while all is read again."""

    def threshold(self, model: str) -> float | None:
        """Return what a hit needs; None: nothing is known that would be enough."""
        if self._fixed is not None:
            return self._fixed
        return self._learned.get(model, NOTHING).threshold

    def note(self, model: str, similarity: float, *, agreed: bool, source: str) -> None:
        """Remember a pair."""
        evidence = Evidence(model + self._circumstance, similarity, agreed, source, self._now())
        self._vectors.note(evidence)
        if self._noted_meanwhile is not None:
            self._noted_meanwhile.append(evidence)
        self._take(model, similarity, agreed=agreed)

    async def refresh(self) -> None:
        """Read what all workers have noted."""
        meanwhile = self._noted_meanwhile = []
        try:
            read = await self._vectors.evidence(MOST_EVIDENCE)
            pairs: dict[str, deque[tuple[float, bool]]] = {}
            for each in reversed(read):
                model = each.model.removesuffix(self._circumstance)
                if model != each.model:
                    _add(pairs, model, each.similarity, agreed=each.agreed)
            learned = await asyncio.to_thread(
                lambda: {model: learn(noted, self._max_error) for model, noted in pairs.items()}
            )
        except StoreFault as fault:
            _log.warning("what was learned for the semantic cache cannot be read: %s", fault)
            return
        finally:
            self._noted_meanwhile = None
        self._pairs, self._learned = pairs, learned
        if meanwhile:
            for each in (Counter(meanwhile) - Counter(read)).elements():
                self._take(each.model.removesuffix(self._circumstance), each.similarity, agreed=each.agreed)

    def models(self) -> dict[str, Learned]:
        """Return what was learned for each model."""
        return dict(self._learned)

    def pairs(self, model: str) -> dict[str, int]:
        """Return how many pairs of a model are known, and how many of them agreed."""
        noted = self._pairs.get(model, ())
        return {"known": len(noted), "agreed": sum(agreed for _, agreed in noted)}

    def _take(self, model: str, similarity: float, *, agreed: bool) -> None:
        _add(self._pairs, model, similarity, agreed=agreed)
        if len(self._pairs[model]) <= _LEARNED_AT_ONCE:
            self._learned[model] = learn(self._pairs[model], self._max_error)


def _add(pairs: dict[str, deque[tuple[float, bool]]], model: str, similarity: float, *, agreed: bool) -> None:
    pairs.setdefault(model, deque(maxlen=MOST_EVIDENCE)).append((similarity, agreed))
