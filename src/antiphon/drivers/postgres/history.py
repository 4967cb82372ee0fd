"""What models were shown, in PostgreSQL: see `turn.history`. An item lives as long as something leads to it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.values import is_storable
from antiphon.turn.chain import Items
from antiphon.turn.history import Context, Node, grow
from antiphon.turn.items import name_of

_ARE_THERE = "SELECT id FROM history WHERE id = ANY($1::bytea[])"
_KEEP = "SELECT keep_history_v1($1, $2, $3, $4, $5, $6)"
WALK: Final = """
WITH RECURSIVE shown (depth, previous, item) AS (
    SELECT depth, previous, item FROM history WHERE id = $1
    UNION ALL SELECT history.depth, history.previous, history.item FROM history JOIN shown ON history.id = shown.previous
) SELECT item FROM shown ORDER BY depth
"""
"""Returns the items up to one, the first one first."""
_LATEST = """
WITH RECURSIVE shown (depth, previous, item) AS (
    SELECT depth, previous, item FROM history WHERE id = $1
    UNION ALL SELECT history.depth, history.previous, history.item FROM history JOIN shown ON history.id = shown.previous
    WHERE history.depth > (SELECT depth FROM history WHERE id = $1) - $2
) SELECT item FROM shown ORDER BY depth
"""

_WORTH_ASKING_BYTES: Final = 16 * 1024
"""Of items: to ask which of them are there costs more than to send so few."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to keep a history: the items to write, and what the first of them comes after."""

    nodes: Sequence[Node]
    before: bytes | None

    @property
    def head(self) -> bytes | None:
        """The last item."""
        return self.nodes[-1].id if self.nodes else self.before

    def values(self) -> tuple[object, ...]:
        """Return what `keep_history_v1` is called with."""
        return (
            [node.id for node in self.nodes],
            [node.depth for node in self.nodes],
            [node.size for node in self.nodes],
            [node.item for node in self.nodes],
            [_name_of(node.item) for node in self.nodes],
            self.before,
        )


async def ways_to_keep(
    connection: Connection, owner: str, context: Context, nodes: Sequence[Node]
) -> AsyncIterator[Way]:
    """Yield how to write what is not there yet, until one of the ways is open: the last one always is.

    `nodes` are those of what is new in `context`.
    """
    before = None if context.before is None else context.before.id
    first = await _first_missing(connection, nodes)
    yield Way(nodes[first:], nodes[first].previous if nodes else before)
    if first:  # what was there has just gone
        yield Way(nodes, before)
    # What is continued was deleted while the answer was made, or is not written yet.
    yield Way(grow(owner, None, context.shown or context.new), None)


async def keep_history(
    connection: Connection, owner: str, context: Context, nodes: Sequence[Node]
) -> bytes | None:
    """Write a history, and hold it for one more response, until it is released. Returns the last item."""
    async for way in ways_to_keep(connection, owner, context, nodes):
        if await connection.fetchval(_KEEP, *way.values()):
            return way.head
    raise AssertionError


async def _first_missing(connection: Connection, nodes: Sequence[Node]) -> int:
    """Return from where on items have to be sent; the last one always is, to be held."""
    if sum(len(node.item) for node in nodes) <= _WORTH_ASKING_BYTES:
        return 0
    known = {row[0] for row in await connection.fetch(_ARE_THERE, [node.id for node in nodes[:-1]])}
    return next((place for place in range(len(nodes) - 1, 0, -1) if nodes[place - 1].id in known), 0)


async def read_latest(connection: Connection, head: bytes, count: int) -> Items:
    """Return the last items up to `head`, the first of them first."""
    return tuple(row[0] for row in await connection.fetch(_LATEST, head, count))


def _name_of(item: bytes) -> str | None:
    item_id = name_of(item)
    return item_id if item_id is not None and is_storable(item_id) else None
