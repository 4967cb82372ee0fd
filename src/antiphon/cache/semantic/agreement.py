"""Whether two answers say the same: by their words, else by the likeness of their vectors and by their numbers.

That is a guess, and a strict one: answers of the same meaning may count as different, which only raises the threshold.
"""

import re
from typing import Final

SAME: Final = 0.90
"""How alike the vectors of two answers must be that are not equal."""

_NOT_WORDS: Final = re.compile(r"[\W_]+")
_NUMBER: Final = re.compile(r"\d+(?:[.,:/]\d+)*")
_LIST_MARK: Final = re.compile(r"(?m)^\s*\d+[.)]\s+")


def normalized(text: str) -> str:
    """Return the words of a text, without what is between them."""
    return _NOT_WORDS.sub(" ", text.casefold()).strip()


def numbers_agree(one: str, other: str) -> bool:
    """Whether the same numbers stand in both, but for those that only count the items of a list."""
    return _numbers(one) == _numbers(other)


def _numbers(text: str) -> set[str]:
    return {number.strip(".,") for number in _NUMBER.findall(_LIST_MARK.sub("", text))}
