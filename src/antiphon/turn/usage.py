"""What a turn used, in tokens of every kind."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; the detailed kinds are included in `input_tokens` or `output_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0


NO_USAGE = Usage()

_counts = attrgetter(*(field.name for field in fields(Usage)))


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Add up usage of several answers, or of parts of one."""
    counted = [_counts(usage) for usage in usages if usage is not NO_USAGE]
    return Usage(*map(sum, zip(*counted, strict=True))) if counted else NO_USAGE


def less(whole: Usage, part: Usage) -> Usage:
    """Return what is left of `whole` without `part`; nothing becomes less than zero."""
    left = (max(0, one - other) for one, other in zip(_counts(whole), _counts(part), strict=True))
    return Usage(*left)
