"""Arithmetic: from what single rounds saw to the figures of the report."""
# ruff: noqa: RUF001 - the dashes of the report are meant

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Round:
    """What one contender did in one round."""

    requests: int
    units: int
    """Of what CPU is counted for: requests or frames."""
    cpu_seconds: float
    wall_seconds: float
    percentiles_ms: tuple[float, float, float] | None = None
    frames_per_read: float | None = None
    """How many frames of a paced stream arrived together, on average."""
    others: float = 0.0
    """Share of the server's core that was used by anything else meanwhile."""

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU for each unit."""
        return self.cpu_seconds / self.units * 1e6

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.wall_seconds

    @property
    def busy(self) -> float:
        """Share of a core that the server used; some of it after the load had ended."""
        return self.cpu_seconds / self.wall_seconds


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of one contender."""

    name: str
    rounds: tuple[Round, ...]

    def median(self, figure: Callable[[Round], float]) -> float:
        """Return the median over the rounds."""
        return median(map(figure, self.rounds))

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU for each unit."""
        return self.median(lambda one: one.cpu_us)

    @property
    def percentiles_ms(self) -> tuple[float, ...] | None:
        """The medians of p50, p90 and p99."""
        found = [one.percentiles_ms for one in self.rounds if one.percentiles_ms is not None]
        return tuple(median(column) for column in zip(*found, strict=True)) if found else None


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the reference's CPU something used: of the medians, and of single rounds."""

    value: float
    lowest: float
    highest: float


def ratio(result: Result, reference: Result) -> Ratio:
    """Compare CPU with a reference measured in the same rounds."""
    pairs = zip(result.rounds, reference.rounds, strict=True)
    singles = [one.cpu_us / other.cpu_us for one, other in pairs]
    return Ratio(result.cpu_us / reference.cpu_us, min(singles), max(singles))


def verdict(value: float, budget: float | None) -> str:
    """Say whether a budget is met; figures are compared as they are shown."""
    if budget is None:
        return "–"
    return "yes" if round(value, 2) <= budget else "**no**"


def median_range(values: Sequence[float]) -> str:
    """Write a median with its range."""
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
