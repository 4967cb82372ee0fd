"""Where two JSON values differ, as paths that a person would write: `messages[2].content`."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple


class _Absent:
    """What a member is that one of the two has not."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()
_CONTEXT: Final = 16
"""Characters that are shown before the first difference of two long texts."""


class Difference(NamedTuple):
    """One place where `one` is not `other`; either may be ABSENT."""

    path: str
    one: Any
    other: Any

    def shown(self, length: int = 60) -> tuple[str, str]:
        """Return both values for a person: no longer than `length`, and cut so that the difference is seen."""
        one, other = self.one, self.other
        start = 0
        if isinstance(one, str) and isinstance(other, str) and max(len(one), len(other)) > length:
            pairs = enumerate(zip(one, other, strict=False))
            start = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other))) - _CONTEXT
        return _text(one, max(0, start), length), _text(other, max(0, start), length)


def _never(one: Any, other: Any) -> bool:
    del one, other
    return False


def differences(
    one: Any, other: Any, *, same: Callable[[Any, Any], bool] = _never, path: str = ""
) -> Iterator[Difference]:
    """Yield each place where two JSON values differ; what is `same` by another measure does not.

    Numbers compare by value, keys in any order, the entries of lists by their places.
    """
    if same(one, other):
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            below = f"{path}.{name}" if path else str(name)
            yield from differences(one.get(name, ABSENT), other.get(name, ABSENT), same=same, path=below)
    elif isinstance(one, list) and isinstance(other, list):
        for index in range(max(len(one), len(other))):
            yield from differences(
                one[index] if index < len(one) else ABSENT,
                other[index] if index < len(other) else ABSENT,
                same=same,
                path=f"{path}[{index}]",
            )
    elif isinstance(one, bool) is not isinstance(other, bool) or one != other:
        yield Difference(path, one, other)


def _text(value: Any, start: int, length: int) -> str:
    if isinstance(value, str):
        end = start + length
        return f'"{"…" if start else ""}{value[start:end]}{"…" if end < len(value) else ""}"'
    if isinstance(value, dict):
        told = "{" + ", ".join(map(str, value)) + "}"
        return told if len(told) <= length else told[:length] + "…"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
