"""Pairs of texts, whether one answer does for both, and how alike an embeddings model finds them."""

import sys
from pathlib import Path
from typing import NamedTuple

from antiphon.cache.semantic.facts import read_facts
from antiphon.cache.semantic.gates import refused_by

THRESHOLDS = (0.75, 0.80, 0.85, 0.90, 0.92, 0.95, 0.97, 0.99)


class Pair(NamedTuple):
    kind: str
    is_same: bool
    likeness: float
    one: str
    other: str

    @property
    def gate(self) -> str | None:
        """The gate that refuses it."""
        return refused_by(read_facts(self.one), read_facts(self.other))


def read_pairs(name: str) -> list[Pair]:
    """Read `pairs` or `pairs_unseen`."""
    lines = (Path(__file__).parent / f"{name}.txt").read_text("utf-8").splitlines()
    fields = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return [
        Pair(kind, same == "same", float(likeness), one, other) for kind, same, likeness, one, other in fields
    ]


def by_threshold(pairs: list[Pair]) -> str:
    """Return the table of hits and false hits, with gates and without."""
    same = sum(pair.is_same for pair in pairs)
    head = f"of {same} that mean the same", f"of {len(pairs) - same} that do not"
    lines = [
        f"| Threshold | Hits, {head[0]} | False hits, {head[1]} | Hits with gates | False hits with gates |",
        "|---|---|---|---|---|",
    ]
    let_through = [pair for pair in pairs if pair.gate is None]
    for threshold in THRESHOLDS:
        counts = [
            sum(pair.is_same is wanted and pair.likeness >= threshold for pair in given)
            for given in (pairs, let_through)
            for wanted in (True, False)
        ]
        lines.append(f"| {threshold:.2f} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def by_kind(pairs: list[Pair], threshold: float) -> str:
    """Return the table of false hits by what differs."""
    lines = ["| What differs | Pairs | False hits | With gates |", "|---|---|---|---|"]
    for kind in dict.fromkeys(pair.kind for pair in pairs if not pair.is_same):
        those = [pair for pair in pairs if pair.kind == kind]
        near = [pair for pair in those if pair.likeness >= threshold]
        lines.append(f"| {kind} | {len(those)} | {len(near)} | {sum(pair.gate is None for pair in near)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    for name in ("pairs", "pairs_unseen"):
        sys.stdout.write(by_threshold(read_pairs(name)) + "\n\n")
    sys.stdout.write(by_kind(read_pairs("pairs") + read_pairs("pairs_unseen"), 0.9) + "\n")
