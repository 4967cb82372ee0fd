"""Conversations in SQLite; implements `ports.conversations.ConversationStore`."""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from antiphon.drivers.sqlite.database import Database
from antiphon.ports.conversations import Conversation, ItemPage, NamedItem, Refusal
from antiphon.turn.chain import Items
from antiphon.turn.items import PLAIN_ID, PageAsked, id_of, id_prefix_of, unknown_cursor
from antiphon.wire.objects import read_object, write_object

_CREATE = """
INSERT INTO conversations (id, owner, created_at, metadata, touched_at, locked_until) VALUES (?, ?, ?, ?, ?, 0)
"""
_GET = "SELECT created_at, metadata FROM conversations WHERE id = ? AND owner = ? AND deleted_at IS NULL"
_UPDATE = """
UPDATE conversations SET metadata = ?, touched_at = ? WHERE id = ? AND owner = ? AND deleted_at IS NULL
"""
_DELETE = "UPDATE conversations SET deleted_at = ? WHERE id = ? AND owner = ? AND deleted_at IS NULL"
_LOCK_OF = """
SELECT locked_until > ? OR EXISTS (
    SELECT 1 FROM runs WHERE runs.id = conversations.holder AND status IN ('queued', 'in_progress')
)
FROM conversations WHERE id = ? AND owner = ? AND deleted_at IS NULL
"""
_LOCK = "UPDATE conversations SET holder = ?, locked_until = ? WHERE id = ?"
_PROLONG = "UPDATE conversations SET locked_until = ? WHERE id = ? AND holder = ? AND locked_until > 0"
_UNLOCK = "UPDATE conversations SET holder = NULL, locked_until = 0 WHERE id = ? AND holder = ?"
_HAND_OVER = "UPDATE conversations SET locked_until = 0 WHERE id = ? AND holder = ?"
_GROW = """
UPDATE conversations SET next_place = next_place + ?, touched_at = ? WHERE id = ? RETURNING next_place
"""
_IS_TAKEN = "SELECT 1 FROM conversation_items WHERE owner = ? AND id = ?"
_ADD = "INSERT INTO conversation_items (conversation, place, owner, id, item) VALUES (?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM conversation_items WHERE owner = ? AND id = ? AND conversation = ?"
_ITEM = "SELECT id, item FROM conversation_items WHERE owner = ? AND id = ? AND conversation = ?"
_PLACE = "SELECT place FROM conversation_items WHERE owner = ? AND id = ? AND conversation = ?"
_PAGE = """
SELECT id, item FROM conversation_items
WHERE conversation = ? AND owner = ? AND place > ? AND place < ? ORDER BY place {} LIMIT ?
"""
_FIRST = "SELECT item FROM conversation_items WHERE conversation = ? AND owner = ? ORDER BY place LIMIT ?"
_FORGOTTEN = "SELECT id FROM conversations WHERE deleted_at < ? OR touched_at < ?"
_DROP_ITEMS = "DELETE FROM conversation_items WHERE conversation = ?"
_DROP = "DELETE FROM conversations WHERE id = ?"

_BEFORE_ALL: Final = -1
_AFTER_ALL: Final = 1 << 62


