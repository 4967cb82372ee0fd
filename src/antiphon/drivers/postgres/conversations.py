"""Conversations in PostgreSQL; implements `ports.conversations.ConversationStore`. Locks are by the database's clock."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from antiphon.drivers.postgres.connection import Connection, Row
from antiphon.drivers.postgres.database import Database, now_at
from antiphon.drivers.postgres.values import is_storable
from antiphon.ports.conversations import Conversation, ItemPage, NamedItem, Refusal
from antiphon.turn.chain import Items
from antiphon.turn.items import PageAsked, id_of, id_prefix_of, unknown_cursor

_CREATE = """
INSERT INTO conversations (id, owner, created_at, metadata, touched_at) VALUES ($1, $2, $3, $4, $5)
"""
_GET = "SELECT created_at, metadata FROM conversations WHERE id = $1 AND owner = $2 AND deleted_at IS NULL"
_UPDATE = """
UPDATE conversations SET metadata = $3, touched_at = $4 WHERE id = $1 AND owner = $2 AND deleted_at IS NULL
RETURNING created_at, metadata
"""
_DELETE = """
UPDATE conversations SET deleted_at = $3 WHERE id = $1 AND owner = $2 AND deleted_at IS NULL RETURNING id
"""
_LOCK_OF = f"""
SELECT locked_until > {now_at(3)} OR EXISTS (
    SELECT FROM runs WHERE runs.id = conversations.holder AND status IN ('queued', 'in_progress')
)
FROM conversations WHERE id = $1 AND owner = $2 AND deleted_at IS NULL FOR UPDATE
"""  # noqa: S608 - constants
_LOCK = f"UPDATE conversations SET holder = $2, locked_until = {now_at(4)} + $3 WHERE id = $1"  # noqa: S608
_PROLONG = f"""
WITH held AS MATERIALIZED (
    SELECT conversations.id FROM conversations JOIN unnest($1::text[], $2::text[]) AS given (id, holder)
    ON conversations.id = given.id AND conversations.holder = given.holder
    WHERE locked_until > 0 ORDER BY conversations.id FOR UPDATE OF conversations
)
UPDATE conversations SET locked_until = {now_at(4)} + $3 FROM held WHERE conversations.id = held.id
"""  # noqa: S608
_UNLOCK = """
UPDATE conversations SET holder = NULL, locked_until = 0 WHERE id = $1 AND holder = $2
RETURNING owner, deleted_at IS NULL
"""
_HAND_OVER = "UPDATE conversations SET locked_until = 0 WHERE id = $1 AND holder = $2"
_GROW = """
UPDATE conversations SET next_place = next_place + $2, touched_at = $3 WHERE id = $1 RETURNING next_place
"""
_ARE_TAKEN = "SELECT id FROM conversation_items WHERE owner = $1 AND id = ANY($2::text[])"
_ADD = "INSERT INTO conversation_items (conversation, place, owner, id, item) VALUES ($1, $2, $3, $4, $5)"
_REMOVE = "DELETE FROM conversation_items WHERE owner = $1 AND id = $2 AND conversation = $3 RETURNING id"
_ITEM = "SELECT id, item FROM conversation_items WHERE owner = $1 AND id = $2 AND conversation = $3"
_PLACE = "SELECT place FROM conversation_items WHERE owner = $1 AND id = $2 AND conversation = $3"
_PAGE = """
SELECT id, item FROM conversation_items
WHERE conversation = $1 AND owner = $2 AND place > $3 AND place < $4 ORDER BY place {} LIMIT $5
"""
_FIRST = "SELECT item FROM conversation_items WHERE conversation = $1 AND owner = $2 ORDER BY place LIMIT $3"
_FORGOTTEN = """
SELECT id FROM conversations WHERE deleted_at < $1 OR touched_at < $2 LIMIT $3 FOR UPDATE SKIP LOCKED
"""
_DROP_ITEMS = "DELETE FROM conversation_items WHERE conversation = ANY($1::text[])"
_DROP = "DELETE FROM conversations WHERE id = ANY($1::text[])"

_T = TypeVar("_T")

_BEFORE_ALL: Final = -1
_AFTER_ALL: Final = 1 << 62
_AT_ONCE: Final = 100
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_READ_METADATA: Final = msgspec.json.Decoder(dict[str, str]).decode


class PostgresConversations:
    """Conversations of all workers of all hosts."""

    def __init__(
        self,
        database: Database,
        *,
        retention: float | None,
        deleted_retention: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Forget conversations of which nothing has changed for `retention` seconds; None keeps them for ever.

        The items of deleted conversations are kept for `deleted_retention` seconds.
        """
        self._database = database
        self._retention = retention
        self._deleted_retention = deleted_retention
        self._now = wall_clock

    async def create(self, conversation: Conversation, owner: str, items: Items) -> Sequence[NamedItem]:
        """Keep a new conversation, and return its first items."""
        now = self._now()

        async def work(connection: Connection) -> list[NamedItem]:
            metadata = msgspec.json.encode(conversation.metadata)
            await connection.execute(_CREATE, conversation.id, owner, conversation.created_at, metadata, now)
            return await _add(connection, conversation.id, owner, items, now)

        return await self._database.transact(work)

    async def get(self, conversation_id: str, owner: str) -> Conversation | None:
        """Return a conversation."""
        row = await self._row(_GET, conversation_id, owner)
        return None if row is None else _conversation(conversation_id, row)

    async def update(self, conversation_id: str, owner: str, metadata: dict[str, str]) -> Conversation | None:
        """Replace the metadata."""
        row = await self._row(_UPDATE, conversation_id, owner, msgspec.json.encode(metadata), self._now())
        return None if row is None else _conversation(conversation_id, row)

    async def delete(self, conversation_id: str, owner: str) -> bool:
        """Delete a conversation; its items go later."""
        return await self._row(_DELETE, conversation_id, owner, self._now()) is not None

    async def add(self, conversation_id: str, owner: str, items: Items) -> Sequence[NamedItem] | Refusal:
        """Add what a client brings."""
        now = self._now()

        async def work(connection: Connection) -> list[NamedItem] | Refusal:
            refusal = await self._refusal(connection, conversation_id, owner)
            return refusal or await _add(connection, conversation_id, owner, items, now)

        return await self._written(conversation_id, work)

    async def remove(self, conversation_id: str, owner: str, item_id: str) -> bool | Refusal:
        """Remove an item."""

        async def work(connection: Connection) -> bool | Refusal:
            refusal = await self._refusal(connection, conversation_id, owner)
            if refusal is not None:
                return refusal
            return await connection.fetchval(_REMOVE, owner, item_id, conversation_id) is not None

        return await self._written(conversation_id, work) if is_storable(item_id) else False

    async def item(self, conversation_id: str, owner: str, item_id: str) -> NamedItem | None:
        """Return an item."""
        await self._database.queue.flushed()
        row = await self._row(_ITEM, owner, item_id, conversation_id)
        return None if row is None else NamedItem(*row)

    async def page(self, conversation_id: str, owner: str, asked: PageAsked) -> ItemPage:
        """Return a page."""
        await self._database.queue.flushed()

        async def place_of(item_id: str, name: str) -> int:
            row = await self._row(_PLACE, owner, item_id, conversation_id)
            if row is None:
                raise unknown_cursor(item_id, name)
            return int(row[0])

        start, end = (_AFTER_ALL, _BEFORE_ALL) if asked.is_descending else (_BEFORE_ALL, _AFTER_ALL)
        if asked.after is not None:
            start = await place_of(asked.after, "after")
        if asked.before is not None:
            end = await place_of(asked.before, "before")
        low, high = (end, start) if asked.is_descending else (start, end)
        select = _PAGE.format("DESC" if asked.is_descending else "ASC")
        rows = await self._rows(select, conversation_id, owner, low, high, asked.limit + 1)
        return ItemPage([NamedItem(*row) for row in rows[: asked.limit]], len(rows) > asked.limit)

    async def items(self, conversation_id: str, owner: str, most: int) -> Items:
        """Return the first items."""
        await self._database.queue.flushed()
        return tuple(row[0] for row in await self._rows(_FIRST, conversation_id, owner, most))

    async def lock(self, conversation_id: str, owner: str, holder: str, seconds: float) -> Refusal | None:
        """Let an answer have a conversation."""
        await self._database.queue.flushed()  # the end of the answer before may wait there

        async def work(connection: Connection) -> Refusal | None:
            refusal = await self._refusal(connection, conversation_id, owner)
            if refusal is None:
                await connection.execute(_LOCK, conversation_id, holder, seconds, self._database.time())
            return refusal

        return await self._written(conversation_id, work)

    async def prolong(self, held: Sequence[tuple[str, str]], seconds: float) -> None:
        """Prolong locks."""
        ids, holders = [each for each, _ in held], [holder for _, holder in held]
        await self._database.fetch(_PROLONG, ids, holders, seconds, self._database.time())

    def unlock(self, conversation_id: str, holder: str) -> None:
        """Let go of a conversation."""

        async def write(connection: Connection) -> None:
            await connection.execute(_UNLOCK, conversation_id, holder)

        self._database.queue.put(write)

    def append(self, conversation_id: str, owner: str, holder: str, items: Callable[[], Items]) -> None:
        """Add an answer that is not kept itself, and unlock."""
        now = self._now()

        async def write(connection: Connection) -> None:
            brought = await asyncio.to_thread(items)
            await add_answer(connection, conversation_id, owner, holder, brought, now)

        self._database.queue.put(write)

    def sweep(self, now: float) -> None:
        """Delete what was deleted or left alone for long enough."""
        untouched_since = -1.0 if self._retention is None else now - self._retention

        async def work(connection: Connection) -> bool:
            since = (now - self._deleted_retention, untouched_since)
            forgotten = [row[0] for row in await connection.fetch(_FORGOTTEN, *since, _AT_ONCE)]
            await connection.execute(_DROP_ITEMS, forgotten)
            await connection.execute(_DROP, forgotten)
            return len(forgotten) == _AT_ONCE

        self._database.queue.put_in_slices(work)

    async def _rows(self, statement: str, *values: str | float | bytes) -> list[Row]:
        if not all(is_storable(value) for value in values if isinstance(value, str)):
            return []
        return await self._database.fetch(statement, *values)

    async def _row(self, statement: str, *values: str | float | bytes) -> Row | None:
        rows = await self._rows(statement, *values)
        return rows[0] if rows else None

    async def _written(
        self, conversation_id: str, work: Callable[[Connection], Awaitable[_T | Refusal]]
    ) -> _T | Refusal:
        return await self._database.transact(work) if is_storable(conversation_id) else Refusal.UNKNOWN

    async def _refusal(self, connection: Connection, conversation_id: str, owner: str) -> Refusal | None:
        """Say why the conversation cannot be written; from now on nobody else writes it."""
        row = await connection.fetchrow(_LOCK_OF, conversation_id, owner, self._database.time())
        if row is None:
            return Refusal.UNKNOWN
        return Refusal.LOCKED if row[0] else None


