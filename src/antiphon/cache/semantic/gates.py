"""What two texts must agree in, however alike they are: vectors of "5 miles" and "5 km" hardly differ, answers do.

A gate can be too strict, which costs a hit, but should not be too lenient, which costs a wrong answer.
"""

from collections import Counter
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Final

from antiphon.cache.semantic.facts import Facts, stem
from antiphon.cache.semantic.lexicon import DIRECTIONS, GOALS, OPPOSITES, PIVOTS, PREFIXES, SYNONYMS

_COMPARED: Final = 24
_STEMMED_SYNONYMS: Final = tuple(frozenset(map(stem, group)) for group in SYNONYMS)


def refused_by(asked: Facts, cached: Facts) -> str | None:
    """Return the name of the first gate that does not let an answer for `cached` be one for `asked`."""
    for name, agrees in GATES.items():
        if not agrees(asked, cached):
            return name
    return None


def _code(one: Facts, other: Facts) -> bool:
    return one.code == other.code


def _quotes(one: Facts, other: Facts) -> bool:
    return one.quoted == other.quoted


def _numbers(one: Facts, other: Facts) -> bool:
    # Units count where one text names some and the other names others: "in miles", "in kilometres".
    units = not (one.units and other.units and one.units != other.units)
    return one.numbers == other.numbers and units


def _names(one: Facts, other: Facts) -> bool:
    """What one writes like a name the other has too, however it writes it; and in the same order."""
    both = {*one.names, *other.names}
    ours = [word for word in one.bare_words if word in both]
    theirs = [word for word in other.bare_words if word in both]
    return ours == theirs


def _negation(one: Facts, other: Facts) -> bool:
    if one.negations != other.negations:
        return False
    return not (_turns_round(one, other) or _turns_round(other, one))


def _turns_round(one: Facts, other: Facts) -> bool:
    """Whether a word of `one` is one of `other` with a negative prefix that `other` has not."""
    theirs = other.vocabulary
    return any(
        word not in theirs
        and any(word.startswith(prefix) and word[len(prefix) :].lstrip("-") in theirs for prefix in PREFIXES)
        for word in one.words
        if len(word) > 4
    )


def _opposites(one: Facts, other: Facts) -> bool:
    ours, theirs = one.vocabulary, other.vocabulary
    only_ours, only_theirs = ours - theirs, theirs - ours
    return not any(frozenset((mine, yours)) in OPPOSITES for mine in only_ours for yours in only_theirs)


def _order(one: Facts, other: Facts) -> bool:
    """Whether what both name stands in the same order, where the order says who does what to whom."""
    shared = set(one.content) & set(other.content)
    ours = [word for word in one.content if word in shared]
    theirs = [word for word in other.content if word in shared]
    if ours == theirs or len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):
        return True
    if _has_direction(one) or _has_direction(other):
        return False
    return not _are_exchanged(one, other, shared)


def _has_direction(facts: Facts) -> bool:
    if not DIRECTIONS.isdisjoint(facts.words):
        return True
    names = {*facts.names, *GOALS}
    return any(word == "to" and after in names for word, after in pairwise(facts.bare_words))


def _are_exchanged(one: Facts, other: Facts, shared: set[str]) -> bool:
    """Whether two words have changed their places with a third between them: A does to B, B does to A."""
    pivots = shared | PIVOTS
    ours, theirs = (
        [
            word
            for word in (pivot if pivot in PIVOTS else stem(pivot) for pivot in facts.bare_words)
            if word in pivots
        ]
        for facts in (one, other)
    )
    place = {word: index for index, word in enumerate(theirs)}
    return any(
        first in shared
        and last in shared
        and place.get(first, -1) > place.get(middle, -1) > place.get(last, -1) >= 0
        for first, middle, last in combinations(ours[:_COMPARED], 3)
    )


def _language(one: Facts, other: Facts) -> bool:
    if one.script != other.script:
        return False
    return not one.language or not other.language or one.language == other.language


def _question(one: Facts, other: Facts) -> bool:
    return not one.question or not other.question or one.question == other.question


def _form(one: Facts, other: Facts) -> bool:
    return one.forms == other.forms


def _substitution(one: Facts, other: Facts) -> bool:
    """Whether the texts are not equal but for one word, which in the other is another and means no the same."""
    ours, theirs = Counter(one.content), Counter(other.content)
    mine, yours = list((ours - theirs).elements()), list((theirs - ours).elements())
    if len(mine) > 2 or len(yours) > 2 or not (mine and yours):
        return True
    return all(any(_means_the_same(word, theirs) for theirs in yours) for word in mine) or all(
        any(_means_the_same(word, ours) for ours in mine) for word in yours
    )


def _means_the_same(word: str, other: str) -> bool:
    if word == other or (min(len(word), len(other)) >= 5 and word[:5] == other[:5]):
        return True
    return any(word in group and other in group for group in _STEMMED_SYNONYMS)


GATES: Final[dict[str, Callable[[Facts, Facts], bool]]] = {
    "language": _language,
    "code": _code,
    "quotes": _quotes,
    "numbers": _numbers,
    "names": _names,
    "negation": _negation,
    "opposites": _opposites,
    "order": _order,
    "question": _question,
    "form": _form,
    "substitution": _substitution,
}
"""Those there are, in the order in which they are asked."""
