"""Where each item is that was kept, in SQLite; implements `ports.conversations.ItemStore`.

An output is found through the recording that it stands in, an input through the history that it is part of.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from antiphon.dialects.responses.output import output_of_frames, output_of_recording
from antiphon.drivers.sqlite.conversations import caught_up
from antiphon.drivers.sqlite.database import Database
from antiphon.recording import Recording
from antiphon.recording.codec import decode
from antiphon.turn.history import Node, node_id_of
from antiphon.turn.items import id_of

_IS_INDEXED = "SELECT 1 FROM recording_items WHERE recording_id = ? LIMIT 1"
_INDEX = "INSERT OR IGNORE INTO recording_items (id, recording_id) VALUES (?, ?)"
_RECORDING = """
SELECT recording_items.recording_id, data FROM recording_items
JOIN responses ON responses.recording_id = recording_items.recording_id
JOIN recordings ON recordings.id = recording_items.recording_id
WHERE recording_items.id = ? AND owner = ? AND expires_at >= ? ORDER BY expires_at DESC LIMIT 1
"""
_IN_CONVERSATION = "SELECT item FROM conversation_items WHERE owner = ? AND id = ?"
_NODE = "SELECT id, previous, depth, size, item FROM history WHERE id = ?"
_NODES = "SELECT id, previous, depth, size, item FROM history WHERE item_id = ?"
_ENDED_RUN = """
SELECT runs.id FROM runs JOIN run_events ON run_events.id = runs.id
WHERE owner = ? AND status NOT IN ('queued', 'in_progress')
AND instr(frame, 'response.output_item.done') AND instr(frame, ?) LIMIT 1
"""
_FRAMES = "SELECT frame FROM run_events WHERE id = ? ORDER BY seq"


class SqliteItems:
    """Items of all owners, each found by its owner alone."""

    def __init__(self, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        """Look into `database`."""
        self._database = database
        self._now = wall_clock

    async def find(self, item_ids: Sequence[str], owner: str) -> dict[str, bytes]:
        """Return those of the owner's items that there are."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> dict[str, bytes]:
            return _find(connection, item_ids, owner, now)

        is_behind = self._database.queued > 0
        found = await self._database.read(work)
        if is_behind and len(found) < len(set(item_ids)):
            # Perhaps it is part of an answer that was given just now.
            await caught_up(self._database)
            found = await self._database.read(work)
        return found


def index_output(connection: sqlite3.Connection, recording: Recording) -> None:
    """Write down which items a recording holds, once."""
    if connection.execute(_IS_INDEXED, (recording.id,)).fetchone() is None:
        ids = (id_of(item) for item in output_of_recording(recording))
        connection.executemany(_INDEX, [(each, recording.id) for each in ids if each is not None])


def _find(
    connection: sqlite3.Connection, item_ids: Sequence[str], owner: str, now: float
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item_id in item_ids:
        if item_id in found:
            continue
        row = connection.execute(_RECORDING, (item_id, owner, now)).fetchone()
        if row is not None:
            found = _named(output_of_recording(decode(row[1]))) | found
            continue
        row = connection.execute(_IN_CONVERSATION, (owner, item_id)).fetchone()
        item = row[0] if row is not None else _in_history(connection, item_id, owner)
        if item is not None:
            found[item_id] = item
            continue
        row = connection.execute(_ENDED_RUN, (owner, item_id.encode())).fetchone()
        if row is not None:
            frames = [frame for (frame,) in connection.execute(_FRAMES, row)]
            found = _named(output_of_frames(frames)) | found
    return {item_id: found[item_id] for item_id in item_ids if item_id in found}


def _in_history(connection: sqlite3.Connection, item_id: str, owner: str) -> bytes | None:
    node_id = node_id_of(item_id)
    unnamed = () if node_id is None else connection.execute(_NODE, (node_id,)).fetchall()
    for row in chain(unnamed, connection.execute(_NODES, (item_id,))):
        node = Node(*row)
        if node.belongs_to(owner):
            return node.item
    return None


def _named(items: Iterable[bytes]) -> dict[str, bytes]:
    named = ((id_of(item), item) for item in items)
    return {item_id: item for item_id, item in named if item_id is not None}
