"""How often what happened at the semantic level of this worker."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Counted since the worker was started."""

    asked: int = 0
    """Requests whose text was looked for."""
    hits: int = 0
    would_hit: int = 0
    """Those that were looked for in the shadow, or to verify, and were alike enough."""
    compared: int = 0
    """Pairs of answers that were compared."""
    agreed: int = 0
    """Those of them that were the same."""
    late: int = 0
    """Look-ups that were given up because they took too long."""
    failed: int = 0
    """Those for which there was no vector, or storage did not answer."""
    refused: Counter[str] = field(default_factory=Counter)
    """Near texts that a gate did not let pass, by its name."""
    apart: Counter[str] = field(default_factory=Counter)
    """Requests that take no part, by the reason."""
