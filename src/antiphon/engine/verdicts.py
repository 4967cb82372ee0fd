"""What a check says: steps, each with a verdict and a sentence for a person."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How a step went."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    message: str
    """What was found, and where it failed what to do about it."""
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    """The same for a machine; names that end in `_seconds` are seconds."""


def ok(name: str, message: str, **details: str | float) -> Step:
    """As it should be."""
    return Step(name, Verdict.OK, message, details)


def failed(name: str, message: str, **details: str | float) -> Step:
    """Not as it should be."""
    return Step(name, Verdict.FAILED, message, details)


def skipped(name: str, message: str) -> Step:
    """Not looked at."""
    return Step(name, Verdict.SKIPPED, message)


def has_failed(steps: Iterable[Step]) -> bool:
    """Whether any step has failed."""
    return any(step.verdict is Verdict.FAILED for step in steps)
