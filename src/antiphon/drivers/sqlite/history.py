"""What models were shown, in SQLite: see `turn.history`. An item lives as long as something leads to it."""

import sqlite3
from collections.abc import Sequence
from operator import itemgetter

from antiphon.turn.chain import Items
from antiphon.turn.history import Context, Head, Node, grow
from antiphon.turn.items import name_of

_IS_THERE = "SELECT 1 FROM history WHERE id = ?"
_INSERT = "INSERT INTO history (id, previous, depth, size, item, item_id) VALUES (?, ?, ?, ?, ?, ?)"
_HOLD = "UPDATE history SET holders = holders + 1 WHERE id = ?"
_RELEASE = "UPDATE history SET holders = holders - 1 WHERE id = ? RETURNING holders"
_DROP = "DELETE FROM history WHERE id = ? RETURNING previous"
_RELEASED = "DELETE FROM released_histories RETURNING id"
_HEAD = "SELECT id, depth, size FROM history WHERE id = ?"
_ONE = "SELECT previous, item FROM history WHERE id = ?"
# By row numbers: items that were carried along and sorted by the way would take twice the time.
_WALK = """
WITH RECURSIVE shown (row, previous) AS (
    SELECT rowid, previous FROM history WHERE id = ?
    UNION ALL SELECT history.rowid, history.previous FROM history JOIN shown ON history.id = shown.previous
) SELECT depth, item FROM shown JOIN history ON history.rowid = shown.row
"""


def keep_history(
    connection: sqlite3.Connection, owner: str, context: Context, nodes: Sequence[Node]
) -> bytes | None:
    """Write what is not there yet, and hold it for one more response, until `release`. Returns the last item.

    `nodes` are those of what is new in `context`.
    """
    before = context.before
    if (
        before is not None
        and context.shown is not None
        and connection.execute(_IS_THERE, (before.id,)).fetchone() is None
    ):
        # What is continued was deleted while the answer was made.
        nodes = grow(owner, None, context.shown)
    head = nodes[-1].id if nodes else before.id if before is not None else None
    if head is None:
        return None
    first = len(nodes)
    while first and connection.execute(_IS_THERE, (nodes[first - 1].id,)).fetchone() is None:
        first -= 1
    missing = nodes[first:]
    connection.executemany(_INSERT, [(*node, name_of(node.item)) for node in missing])
    connection.executemany(_HOLD, [(node.previous,) for node in missing if node.previous is not None])
    connection.execute(_HOLD, (head,))
    return head


def release(connection: sqlite3.Connection, head: bytes | None) -> None:
    """Let go of a history: what nothing leads to any more is deleted."""
    while head is not None:
        row = connection.execute(_RELEASE, (head,)).fetchone()
        if row is None or row[0] > 0:
            return
        (head,) = connection.execute(_DROP, (head,)).fetchone()


def drop_released_histories(connection: sqlite3.Connection) -> None:
    """Let go of the histories that deleted responses have held."""
    for (head,) in connection.execute(_RELEASED).fetchall():
        release(connection, head)


def read_head(connection: sqlite3.Connection, head: bytes | None) -> Head | None:
    """Return where a history ends."""
    row = None if head is None else connection.execute(_HEAD, (head,)).fetchone()
    return None if row is None else Head(*row)


def read_history(connection: sqlite3.Connection, head: bytes) -> Items:
    """Return the items up to `head`, the first one first."""
    rows = connection.execute(_WALK, (head,)).fetchall()
    rows.sort(key=itemgetter(0))
    return tuple(item for _, item in rows)


def read_latest(connection: sqlite3.Connection, head: bytes | None, count: int) -> Items:
    """Return the last items up to `head`, the first of them first."""
    latest: list[bytes] = []
    while head is not None and len(latest) < count:
        head, item = connection.execute(_ONE, (head,)).fetchone()
        latest.append(item)
    return tuple(reversed(latest))
