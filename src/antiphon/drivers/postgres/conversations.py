"""Conversations in PostgreSQL; implements `ports.conversations.ConversationStore`.

Locks are by the database's clock, which all hosts have in common.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database, now_at
from antiphon.drivers.postgres.values import is_storable
from antiphon.ports.conversations import Conversation, ItemPage, NamedItem, Refusal
from antiphon.turn.chain import Items
from antiphon.turn.items import PLAIN_ID, PageAsked, id_of, id_prefix_of, unknown_cursor
from antiphon.wire.objects import read_object, write_object

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
# The row is held to the end of the transaction: of two who want it one sees what the other has done.
_LOCK_OF = f"""
SELECT locked_until > {now_at(3)}, holder FROM conversations
WHERE id = $1 AND owner = $2 AND deleted_at IS NULL FOR UPDATE
"""  # noqa: S608 - a constant
_IS_RUNNING = "SELECT 1 FROM runs WHERE id = $1 AND status IN ('queued', 'in_progress')"
_LOCK = f"UPDATE conversations SET holder = $2, locked_until = {now_at(4)} + $3 WHERE id = $1"  # noqa: S608
_PROLONG = f"""
WITH held AS MATERIALIZED (
    SELECT conversations.id FROM conversations JOIN unnest($1::text[], $2::text[]) AS given (id, holder)
    ON conversations.id = given.id AND conversations.holder = given.holder
    WHERE locked_until > 0 ORDER BY conversations.id FOR UPDATE OF conversations
)
UPDATE conversations SET locked_until = {now_at(4)} + $3 FROM held WHERE conversations.id = held.id
"""  # noqa: S608
_UNLOCK = "UPDATE conversations SET holder = NULL, locked_until = 0 WHERE id = $1 AND holder = $2 RETURNING 1"
_HAND_OVER = "UPDATE conversations SET locked_until = 0 WHERE id = $1 AND holder = $2"
_GROW = """
UPDATE conversations SET next_place = next_place + $2, touched_at = $3 WHERE id = $1 RETURNING next_place
"""
_ADD = """
INSERT INTO conversation_items (conversation, place, owner, id, item) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (owner, id) DO NOTHING RETURNING 1
"""
_REMOVE = "DELETE FROM conversation_items WHERE owner = $1 AND id = $2 AND conversation = $3 RETURNING 1"
_ITEM = "SELECT id, item FROM conversation_items WHERE owner = $1 AND id = $2 AND conversation = $3"
_PLACE = "SELECT place FROM conversation_items WHERE owner = $1 AND id = $2 AND conversation = $3"
_PAGE = """
SELECT id, item FROM conversation_items
WHERE conversation = $1 AND owner = $2 AND place > $3 AND place < $4 ORDER BY place {} LIMIT $5
"""
_FIRST = """
SELECT item FROM conversation_items WHERE conversation = $1 AND owner = $2 ORDER BY place LIMIT $3
"""
_FORGOTTEN = (
    "SELECT id FROM conversations WHERE deleted_at < $1 OR touched_at < $2 LIMIT 100 FOR UPDATE SKIP LOCKED"
)
_DROP_ITEMS = "DELETE FROM conversation_items WHERE conversation = ANY($1::text[])"
_DROP = "DELETE FROM conversations WHERE id = ANY($1::text[])"

_BEFORE_ALL: Final = -1
_AFTER_ALL: Final = 1 << 62


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
            metadata = write_object(dict(conversation.metadata))
            await connection.execute(_CREATE, conversation.id, owner, conversation.created_at, metadata, now)
            return await _add(connection, conversation.id, owner, items, now)

        return await self._database.transact(work)

    async def get(self, conversation_id: str, owner: str) -> Conversation | None:
        """Return a conversation."""
        if not is_storable(conversation_id):
            return None
        row = await self._database.fetch_row(_GET, conversation_id, owner)
        return None if row is None else Conversation(conversation_id, row[0], read_object(row[1]))

    async def update(self, conversation_id: str, owner: str, metadata: dict[str, str]) -> Conversation | None:
        """Replace the metadata."""
        if not is_storable(conversation_id):
            return None
        written = write_object(dict(metadata))
        row = await self._database.fetch_row(_UPDATE, conversation_id, owner, written, self._now())
        return None if row is None else Conversation(conversation_id, row[0], read_object(row[1]))

    async def delete(self, conversation_id: str, owner: str) -> bool:
        """Delete a conversation; its items go later."""
        if not is_storable(conversation_id):
            return False
        return await self._database.fetch_row(_DELETE, conversation_id, owner, self._now()) is not None

    async def add(self, conversation_id: str, owner: str, items: Items) -> Sequence[NamedItem] | Refusal:
        """Add what a client brings."""
        now = self._now()

        async def work(connection: Connection) -> list[NamedItem] | Refusal:
            refusal = await self._refusal(connection, conversation_id, owner)
            return refusal or await _add(connection, conversation_id, owner, items, now)

        await self._database.queue.flushed()  # perhaps it is to be unlocked
        return await self._database.transact(work)

    async def remove(self, conversation_id: str, owner: str, item_id: str) -> bool | Refusal:
        """Remove an item."""

        async def work(connection: Connection) -> bool | Refusal:
            refusal = await self._refusal(connection, conversation_id, owner)
            if refusal is not None:
                return refusal
            if not is_storable(item_id):
                return False
            return await connection.fetchval(_REMOVE, owner, item_id, conversation_id) is not None

        await self._database.queue.flushed()
        return await self._database.transact(work)

    async def item(self, conversation_id: str, owner: str, item_id: str) -> NamedItem | None:
        """Return an item."""
        if not is_storable(conversation_id + item_id):
            return None
        await self._database.queue.flushed()
        row = await self._database.fetch_row(_ITEM, owner, item_id, conversation_id)
        return None if row is None else NamedItem(*row)

    async def page(self, conversation_id: str, owner: str, asked: PageAsked) -> ItemPage:
        """Return a page."""
        await self._database.queue.flushed()

        async def place_of(item_id: str, name: str) -> int:
            row = None
            if is_storable(item_id):
                row = await self._database.fetch_row(_PLACE, owner, item_id, conversation_id)
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
        rows = await self._database.fetch(select, conversation_id, owner, low, high, asked.limit + 1)
        return ItemPage([NamedItem(*row) for row in rows[: asked.limit]], len(rows) > asked.limit)

    async def items(self, conversation_id: str, owner: str, most: int) -> Items:
        """Return the first items."""
        await self._database.queue.flushed()
        rows = await self._database.fetch(_FIRST, conversation_id, owner, most)
        return tuple(item for (item,) in rows)

    async def lock(self, conversation_id: str, owner: str, holder: str, seconds: float) -> Refusal | None:
        """Let an answer have a conversation."""
        await self._database.queue.flushed()

        async def work(connection: Connection) -> Refusal | None:
            refusal = await self._refusal(connection, conversation_id, owner)
            if refusal is None:
                await connection.execute(_LOCK, conversation_id, holder, seconds, self._database.time())
            return refusal

        return await self._database.transact(work)

    async def prolong(self, held: Sequence[tuple[str, str]], seconds: float) -> None:
        """Prolong locks."""
        conversations, holders = [each for each, _ in held], [each for _, each in held]
        await self._database.fetch(_PROLONG, conversations, holders, seconds, self._database.time())

    def unlock(self, conversation_id: str, holder: str) -> None:
        """Let go of a conversation."""

        async def write(connection: Connection) -> None:
            await connection.execute(_UNLOCK, conversation_id, holder)

        self._database.queue.put(write)

    def append(self, conversation_id: str, owner: str, holder: str, items: Callable[[], Items]) -> None:
        """Add an answer that is not kept itself, and unlock."""
        now = self._now()

        async def write(connection: Connection) -> None:
            await add_answer(connection, conversation_id, owner, holder, items(), now)

        self._database.queue.put(write)

    def sweep(self, now: float) -> None:
        """Delete what was deleted or left alone for long enough."""
        untouched_since = -1.0 if self._retention is None else now - self._retention

        async def write(connection: Connection) -> None:
            while True:
                rows = await connection.fetch(_FORGOTTEN, now - self._deleted_retention, untouched_since)
                forgotten = [row[0] for row in rows]
                if not forgotten:
                    return
                await connection.execute(_DROP_ITEMS, forgotten)
                await connection.execute(_DROP, forgotten)

        self._database.queue.put(write)

    async def _refusal(self, connection: Connection, conversation_id: str, owner: str) -> Refusal | None:
        if not is_storable(conversation_id):
            return Refusal.UNKNOWN
        row = await connection.fetchrow(_LOCK_OF, conversation_id, owner, self._database.time())
        if row is None:
            return Refusal.UNKNOWN
        is_leased, holder = row
        if is_leased:
            return Refusal.LOCKED
        if holder is not None and await connection.fetchval(_IS_RUNNING, holder) is not None:
            return Refusal.LOCKED
        return None


async def add_answer(
    connection: Connection, conversation_id: str, owner: str, holder: str, items: Items, now: float
) -> None:
    """Add what an answer brings, if it still holds the conversation, and let go of it."""
    was_held = await connection.fetchval(_UNLOCK, conversation_id, holder) is not None
    if was_held and await connection.fetchrow(_GET, conversation_id, owner) is not None:
        await _add(connection, conversation_id, owner, items, now)


async def hand_over(connection: Connection, conversation_id: str, run_id: str) -> None:
    """From now on the lock lasts as long as the run that holds it."""
    await connection.execute(_HAND_OVER, conversation_id, run_id)


async def _add(
    connection: Connection, conversation_id: str, owner: str, items: Items, now: float
) -> list[NamedItem]:
    end = await connection.fetchval(_GROW, conversation_id, len(items), now)
    added = []
    for place, item in enumerate(items, end - len(items)):
        item_id = id_of(item)
        is_added = (
            item_id is not None
            and PLAIN_ID.fullmatch(item_id) is not None
            and await connection.fetchval(_ADD, conversation_id, place, owner, item_id, item) is not None
        )
        if not is_added:
            item_id = id_prefix_of(item) + secrets.token_hex(24)
            await connection.execute(_ADD, conversation_id, place, owner, item_id, item)
        added.append(NamedItem(str(item_id), item))
    return added
