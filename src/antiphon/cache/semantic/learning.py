"""The threshold that keeps an error bound, learned from pairs whose answers were compared.

Each pair says how alike two texts were, and whether their answers were the same. A threshold is good if, of the pairs at
least so alike, the share whose answers differ is below the bound with `CONFIDENCE`: by the exact (Clopper-Pearson)
bound, and with what may go wrong divided among all thresholds that are looked at, since the best of several is taken.

What it takes for granted is that pairs to come are like those that were seen, and do not depend on each other.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CONFIDENCE: Final = 0.95
THRESHOLDS: Final = (0.80, 0.84, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
"""Those that are looked at."""
_RISK: Final = (1.0 - CONFIDENCE) / len(THRESHOLDS)
_STEPS: Final = 40
_NEGLIGIBLE: Final = 1e-15


@dataclass(frozen=True, slots=True)
class Level:
    """What is known of one threshold."""

    threshold: float
    pairs: int
    """How many were at least so alike."""
    wrong: int
    """How many of them had other answers."""
    error_bound: float
    """The share of wrong ones is not greater than this, with the confidence that was divided."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What pairs have taught."""

    threshold: float | None
    """The least whose bound is kept; None: there is not enough evidence for any."""
    levels: tuple[Level, ...]


def learn(pairs: Iterable[tuple[float, bool]], max_error: float) -> Learned:
    """Find the least threshold whose error is at most `max_error`, from (likeness, whether answers were the same)."""
    ordered = sorted(pairs)
    likenesses = [likeness for likeness, _ in ordered]
    # From each place on, how many are wrong.
    wrong = [0] * (len(ordered) + 1)
    for place in range(len(ordered) - 1, -1, -1):
        wrong[place] = wrong[place + 1] + (not ordered[place][1])
    levels = []
    for threshold in THRESHOLDS:
        place = bisect_left(likenesses, threshold)
        count = len(ordered) - place
        levels.append(Level(threshold, count, wrong[place], error_bound(count, wrong[place])))
    good = [level.threshold for level in levels if level.pairs and level.error_bound <= max_error]
    return Learned(min(good, default=None), tuple(levels))


def pairs_needed(max_error: float) -> int:
    """Return how many pairs without a wrong one it takes at least."""
    return math.ceil(math.log(_RISK) / math.log1p(-max_error))


def error_bound(count: int, wrong: int, risk: float = _RISK) -> float:
    """Return the share of errors that is exceeded with the probability `risk` at most, as Clopper and Pearson have it."""
    if wrong >= count:
        return 1.0
    if wrong == 0:
        return float(-math.expm1(math.log(risk) / count))
    low, high = wrong / count, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(wrong, count, middle) > risk:
            low = middle
        else:
            high = middle
    return high


def _at_most(wrong: int, count: int, share: float) -> float:
    """Return the probability of at most `wrong` errors in `count`, each with the probability `share`."""
    if share >= 1.0:
        return 0.0
    # From the most errors down: since that is below what is expected, each term is less than the one before.
    term = (
        math.lgamma(count + 1)
        - math.lgamma(wrong + 1)
        - math.lgamma(count - wrong + 1)
        + wrong * math.log(share)
        + (count - wrong) * math.log1p(-share)
    )
    odds = (1.0 - share) / share
    each = total = 1.0
    for errors in range(wrong, 0, -1):
        each *= errors / (count - errors + 1) * odds
        total += each
        if each < _NEGLIGIBLE * total:
            break
    return min(1.0, math.exp(term + math.log(total)))