class SqliteConversations:
    """Conversations of all workers that share the file."""

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

        def work(connection: sqlite3.Connection) -> list[NamedItem]:
            metadata = write_object(dict(conversation.metadata))
            connection.execute(_CREATE, (conversation.id, owner, conversation.created_at, metadata, now))
            return _add(connection, conversation.id, owner, items, now)

        return await self._database.written(work)

    async def get(self, conversation_id: str, owner: str) -> Conversation | None:
        """Return a conversation."""
        return await self._database.read(partial(_get, conversation_id=conversation_id, owner=owner))

    async def update(self, conversation_id: str, owner: str, metadata: dict[str, str]) -> Conversation | None:
        """Replace the metadata."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> Conversation | None:
            connection.execute(_UPDATE, (write_object(dict(metadata)), now, conversation_id, owner))
            return _get(connection, conversation_id, owner)

        return await self._database.written(work)

    async def delete(self, conversation_id: str, owner: str) -> bool:
        """Delete a conversation; its items go later."""
        now = self._now()
        return await self._database.written(
            lambda connection: connection.execute(_DELETE, (now, conversation_id, owner)).rowcount > 0
        )

    async def add(self, conversation_id: str, owner: str, items: Items) -> Sequence[NamedItem] | Refusal:
        """Add what a client brings."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> list[NamedItem] | Refusal:
            refusal = _refusal(connection, conversation_id, owner, now)
            return refusal or _add(connection, conversation_id, owner, items, now)

        return await self._database.written(work)

    async def remove(self, conversation_id: str, owner: str, item_id: str) -> bool | Refusal:
        """Remove an item."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> bool | Refusal:
            refusal = _refusal(connection, conversation_id, owner, now)
            if refusal is not None:
                return refusal
            return connection.execute(_REMOVE, (owner, item_id, conversation_id)).rowcount > 0

        return await self._database.written(work)

    async def item(self, conversation_id: str, owner: str, item_id: str) -> NamedItem | None:
        """Return an item."""
        row = await self._read(
            lambda connection: connection.execute(_ITEM, (owner, item_id, conversation_id)).fetchone()
        )
        return None if row is None else NamedItem(*row)

    async def page(self, conversation_id: str, owner: str, asked: PageAsked) -> ItemPage:
        """Return a page."""

        def place_of(connection: sqlite3.Connection, item_id: str, name: str) -> int:
            row = connection.execute(_PLACE, (owner, item_id, conversation_id)).fetchone()
            if row is None:
                raise unknown_cursor(item_id, name)
            return int(row[0])

        def work(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            start, end = (_AFTER_ALL, _BEFORE_ALL) if asked.is_descending else (_BEFORE_ALL, _AFTER_ALL)
            if asked.after is not None:
                start = place_of(connection, asked.after, "after")
            if asked.before is not None:
                end = place_of(connection, asked.before, "before")
            low, high = (end, start) if asked.is_descending else (start, end)
            select = _PAGE.format("DESC" if asked.is_descending else "ASC")
            return connection.execute(select, (conversation_id, owner, low, high, asked.limit + 1)).fetchall()

        rows = await self._read(work)
        return ItemPage([NamedItem(*row) for row in rows[: asked.limit]], len(rows) > asked.limit)

    async def items(self, conversation_id: str, owner: str, most: int) -> Items:
        """Return the first items."""
        rows = await self._read(
            lambda connection: connection.execute(_FIRST, (conversation_id, owner, most)).fetchall()
        )
        return tuple(item for (item,) in rows)

    async def lock(self, conversation_id: str, owner: str, holder: str, seconds: float) -> Refusal | None:
        """Let an answer have a conversation."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> Refusal | None:
            refusal = _refusal(connection, conversation_id, owner, now)
            if refusal is None:
                connection.execute(_LOCK, (holder, now + seconds, conversation_id))
            return refusal

        return await self._database.written(work)

    async def prolong(self, held: Sequence[tuple[str, str]], seconds: float) -> None:
        """Prolong locks."""
        until = self._now() + seconds
        await self._database.written(
            lambda connection: connection.executemany(_PROLONG, [(until, *each) for each in held])
        )

    def unlock(self, conversation_id: str, holder: str) -> None:
        """Let go of a conversation."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_UNLOCK, (conversation_id, holder))

        self._database.write(work)

    def append(self, conversation_id: str, owner: str, holder: str, items: Callable[[], Items]) -> None:
        """Add an answer that is not kept itself, and unlock."""
        now = self._now()
        self._database.write(
            lambda connection: add_answer(connection, conversation_id, owner, holder, items(), now)
        )

    def sweep(self, now: float) -> None:
        """Delete what was deleted or left alone for long enough."""
        untouched_since = -1.0 if self._retention is None else now - self._retention

        def work(connection: sqlite3.Connection) -> None:
            since = (now - self._deleted_retention, untouched_since)
            for (conversation_id,) in connection.execute(_FORGOTTEN, since).fetchall():
                connection.execute(_DROP_ITEMS, (conversation_id,))
                connection.execute(_DROP, (conversation_id,))

        self._database.write(work)

    async def _read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Read when all is written that was to be written before."""
        await caught_up(self._database)
        return await self._database.read(work)


async def caught_up(database: Database) -> None:
    """Wait until what is queued for writing now is committed."""
    if not database.queued:
        return
    done = asyncio.Event()
    if database.when_written(done.set):
        await done.wait()


def add_answer(
    connection: sqlite3.Connection, conversation_id: str, owner: str, holder: str, items: Items, now: float
) -> None:
    """Add what an answer brings, if it still holds the conversation, and let go of it."""
    was_held = connection.execute(_UNLOCK, (conversation_id, holder)).rowcount > 0
    if was_held and connection.execute(_GET, (conversation_id, owner)).fetchone() is not None:
        _add(connection, conversation_id, owner, items, now)


def hand_over(connection: sqlite3.Connection, conversation_id: str, run_id: str) -> None:
    """From now on the lock lasts as long as the run that holds it."""
    connection.execute(_HAND_OVER, (conversation_id, run_id))


def _get(connection: sqlite3.Connection, conversation_id: str, owner: str) -> Conversation | None:
    row = connection.execute(_GET, (conversation_id, owner)).fetchone()
    return None if row is None else Conversation(conversation_id, row[0], read_object(row[1]))


def _refusal(connection: sqlite3.Connection, conversation_id: str, owner: str, now: float) -> Refusal | None:
    row = connection.execute(_LOCK_OF, (now, conversation_id, owner)).fetchone()
    if row is None:
        return Refusal.UNKNOWN
    return Refusal.LOCKED if row[0] else None


def _add(
    connection: sqlite3.Connection, conversation_id: str, owner: str, items: Items, now: float
) -> list[NamedItem]:
    (end,) = connection.execute(_GROW, (len(items), now, conversation_id)).fetchone()
    added = []
    for place, item in enumerate(items, end - len(items)):
        item_id = id_of(item)
        if (
            item_id is None
            or PLAIN_ID.fullmatch(item_id) is None
            or connection.execute(_IS_TAKEN, (owner, item_id)).fetchone() is not None
        ):
            item_id = id_prefix_of(item) + secrets.token_hex(24)
        connection.execute(_ADD, (conversation_id, place, owner, item_id, item))
        added.append(NamedItem(item_id, item))
    return added
