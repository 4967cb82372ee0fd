"""The threshold that keeps an error bound."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cache.semantic.learning import CONFIDENCE, THRESHOLDS, error_bound, learn, pairs_needed

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300)


def at_most(wrong, count, share):
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(wrong + 1))


@given(st.integers(1, 400).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count))))
def test_the_bound_is_that_of_clopper_and_pearson(drawn):
    count, wrong = drawn
    bound = error_bound(count, wrong, 0.05)
    assert wrong / count <= bound <= 1.0
    if wrong < count:
        assert at_most(wrong, count, bound) == pytest.approx(0.05, rel=1e-3)


def test_without_evidence_there_is_no_threshold():
    assert learn((), 0.01).threshold is None
    assert error_bound(0, 0) == 1.0


def test_so_many_pairs_are_needed_and_no_fewer():
    for max_error in (0.2, 0.05, 0.01):
        needed = pairs_needed(max_error)
        assert learn([(1.0, True)] * (needed - 1), max_error).threshold is None
        assert learn([(1.0, True)] * needed, max_error).threshold == THRESHOLDS[0]


def test_the_least_threshold_that_is_good_enough_is_taken():
    pairs = [(0.99, True)] * 700 + [(0.91, True)] * 300 + [(0.85, False)] * 50
    assert learn(pairs, 0.01).threshold == 0.88
    pairs += [(0.905, False)] * 30
    assert learn(pairs, 0.01).threshold == 0.92


@given(PAIRS, st.floats(0.001, 0.5))
def test_what_is_learned_keeps_the_bound(pairs, max_error):
    learned = learn(pairs, max_error)
    for level in learned.levels:
        near = [agreed for likeness, agreed in pairs if likeness >= level.threshold]
        assert (level.pairs, level.wrong) == (len(near), near.count(False))
        assert (
            learned.threshold is None
            or level.threshold != learned.threshold
            or level.error_bound <= max_error
        )


@given(PAIRS, st.floats(0.8, 1))
def test_a_wrong_answer_never_lowers_the_threshold(pairs, likeness):
    before, after = learn(pairs, 0.1).threshold, learn([*pairs, (likeness, False)], 0.1).threshold
    assert after is None or (before is not None and after >= before)


def test_the_confidence_holds_over_many_trials():
    """True errors below each threshold are known here: how often is one taken that is worse than the bound?"""
    draw = random.Random(7)
    max_error, trials, broken = 0.05, 300, 0

    def error_at(likeness):  # errors grow rarer the more alike
        return min(1.0, 0.5 * (1 - likeness) * 5)

    for _ in range(trials):
        pairs = []
        for _ in range(600):
            likeness = draw.uniform(0.8, 1.0)
            pairs.append((likeness, draw.random() >= error_at(likeness)))
        threshold = learn(pairs, max_error).threshold
        if threshold is not None:
            # The mean of a line over what is above the threshold.
            broken += error_at((threshold + 1.0) / 2) > max_error
    assert broken / trials <= 1 - CONFIDENCE


def test_nothing_is_learned_from_nothing_whatever_is_accepted():
    assert learn((), 1.0).threshold is None
