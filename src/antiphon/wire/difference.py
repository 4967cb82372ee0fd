"""Where two JSON values differ: paths as people write them (`messages[2].content`), in the order of the canonical form."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
_SHOWN_NAME: Final = 64


class Absent(Enum):
    """What stands where nothing stands."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
Step = str | int
"""A member's name, or a place in a list."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two values are not the same."""

    steps: tuple[Step, ...]
    mine: Any
    """`ABSENT` where the other has something and this has not."""
    theirs: Any

    @property
    def path(self) -> str:
        """Where it is; "" for the whole."""
        return written(self.steps)


def differences(
    mine: Any,
    theirs: Any,
    steps: tuple[Step, ...] = (),
    same: Callable[[Any, Any], bool] | None = None,
) -> Iterator[Difference]:
    """Give each place where two values differ that is not inside of another; members in the order of their names.

    Numbers are compared by value, and a truth value is no number. Lists are compared place by place. What is the `same`
    by another measure does not differ.
    """
    if same is not None and same(mine, theirs):
        return
    match mine, theirs:
        case dict(), dict():
            for name in sorted(mine.keys() | theirs.keys()):
                yield from differences(mine.get(name, ABSENT), theirs.get(name, ABSENT), (*steps, name), same)
        case list(), list():
            for place in range(max(len(mine), len(theirs))):
                one = mine[place] if place < len(mine) else ABSENT
                other = theirs[place] if place < len(theirs) else ABSENT
                yield from differences(one, other, (*steps, place), same)
        case _ if isinstance(mine, bool) is not isinstance(theirs, bool) or mine != theirs:
            yield Difference(steps, mine, theirs)


def written(steps: tuple[Step, ...]) -> str:
    """Write a path."""
    parts = []
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_NAME.fullmatch(step) and len(step) <= _SHOWN_NAME:
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{_quoted(step)}]")
    return "".join(parts)


def common_length(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _quoted(name: str) -> str:
    shown = name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "…"
    return msgspec.json.encode(shown.encode(errors="replace").decode()).decode()
