"""Items as they are listed: each with an id and a type, messages with a list of parts, a page at a time.

Specification, sections 2.5 and 2.8.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from antiphon.turn.events import Item
from antiphon.turn.history import Node, public_id
from antiphon.turn.references import reference_of
from antiphon.turn.request import user_message
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import read_object, write_object

_MOST: Final = 100
_USUAL: Final = 20
_PREFIXES: Final = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
}
_OTHER_PREFIX: Final = "item_"
_MARK: Final = b'"id"'
_LONGEST_ID: Final = 256
PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What an id that somebody else made may look like."""


class _Named(msgspec.Struct):
    id: Any = None
    type: Any = None
    role: Any = None


_NAMED: Final = msgspec.json.Decoder(_Named)


def id_of(item: bytes) -> str | None:
    """Return the id that an item says it has, if it could be one."""
    if _MARK not in item:
        return None
    told = _read(item).id
    if not isinstance(told, str) or not 0 < len(told) <= _LONGEST_ID or not told.isprintable():
        return None
    return told


def name_of(item: bytes) -> str | None:
    """Return the id by which an item of an input can be named; one that itself only names another has none."""
    return id_of(item) if reference_of(item) is None else None


def id_prefix_of(item: bytes) -> str:
    """Return how the ids of items of this kind begin."""
    named = _read(item)
    kind = named.type or ("message" if named.role is not None else None)
    return _PREFIXES.get(kind, _OTHER_PREFIX) if isinstance(kind, str) else _OTHER_PREFIX


def _read(item: bytes) -> _Named:
    try:
        return _NAMED.decode(item)
    except (ValueError, RecursionError):
        return _Named()


def listed(item: bytes, item_id: str) -> Item:
    """Return an item as a list shows it, under this id."""
    shown = {name: value for name, value in read_object(item).items() if value is not None}
    kind = shown.setdefault("type", "message" if "role" in shown else "item_reference")
    if kind == "message":
        content = shown.get("content")
        if isinstance(content, str):
            part = "output_text" if shown.get("role") == "assistant" else "input_text"
            shown["content"] = [{**user_message(content)["content"][0], "type": part}]
        shown.setdefault("status", "completed")
    shown["id"] = item_id
    return shown


def ids_of(nodes: Sequence[Node]) -> list[str]:
    """Return an id for each item of a history: its own, or for one that has none that of its place.

    No two are equal, or else a list could not go on after one of them.
    """
    ids: dict[str, None] = {}
    for node in nodes:
        own = id_of(node.item)
        if own is None or own in ids:
            own = public_id(node.id, id_prefix_of(node.item))
        ids[own] = None
    return [*ids]


@dataclass(frozen=True, slots=True)
class PageAsked:
    """Which page of a list a client wants; `after` and `before` are ids, in the order asked for."""

    limit: int
    is_descending: bool
    after: str | None
    before: str | None


def read_page_asked(query: Mapping[str, list[str]]) -> PageAsked:
    """Read `limit`, `order`, `after` and `before`. Raises ClientFault."""
    order = query.get("order", ["desc"])[-1]
    if order not in {"asc", "desc"}:
        raise ClientFault("'order' is asc or desc.", code="invalid_value", param="order")
    after, before = (query[name][-1] if name in query else None for name in ("after", "before"))
    return PageAsked(_limit(query), order == "desc", after, before)


def write_page(page: Sequence[Item], *, has_more: bool) -> bytes:
    """Write one page of listed items."""
    return write_object(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": has_more,
        }
    )


def list_items(nodes: Sequence[Node], query: Mapping[str, list[str]]) -> bytes:
    """Write a page of a whole history, as the query's `limit`, `order`, `after` and `before` ask.

    Raises ClientFault.
    """
    asked = read_page_asked(query)
    named = [(node.item, item_id) for node, item_id in zip(nodes, ids_of(nodes), strict=True)]
    if asked.is_descending:
        named.reverse()
    start, end = 0, len(named)
    if asked.after is not None:
        start = _place_of(named, asked.after, "after") + 1
    if asked.before is not None:
        end = _place_of(named, asked.before, "before")
    page = [listed(item, item_id) for item, item_id in named[start:end][: asked.limit]]
    return write_page(page, has_more=start + len(page) < end)


def _limit(query: Mapping[str, list[str]]) -> int:
    try:
        limit = msgspec.convert(query.get("limit", [str(_USUAL)])[-1], int, strict=False)
    except msgspec.ValidationError as error:
        raise ClientFault("'limit' must be an integer.", code="invalid_type", param="limit") from error
    if not 1 <= limit <= _MOST:
        raise ClientFault(f"'limit' is from 1 to {_MOST}.", code="invalid_value", param="limit")
    return limit


def _place_of(named: Sequence[tuple[bytes, str]], item_id: str, name: str) -> int:
    for place, (_, known) in enumerate(named):
        if known == item_id:
            return place
    raise unknown_cursor(item_id, name)


def unknown_cursor(item_id: str, name: str) -> ClientFault:
    """Return what is said to who wants to go on from an item that is not in the list."""
    return ClientFault(f"There is no item '{item_id[:128]}' here.", code="invalid_value", param=name)
