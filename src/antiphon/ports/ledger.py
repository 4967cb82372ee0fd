"""The port to the ledger: one row for each turn that was answered, and who pays for it.

A row is a plain tuple in the order of the table's columns, so that a batch goes to the database as it is.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

SAVING: Final = frozenset({"hit", "stale", "semantic", "collapsed"})
"""The cache results for which no upstream was paid."""


class UsageRow(NamedTuple):
    """One turn, as it is counted; times since the request was read are in microseconds."""

    id: str
    time: float
    """Seconds since the epoch when the request arrived."""
    key: str
    """The name of the client's key, empty without authentication."""
    project: str
    owner: str
    """The scope that responses and cache entries of this turn belong to."""
    alias: str
    """The model as the client named it."""
    provider: str
    model: str
    """The upstream model."""
    dialect: str
    route: str
    stream: bool
    status: int
    cache: str
    """`hit`, `partial`, `stale`, `semantic`, `collapsed`, `miss`, `bypass`, `refresh`, or `off` without a cache."""
    input_tokens: int
    """Of a partly cached answer, these and the other counts are what the upstream was asked for."""
    output_tokens: int
    total_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cost: float | None
    """US dollars paid for this turn; None where the price is not known."""
    cost_saved: float | None
    """US dollars that the recorded answer had cost, where it was served again."""
    first_byte_us: int | None
    """None where no byte of an answer was sent."""
    last_byte_us: int
    error: str | None
    """The code of the fault, if there was one."""
    answer_id: str | None = None
    """The id that the upstream gave its answer; that of the recorded one where it was served again."""


class Ledger(Protocol):
    """Where the rows of a batch are kept."""

    async def append(self, rows: Sequence[UsageRow]) -> None:
        """Keep rows for good; StoreFault if that is not possible now. A row that is there already stays as it is."""
