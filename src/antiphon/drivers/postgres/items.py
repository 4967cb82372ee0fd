"""Where each item is that was kept, in PostgreSQL; implements `ports.conversations.ItemStore`."""

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

_INDEX = """
INSERT INTO recording_items (id, recording_id) SELECT unnest($1::text[]), $2 ORDER BY 1 ON CONFLICT DO NOTHING
"""
_RECORDINGS = """
SELECT DISTINCT ON (recording_items.id) recording_items.recording_id FROM recording_items
JOIN responses ON responses.recording_id = recording_items.recording_id
WHERE recording_items.id = ANY($1::text[]) AND owner = $2 AND expires_at >= $3
ORDER BY recording_items.id, expires_at DESC
"""
_DATA = "SELECT data FROM recordings WHERE id = ANY($1::text[])"
_IN_CONVERSATIONS = "SELECT id, item FROM conversation_items WHERE owner = $1 AND id = ANY($2::text[])"
_NODES = """
SELECT item_id, id, previous, depth, size, item FROM history
WHERE item_id = ANY($1::text[]) OR id = ANY($2::bytea[])
"""
_ENDED_RUN = """
SELECT array(SELECT frame FROM run_events WHERE id = found.id ORDER BY seq) FROM (
    SELECT runs.id FROM runs JOIN run_events ON run_events.id = runs.id
    WHERE owner = $1 AND status NOT IN ('queued', 'in_progress')
    AND position('response.output_item.done'::bytea IN frame) > 0 AND position($2::bytea IN frame) > 0 LIMIT 1
) AS found
"""


class PostgresItems:
    """Items of all owners, each found by its owner alone."""

    def __init__(self, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        """Look into `database`."""
        self._database = database
        self._now = wall_clock

    async def find(self, item_ids: Sequence[str], owner: str) -> dict[str, bytes]:
        """Return those of the owner's items that there are."""
        wanted = list(dict.fromkeys(filter(is_storable, item_ids)))
        is_behind = self._database.queue.queued > 0
        found = await self._find(wanted, owner)
        if is_behind and len(found) < len(wanted):
            # Perhaps it is part of an answer that was given just now.
            await self._database.queue.flushed()
            found = await self._find(wanted, owner)
        return found

    async def _find(self, wanted: Sequence[str], owner: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}

        def missing() -> list[str]:
            return [item_id for item_id in wanted if item_id not in found]

        recordings = await self._database.fetch(_RECORDINGS, wanted, owner, self._now())
        if recordings:
            rows = await self._database.fetch(_DATA, list({row[0] for row in recordings}))
            for (data,) in rows:
                found = _named(output_of_recording(decode(data))) | found
        if missing():
            rows = await self._database.fetch(_IN_CONVERSATIONS, owner, missing())
            found |= {row[0]: row[1] for row in rows}
        if missing():
            found |= await self._in_history(missing(), owner)
        for item_id in missing():
            row = await self._database.fetch_row(_ENDED_RUN, owner, item_id.encode())
            if row is not None:
                found = _named(output_of_frames(row[0])) | found
        return {item_id: found[item_id] for item_id in wanted if item_id in found}

    async def _in_history(self, wanted: Sequence[str], owner: str) -> dict[str, bytes]:
        unnamed = {node_id: each for each in wanted if (node_id := node_id_of(each)) is not None}
        found: dict[str, bytes] = {}
        for item_id, *columns in await self._database.fetch(_NODES, wanted, list(unnamed)):
            node = Node(*columns)
            if node.belongs_to(owner):
                found[str(unnamed.get(node.id, item_id))] = node.item
        return found


async def index_output(connection: Connection, recording: Recording) -> None:
    """Write down which items a recording holds."""
    named = (id_of(item) for item in output_of_recording(recording))
    ids = [item_id for item_id in named if item_id is not None and is_storable(item_id)]
    if ids:
        await connection.execute(_INDEX, ids, recording.id)


def _named(items: Iterable[bytes]) -> dict[str, bytes]:
    named = ((id_of(item), item) for item in items)
    return {item_id: item for item_id, item in named if item_id is not None}
