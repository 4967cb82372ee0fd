"""Thresholds that are learned, and what is read of those of other workers."""

import asyncio

import pytest

from antiphon.engine.semantic.evidence import LearnedThresholds


class Noted:
    """A store of evidence, newest first."""

    def __init__(self):
        self.all = []

    def note(self, evidence):
        self.all.insert(0, evidence)

    async def evidence(self, limit):
        return self.all[:limit]


def thresholds(noted, found_by="up/embedder", **changes):
    options = {"max_error": 0.5, "fixed": None, "circumstance": found_by, "now": lambda: 0.0}
    return LearnedThresholds(noted, **{**options, **changes})


def test_what_one_has_learned_the_others_know():
    noted = Noted()
    one, other = thresholds(noted), thresholds(noted)
    for _ in range(8):
        one.note("up/m", 0.95, agreed=True, source="shadow")
    assert one.threshold("up/m") == 0.8
    assert other.threshold("up/m") is None
    asyncio.run(other.refresh())
    assert other.threshold("up/m") == 0.8
    assert other.pairs("up/m") == {"known": 8, "agreed": 8}
    assert other.threshold("up/n") is None


def test_another_embeddings_model_begins_anew():
    noted = Noted()
    one, other = thresholds(noted), thresholds(noted, "up/other")
    for _ in range(8):
        one.note("up/m", 0.95, agreed=True, source="shadow")
    asyncio.run(other.refresh())
    assert (other.threshold("up/m"), other.models()) == (None, {})


def test_a_fixed_threshold_is_taken_whatever_was_learned():
    one = thresholds(Noted(), fixed=0.93)
    for _ in range(8):
        one.note("up/m", 0.99, agreed=False, source="feedback")
    assert one.threshold("up/m") == 0.93


def test_many_pairs_are_learned_from_when_they_are_read_again():
    noted = Noted()
    one = thresholds(noted, max_error=0.01)
    for number in range(2_400):
        one.note("up/m", 0.95, agreed=number >= 2_000 or number % 2 == 0, source="shadow")
    assert one.threshold("up/m") is None
    assert one.models()["up/m"].levels[0].pairs == 2_000
    asyncio.run(one.refresh())
    assert one.models()["up/m"].levels[0].pairs == 2_400


class Slow(Noted):
    """What it tells is as of when it was asked for, or, if `is_late`, as of when it tells it."""

    def __init__(self, *, is_late):
        super().__init__()
        self.is_asked, self.go_on = asyncio.Event(), asyncio.Event()
        self._is_late = is_late

    async def evidence(self, limit):
        early = await super().evidence(limit)
        self.is_asked.set()
        await self.go_on.wait()
        return await super().evidence(limit) if self._is_late else early


@pytest.mark.parametrize("is_late", [False, True])
def test_what_is_noted_while_all_is_read_counts_once(is_late):
    """Whether it was read or not."""
    noted = Slow(is_late=is_late)
    one = thresholds(noted)

    async def test():
        for _ in range(4):
            one.note("up/m", 0.97, agreed=True, source="feedback")
        reading = asyncio.ensure_future(one.refresh())
        await noted.is_asked.wait()
        for number in range(4):
            one.note("up/m", 0.9 + number / 100, agreed=True, source="feedback")
        noted.go_on.set()
        await reading

    asyncio.run(test())
    assert one.pairs("up/m") == {"known": 8, "agreed": 8}
    assert one.threshold("up/m") == 0.8