async def add_answer(
    connection: Connection, conversation_id: str, owner: str, holder: str, items: Items, now: float
) -> None:
    """Add what an answer brings, if it still holds the conversation, and let go of it."""
    row = await connection.fetchrow(_UNLOCK, conversation_id, holder)
    if row is not None and tuple(row) == (owner, True):
        await _add(connection, conversation_id, owner, items, now)


async def hand_over(connection: Connection, conversation_id: str, run_id: str) -> None:
    """From now on the lock lasts as long as the run that holds it."""
    await connection.execute(_HAND_OVER, conversation_id, run_id)


def _conversation(conversation_id: str, row: Row) -> Conversation:
    return Conversation(conversation_id, row[0], _READ_METADATA(row[1]))


async def _add(
    connection: Connection, conversation_id: str, owner: str, items: Items, now: float
) -> list[NamedItem]:
    end = await connection.fetchval(_GROW, conversation_id, len(items), now)
    named = [(id_of(item), item) for item in items]
    brought = [item_id for item_id, _ in named if item_id is not None and _ID.fullmatch(item_id)]
    free = set(brought) - {row[0] for row in await connection.fetch(_ARE_TAKEN, owner, brought)}
    added = []
    for brought_id, item in named:
        if brought_id is not None and brought_id in free:
            free.remove(brought_id)
            item_id = brought_id
        else:
            item_id = id_prefix_of(item) + secrets.token_hex(24)
        added.append(NamedItem(item_id, item))
    # Who takes an id at the same time elsewhere makes this fail, and it is done again.
    await connection.executemany(
        _ADD,
        [
            (conversation_id, place, owner, item_id, item)
            for place, (item_id, item) in enumerate(added, end - len(items))
        ],
    )
    return added
