"""What models were shown, in PostgreSQL: see `turn.history`. An item lives as long as something leads to it."""

from collections.abc import Sequence
from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.turn.history import Head, Node

_ARE_THERE = "SELECT id FROM history WHERE id = ANY($1::bytea[])"
_KEEP = "SELECT keep_history_v1($1, $2, $3, $4, $5)"
_HEAD = "SELECT id, depth, size FROM history WHERE id = $1"
WALK: Final = """
WITH RECURSIVE shown (depth, previous, item) AS (
    SELECT depth, previous, item FROM history WHERE id = $1
    UNION ALL SELECT history.depth, history.previous, history.item FROM history JOIN shown ON history.id = shown.previous
) SELECT item FROM shown ORDER BY depth
"""
"""Returns the items up to one, the first one first."""

_WORTH_ASKING_BYTES: Final = 16 * 1024
"""Of items: to ask which of them are there costs more than to send so few."""


async def keep_history(
    connection: Connection, before: Head | None, nodes: Sequence[Node]
) -> tuple[bytes | None, bool]:
    """Write what is not there yet, and hold it for one more response, until it is released.

    Returns the last item, and whether all that leads to it is there: `before` may be gone, or not written yet.
    """
    anchor = None if before is None else before.id
    if not nodes:
        return anchor, anchor is None or await connection.fetchval(_KEEP, [], [], [], [], anchor)
    first = 0
    if sum(len(node.item) for node in nodes) > _WORTH_ASKING_BYTES:
        known = {row[0] for row in await connection.fetch(_ARE_THERE, [node.id for node in nodes])}
        first = next((place for place in range(len(nodes), 0, -1) if nodes[place - 1].id in known), 0)
        if first == len(nodes):
            first -= 1
    is_whole = await _keep(connection, nodes[first:], nodes[first].previous)
    if first and not is_whole:  # what was there has just been let go of by the last who held it
        is_whole = await _keep(connection, nodes[:first], anchor)
    return nodes[-1].id, is_whole


async def _keep(connection: Connection, nodes: Sequence[Node], before: bytes | None) -> bool:
    is_whole: bool = await connection.fetchval(
        _KEEP,
        [node.id for node in nodes],
        [node.depth for node in nodes],
        [node.size for node in nodes],
        [node.item for node in nodes],
        before,
    )
    return is_whole
