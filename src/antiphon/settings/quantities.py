"""Sizes, durations and secrets, as people write them in a configuration file."""

import math
import re
from typing import Final

_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)

_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}

_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class Size(int):
    """Bytes, at least one."""

    @classmethod
    def parse(cls, value: object) -> "Size":
        """Read `65536`, `64KiB` (1024) or `64KB` (1000); ValueError for anything else."""
        size = round(_quantity(value, _BYTES))
        if size < 1:
            raise ValueError
        return cls(size)


class Duration(float):
    """Seconds, zero included."""

    @classmethod
    def parse(cls, value: object) -> "Duration":
        """Read `10`, `0.5`, `250ms`, `10s`, `5m`, `2h`, `30d` or `4w`; ValueError for anything else."""
        return cls(_quantity(value, _SECONDS))


class Timeout(Duration):
    """Seconds, more than zero."""

    @classmethod
    def parse(cls, value: object) -> "Timeout":
        """Read what `Duration` reads, but not zero."""
        seconds = _quantity(value, _SECONDS)
        if not seconds:
            raise ValueError
        return cls(seconds)


class Secret(str):
    """Text that must not be shown: its `repr` is blank, so that the values that hold it may be logged."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show that there is one, and nothing of it."""
        return "'***'"


def _quantity(value: object, units: dict[str, float] | dict[str, int]) -> float:
    match value:
        case bool():
            raise ValueError
        case int() | float():
            amount = float(value)
        case str():
            found = _QUANTITY.fullmatch(value.strip())
            if found is None or found[2].lower() not in units:
                raise ValueError
            amount = float(found[1]) * units[found[2].lower()]
        case _:
            raise ValueError
    if not math.isfinite(amount) or amount < 0:
        raise ValueError
    return amount
