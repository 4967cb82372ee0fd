"""What a turn knows of an answer that its upstream carries in its own background mode: see `carrying`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from antiphon.ports.runs import Carried


@dataclass(slots=True, eq=False)
class Carriage:
    """What a turn knows of an answer that is carried."""

    at: Carried | None = None
    """Where it goes on; None: it is not asked for yet."""
    told: Sequence[bytes] = field(default_factory=list)
    """The events that were told before this process began to listen."""
