"""Kept responses in PostgreSQL; implements `ports.stores.ResponseStore`."""

import sys
import time
from collections.abc import Callable

from antiphon.dialects.responses.output import output_of_recording
from antiphon.drivers.pending import Pending
from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.conversations import add_answer
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.history import WALK, keep_history
from antiphon.drivers.postgres.items import index_output
from antiphon.drivers.postgres.recordings import keep_recording
from antiphon.drivers.postgres.values import is_storable
from antiphon.drivers.rows import read_response, write_echo
from antiphon.ports.stores import KeptResponse
from antiphon.turn.chain import Items
from antiphon.turn.history import Context, Head, grow

_INSERT = """
INSERT INTO responses (id, owner, recording_id, created_at, echo, expires_at, history)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_SELECT = """
SELECT data, responses.created_at, echo, expires_at, history.id, history.depth, history.size
FROM responses JOIN recordings ON recordings.id = recording_id LEFT JOIN history ON history.id = responses.history
WHERE responses.id = $1 AND owner = $2
"""
_REPLACED = "DELETE FROM responses WHERE id = $1 AND owner = $2 RETURNING history"
_RELEASE = "SELECT release_history_v1($1)"
_DELETE = """
DELETE FROM responses WHERE id = $1 AND owner = $2 AND expires_at >= $3 RETURNING recording_id, history
"""
_RECORDINGS = "SELECT DISTINCT recording_id FROM responses WHERE id = $1 AND coalesce($2, owner) = owner"
_NOTE = """
INSERT INTO upstream_responses (id, owner, provider, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (id, owner) DO UPDATE SET provider = EXCLUDED.provider, expires_at = EXCLUDED.expires_at
"""
_NOTED = "SELECT provider FROM upstream_responses WHERE id = $1 AND owner = $2"

# Those that another host sweeps just now are left to it.
_EXPIRED = """
WITH chosen AS MATERIALIZED (
    SELECT id, owner FROM responses WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
), expired AS (
    DELETE FROM responses USING chosen
    WHERE responses.id = chosen.id AND responses.owner = chosen.owner RETURNING history
)
SELECT release_history_v1(history) FROM expired
"""
_ADD_UP = """
WITH added AS (DELETE FROM total_changes RETURNING bytes) INSERT INTO total_changes SELECT sum(bytes) FROM added
HAVING count(*) > 0
"""
_TOTAL = "SELECT coalesce(sum(bytes), 0)::bigint FROM total_changes"
_ALONE = "SELECT pg_try_advisory_xact_lock(4207849484110103)"
_OLDEST = """
SELECT responses.id, owner FROM recordings JOIN responses ON recording_id = recordings.id
ORDER BY recordings.created_at LIMIT $1
"""
_EXPIRED_NOTES = "DELETE FROM upstream_responses WHERE expires_at < $1"

_ROW_BYTES = 1024
_AT_ONCE = 200


class PostgresResponses:
    """Responses of all owners, each found by its owner alone."""

    def __init__(
        self,
        database: Database,
        wall_clock: Callable[[], float] = time.time,
        *,
        max_bytes: int = sys.maxsize,
    ) -> None:
        """Keep about `max_bytes` of responses and of what models were shown, oldest out first."""
        self._max_bytes = max_bytes
        self._database = database
        self._now = wall_clock
        # What is not committed yet is already to be found, in this process.
        self._pending = Pending()
        self._noted: dict[tuple[str, str], str] = {}

    @property
    def is_waited_for(self) -> bool:
        """Whether it takes writes; others always look there too."""
        return not self._database.queue.is_refusing

    @property
    def is_full(self) -> bool:
        """Whether storage cannot keep up."""
        return self._database.queue.is_full

    def when_written(self, tell: Callable[[], object]) -> None:
        """Call `tell` when others find what was handed over so far."""
        self._database.queue.when_written(tell)

    def put(self, kept: KeptResponse) -> None:
        """Keep a response."""
        context = kept.context or Context(None, ())
        nodes = grow(kept.owner, context.before, context.new)
        now = self._now()
        self._pending.add(kept, nodes)

        async def write(connection: Connection) -> None:
            await keep_response(connection, kept, await keep_history(connection, kept.owner, context, nodes))
            if context.conversation is not None:
                items = (*context.given, *output_of_recording(kept.recording))
                await add_answer(connection, context.conversation, kept.owner, kept.id, items, now)

        # The recording of a replay is shared with the cache, and written already.
        size = _ROW_BYTES if kept.is_replay else _ROW_BYTES + kept.recording.size
        self._database.queue.put(write, size, on_done=lambda: self._pending.drop(kept, nodes))

    async def get(self, response_id: str, owner: str) -> KeptResponse | None:
        """Return the owner's response."""
        now = self._now()
        pending = self._pending.get(response_id, owner)
        if pending is not None:
            return pending if pending.expires_at >= now else None
        if not is_storable(response_id):
            return None
        row = await self._database.fetch_row(_SELECT, response_id, owner)
        if row is None or row[3] < now:
            return None
        head = None if row[4] is None else Head(row[4], row[5], row[6])
        return read_response(response_id, owner, row[:4], head)

    async def history(self, head: bytes) -> Items:
        """Return what a model was shown, first item first. Raises StoreFault."""
        before, items = self._pending.latest(head)
        if before is None:
            return items
        return (*(row[0] for row in await self._database.fetch(WALK, before)), *items)

    async def delete(self, response_id: str, owner: str) -> str | None:
        """Delete the owner's response and return the id of its recording."""
        now = self._now()
        if not is_storable(response_id):
            return None
        if (response_id, owner) in self._pending:
            await self._database.queue.flushed()

        async def work(connection: Connection) -> str | None:
            row = await connection.fetchrow(_DELETE, response_id, owner, now)
            if row is None:
                return None
            await connection.execute(_RELEASE, row[1])
            return str(row[0])

        return await self._database.transact(work)

    async def recordings_of(self, response_id: str, owner: str | None = None) -> list[str]:
        """Return the recordings of the responses with this id. Raises StoreFault."""
        if not is_storable(response_id):
            return []
        await self._database.queue.flushed()
        return [row[0] for row in await self._database.fetch(_RECORDINGS, response_id, owner)]

    def note_upstream(self, response_id: str, owner: str, provider: str, expires_at: float) -> None:
        """Note that `provider` itself keeps a response of the owner."""
        noted = (response_id, owner)
        self._noted[noted] = provider

        async def write(connection: Connection) -> None:
            await connection.execute(_NOTE, response_id, owner, provider, expires_at)

        self._database.queue.put(write, 256, on_done=lambda: self._noted.pop(noted, None))

    async def upstream_of(self, response_id: str, owner: str) -> str | None:
        """Return the provider that keeps the owner's response."""
        provider = self._noted.get((response_id, owner))
        if provider is not None or not is_storable(response_id):
            return provider
        row = await self._database.fetch_row(_NOTED, response_id, owner)
        return None if row is None else str(row[0])

    def sweep(self, now: float) -> None:
        """Delete what nobody may retrieve any more, and the oldest beyond the bound."""

        async def delete_expired(connection: Connection) -> bool:
            return len(await connection.fetch(_EXPIRED, now, _AT_ONCE)) == _AT_ONCE

        async def forget(connection: Connection) -> None:
            await connection.execute(_EXPIRED_NOTES, now)

        self._database.queue.put_in_slices(delete_expired)
        self._database.queue.put(forget)
        self._database.queue.put_in_slices(self._make_room)

    async def _make_room(self, connection: Connection) -> bool:
        # The oldest recordings with all that show them. What runs and later responses were shown stays theirs.
        if not await connection.fetchval(_ALONE):
            return False  # another host is at it
        await connection.execute(_ADD_UP)
        oldest = await connection.fetch(_OLDEST, _AT_ONCE)
        for response_id, owner in oldest:
            if await connection.fetchval(_TOTAL) <= self._max_bytes:
                return False
            history = await connection.fetchval(_REPLACED, response_id, owner)
            await connection.execute(_RELEASE, history)
        return bool(oldest)


async def keep_response(connection: Connection, kept: KeptResponse, history: bytes | None) -> None:
    """Write a response whose history is held for it."""
    await keep_recording(connection, kept.recording)
    await index_output(connection, kept.recording)
    # With `ids: original` one may be there: it is replaced, and what it held is let go.
    replaced = await connection.fetchrow(_REPLACED, kept.id, kept.owner)
    await connection.execute(
        _INSERT,
        kept.id,
        kept.owner,
        kept.recording.id,
        kept.created_at,
        write_echo(kept.echoed),
        kept.expires_at,
        history,
    )
    if replaced is not None:
        await connection.execute(_RELEASE, replaced[0])
