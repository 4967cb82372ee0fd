"""Where each item is that was kept, in PostgreSQL; implements `ports.conversations.ItemStore`.

An output is found through the recording that it stands in, an input through the history that it is part of.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from antiphon.dialects.responses.output import output_of_frames, output_of_recording
from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.values import is_storable
from antiphon.recording import Recording
from antiphon.recording.codec import decode
from antiphon.turn.history import Node, node_id_of
from antiphon.turn.items import id_of

_IS_INDEXED = "SELECT 1 FROM recording_items WHERE recording_id = $1 LIMIT 1"
_INDEX = """
INSERT INTO recording_items (id, recording_id) SELECT DISTINCT unnest($1::text[]), $2 ORDER BY 1
ON CONFLICT DO NOTHING
"""
_RECORDING = """
SELECT data FROM recording_items
JOIN responses ON responses.recording_id = recording_items.recording_id
JOIN recordings ON recordings.id = recording_items.recording_id
WHERE recording_items.id = $1 AND owner = $2 AND expires_at >= $3 ORDER BY expires_at DESC LIMIT 1
"""
_IN_CONVERSATION = "SELECT item FROM conversation_items WHERE owner = $1 AND id = $2"
_NODES = """
SELECT id, previous, depth, size, item FROM history WHERE id = $1
UNION ALL SELECT id, previous, depth, size, item FROM history WHERE item_id = $2
"""
_ENDED_RUN = """
SELECT runs.id FROM runs JOIN run_events ON run_events.id = runs.id
WHERE owner = $1 AND status NOT IN ('queued', 'in_progress')
AND position('response.output_item.done'::bytea IN frame) > 0 AND position($2::bytea IN frame) > 0 LIMIT 1
"""
_FRAMES = "SELECT frame FROM run_events WHERE id = $1 ORDER BY seq"


class PostgresItems:
    """Items of all owners, each found by its owner alone."""

    def __init__(self, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        """Look into `database`."""
        self._database = database
        self._now = wall_clock

    async def find(self, item_ids: Sequence[str], owner: str) -> dict[str, bytes]:
        """Return those of the owner's items that there are."""
        asked = [item_id for item_id in item_ids if is_storable(item_id)]
        is_behind = self._database.queue.queued > 0
        found = await self._find(asked, owner)
        if is_behind and len(found) < len(set(asked)):
            # Perhaps it is part of an answer that was given just now.
            await self._database.queue.flushed()
            found = await self._find(asked, owner)
        return found

    async def _find(self, item_ids: Sequence[str], owner: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for item_id in item_ids:
            if item_id not in found:
                found = await self._look_for(item_id, owner) | found
        return {item_id: found[item_id] for item_id in item_ids if item_id in found}

    async def _look_for(self, item_id: str, owner: str) -> dict[str, bytes]:
        """Return the item, and others that stand where it was found."""
        database = self._database
        row = await database.fetch_row(_RECORDING, item_id, owner, self._now())
        if row is not None:
            return _named(await asyncio.to_thread(lambda data: output_of_recording(decode(data)), row[0]))
        row = await database.fetch_row(_IN_CONVERSATION, owner, item_id)
        if row is not None:
            return {item_id: row[0]}
        for each in await database.fetch(_NODES, node_id_of(item_id), item_id):
            node = Node(*each)
            if node.belongs_to(owner):
                return {item_id: node.item}
        row = await database.fetch_row(_ENDED_RUN, owner, item_id.encode())
        if row is not None:
            return _named(output_of_frames([frame for (frame,) in await database.fetch(_FRAMES, row[0])]))
        return {}


async def index_output(connection: Connection, recording: Recording) -> None:
    """Write down which items a recording holds, once."""
    if await connection.fetchval(_IS_INDEXED, recording.id) is None:
        output = await asyncio.to_thread(output_of_recording, recording)
        ids = [item_id for item_id in map(id_of, output) if item_id is not None and is_storable(item_id)]
        if ids:
            await connection.execute(_INDEX, ids, recording.id)


def _named(items: Iterable[bytes]) -> dict[str, bytes]:
    named = ((id_of(item), item) for item in items)
    return {item_id: item for item_id, item in named if item_id is not None}
