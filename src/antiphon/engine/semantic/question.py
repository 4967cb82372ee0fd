"""What the semantic level knows of one turn."""

import asyncio
from dataclasses import dataclass, field

from antiphon.cache.entry import Entry
from antiphon.cache.semantic.facts import Facts, read_facts


@dataclass(frozen=True, slots=True)
class Match:
    """An entry that was found, or that would have been found but for a gate."""

    entry: Entry | None
    similarity: float
    refused_by: str | None = None
    """The gate, where there is one that does not let it pass."""


@dataclass(slots=True, eq=False)
class Question:
    """The last text of a request, and what else has to be equal."""

    digest: bytes
    """Of the request itself."""
    partition: bytes
    text: str
    scope: str
    """Who shares the answer."""
    target: str
    """`provider/model`, for which thresholds are learned."""
    vector: asyncio.Future[bytes | None] | None = None
    """The vector of the text, once somebody wanted it; None if it could not be had."""
    match: asyncio.Future[Match | None] | None = None
    """The nearest, once somebody looked for it."""
    note: str = ""
    """What is told of it in `Cache-Status`."""
    _facts: Facts | None = field(default=None, repr=False)

    def told(self) -> dict[str, str | float | None]:
        """Return what was found, as it is explained."""
        match = self.match.result() if self.match is not None and self.match.done() else None
        if match is None:
            return {"similarity": None, "refused_by": None, "note": self.note}
        return {
            "similarity": round(match.similarity, 4),
            "refused_by": match.refused_by,
            "nearest": match.entry.shown_key.decode() if match.entry is not None else None,
            "note": self.note,
        }

    @property
    def facts(self) -> Facts:
        """What the text says, read when it is first needed."""
        if self._facts is None:
            self._facts = read_facts(self.text)
        return self._facts
