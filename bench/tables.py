"""Tables of figures, each measured in several cases: with each store, or with as much cached."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Cells = dict[str, list[float]]
"""Rounds by the name of the case."""


@dataclass(slots=True)
class Table:
    """What one part of a run has measured."""

    title: str
    explanation: str
    rows: dict[tuple[str, str], Cells] = field(default_factory=dict)
    """By what was measured and in which unit."""

    def note(self, case: str, name: str, unit: str, value: float) -> None:
        """Add a round, and say so."""
        self.rows.setdefault((name, unit), {}).setdefault(case, []).append(value)
        print(f"  {case:34} {name:60} {value:12,.2f} {unit}", flush=True)

    @property
    def cases(self) -> Sequence[str]:
        """All that were measured, in their order."""
        return list(dict.fromkeys(case for cells in self.rows.values() for case in cells))
