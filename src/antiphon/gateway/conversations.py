"""The routes of the Conversations API (specification, section 2.8)."""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec

from antiphon.engine.conversations import fault_of
from antiphon.engine.idempotency.keeping import UNKNOWN_OUTCOME
from antiphon.engine.references import References
from antiphon.engine.tasks import Tasks
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.ports.conversations import Conversation, ConversationStore, Refusal
from antiphon.ports.reply import Headers, Reply
from antiphon.turn.chain import Items, input_items
from antiphon.turn.create import check_metadata
from antiphon.turn.items import listed, read_page_asked, write_page
from antiphon.turn.request import read_items
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import Members, read_members
from antiphon.wire.objects import read_object, write_object

_PATH: Final = "/v1/conversations"
_PREFIX: Final = "conv_"
_MOST_ITEMS: Final = 20
_ITEMS: Final = "items"
_METADATA: Final = "metadata"
_NULL: Final = b"null"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, who asks, and what the path names."""

    request: Request
    owner: str
    conversation_id: str
    item_id: str


class ConversationRoutes:
    """Handlers over the conversations; each owner sees only what is theirs."""

    def __init__(
        self,
        store: ConversationStore,
        references: References,
        keyring: Keyring,
        tasks: Tasks,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Serve from `store`; `references` find items that a client names by their ids."""
        self._store = store
        self._references = references
        self._keyring = keyring
        self._tasks = tasks
        self._now = wall_clock

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        one, items, item = _PATH + "/{}", _PATH + "/{}/items", _PATH + "/{}/items/{}"
        return {
            ("POST", _PATH): self._later(self._create),
            ("GET", one): self._later(self._retrieve),
            ("POST", one): self._later(self._update),
            ("DELETE", one): self._later(self._delete),
            ("POST", items): self._later(self._add_items),
            ("GET", items): self._later(self._list_items),
            ("GET", item): self._later(self._retrieve_item),
            ("DELETE", item): self._later(self._delete_item),
        }

    def _later(self, body_for: Callable[[_Asked], Awaitable[bytes]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            owner = self._keyring.owner(request.headers).name
            named = request.path.decode("latin-1").removeprefix(_PATH).split("/")[1:]
            conversation_id, _, item_id = map(unquote, (*named, "", "", "")[:3])
            asked = _Asked(request, owner, conversation_id, item_id)

            async def answer() -> tuple[int, Headers, bytes]:
                return 200, ((b"content-type", b"application/json"),), await body_for(asked)

            answer_later(self._tasks, request_id, reply, answer)

        return handler

    # The conversation.

    async def _create(self, asked: _Asked) -> bytes:
        members = read_members(asked.request.body) if asked.request.body.strip() else {}
        metadata = _metadata_of(members)
        claim = asked.request.claim
        conversation_id = _PREFIX + (claim.answer_id.partition("_")[2] if claim else secrets.token_hex(24))
        if claim is not None and claim.is_again:
            found = await self._store.get(conversation_id, asked.owner)
            if found is not None:
                return _written(found)
        items = await self._items_of(members, asked.owner)
        conversation = Conversation(conversation_id, int(self._now()), metadata)
        await self._store.create(conversation, asked.owner, items)
        return _written(conversation)

    async def _retrieve(self, asked: _Asked) -> bytes:
        return _written(await self._conversation(asked))

    async def _update(self, asked: _Asked) -> bytes:
        members = read_members(asked.request.body)
        if _METADATA not in members:
            raise _missing(_METADATA)
        metadata = _metadata_of(members)
        changed = await self._store.update(asked.conversation_id, asked.owner, metadata)
        if changed is None:
            raise fault_of(Refusal.UNKNOWN, asked.conversation_id)
        return _written(changed)

    async def _delete(self, asked: _Asked) -> bytes:
        if not await self._store.delete(asked.conversation_id, asked.owner):
            raise fault_of(Refusal.UNKNOWN, asked.conversation_id)
        return msgspec.json.encode(
            {"id": asked.conversation_id, "object": "conversation.deleted", "deleted": True}
        )

    async def _conversation(self, asked: _Asked) -> Conversation:
        conversation = await self._store.get(asked.conversation_id, asked.owner)
        if conversation is None:
            raise fault_of(Refusal.UNKNOWN, asked.conversation_id)
        return conversation

    # Its items.

    async def _add_items(self, asked: _Asked) -> bytes:
        await self._conversation(asked)
        if asked.request.claim is not None and asked.request.claim.is_again:
            raise ClientFault(
                "An earlier attempt was broken off, and may have added the items: list them.",
                code=UNKNOWN_OUTCOME,
                status=409,
                headers=((b"x-should-retry", b"false"),),
            )
        members = read_members(asked.request.body)
        if bytes(members.get(_ITEMS, _NULL)) == _NULL:
            raise _missing(_ITEMS)
        items = await self._items_of(members, asked.owner)
        added = await self._store.add(asked.conversation_id, asked.owner, items)
        if isinstance(added, Refusal):
            raise fault_of(added, asked.conversation_id)
        return write_page([listed(each.item, each.id) for each in added], has_more=False)

    async def _list_items(self, asked: _Asked) -> bytes:
        query = read_page_asked(parse_qs(asked.request.query.decode("latin-1")))
        await self._conversation(asked)
        page = await self._store.page(asked.conversation_id, asked.owner, query)
        return write_page([listed(each.item, each.id) for each in page.items], has_more=page.has_more)

    async def _retrieve_item(self, asked: _Asked) -> bytes:
        await self._conversation(asked)
        found = await self._store.item(asked.conversation_id, asked.owner, asked.item_id)
        if found is None:
            raise _unknown_item(asked)
        return write_object(listed(found.item, found.id))

    async def _delete_item(self, asked: _Asked) -> bytes:
        conversation = await self._conversation(asked)
        removed = await self._store.remove(asked.conversation_id, asked.owner, asked.item_id)
        if isinstance(removed, Refusal):
            raise fault_of(removed, asked.conversation_id)
        if not removed:
            raise _unknown_item(asked)
        return _written(conversation)

    async def _items_of(self, members: Members, owner: str) -> Items:
        """Return the items of a body, those that were kept for their ids. Raises ClientFault, StoreFault."""
        raw = bytes(members.get(_ITEMS, _NULL))
        if raw == _NULL:
            return ()
        if not raw.startswith(b"["):
            raise ClientFault(f"'{_ITEMS}' must be a list.", code="invalid_type", param=_ITEMS)
        items = input_items(raw)
        if len(items) > _MOST_ITEMS:
            raise ClientFault(
                f"'{_ITEMS}' has {len(items)} items, and may have {_MOST_ITEMS}.",
                code="array_above_max_length",
                param=_ITEMS,
            )
        items = await self._references.replace(items, owner, _ITEMS)
        read_items([_read(item, place) for place, item in enumerate(items)], _ITEMS)
        return items


def _read(item: bytes, place: int) -> dict[str, Any]:
    try:
        return read_object(item)
    except ValueError as error:
        path = f"{_ITEMS}[{place}]"
        raise ClientFault(f"'{path}' must be an object.", code="invalid_type", param=path) from error


def _metadata_of(members: Members) -> dict[str, str]:
    raw = bytes(members.get(_METADATA, _NULL))
    if raw == _NULL:
        return {}
    try:
        metadata = read_object(raw)
    except ValueError as error:
        raise ClientFault(
            f"'{_METADATA}' must be an object.", code="invalid_type", param=_METADATA
        ) from error
    check_metadata(metadata)
    return metadata


def _written(conversation: Conversation) -> bytes:
    return write_object(
        {
            "id": conversation.id,
            "object": "conversation",
            "created_at": conversation.created_at,
            "metadata": conversation.metadata,
        }
    )


def _missing(name: str) -> ClientFault:
    return ClientFault(
        f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
    )


def _unknown_item(asked: _Asked) -> ClientFault:
    return ClientFault(
        f"Item with id '{asked.item_id[:128]}' not found in conversation '{asked.conversation_id[:128]}'.",
        status=404,
    )
