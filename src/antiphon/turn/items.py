"""Items as they are listed: each with an id and a type, messages with a list of parts, a page at a time.

Specification, sections 2.5 and 2.8.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from antiphon.turn.events import Item
from antiphon.turn.request import user_message
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import read_object, write_object

_MOST: Final = 100
_USUAL: Final = 20


class _Named(msgspec.Struct):
    id: Any = None
    type: Any = None
    role: Any = None


_NAMED: Final = msgspec.json.Decoder(_Named)


def ids_of(items: Sequence[bytes]) -> list[str]:
    """Return an id for each item of an input: its own, or the same one each time for an item that has none.

    No two are equal, or else a list could not go on after one of them.
    """
    ids: dict[str, None] = {}
    for place, item in enumerate(items):
        named = _named(item)
        own = named.id
        if not isinstance(own, str) or own in ids:
            kind = named.type or ("message" if named.role is not None else None)
            prefix = _PREFIXES.get(kind, "item_") if isinstance(kind, str) else "item_"
            own = prefix + blake2b(b"%d:%b" % (place, item), digest_size=20).hexdigest()
        ids[own] = None
    return [*ids]


def _named(item: bytes) -> _Named:
    try:
        return _NAMED.decode(item)
    except (ValueError, RecursionError):
        return _Named()


def listed(item: bytes, item_id: str) -> Item:
    """Return an item of an input as a list shows it, under this id."""
    shown = {name: value for name, value in read_object(item).items() if value is not None}
    kind = shown.setdefault("type", "message" if "role" in shown else "item_reference")
    if kind == "message":
        content = shown.get("content")
        if isinstance(content, str):
            part = "output_text" if shown.get("role") == "assistant" else "input_text"
            shown["content"] = [{**user_message(content)["content"][0], "type": part}]
        shown.setdefault("status", "completed")
    return shown | {"id": item_id}


_PREFIXES: Final = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
}


def list_items(items: Sequence[bytes], query: Mapping[str, list[str]]) -> bytes:
    """Write a page of `items`, oldest first, as the query's `limit`, `order`, `after` and `before` ask.

    Raises ClientFault.
    """
    limit = _limit(query)
    order = query.get("order", ["desc"])[-1]
    if order not in {"asc", "desc"}:
        raise ClientFault("'order' is asc or desc.", code="invalid_value", param="order")
    ids = ids_of(items)
    places = range(len(items)) if order == "asc" else range(len(items) - 1, -1, -1)
    start, end = 0, len(items)
    if "after" in query:
        start = places.index(_place_of(ids, query["after"][-1], "after")) + 1
    if "before" in query:
        end = places.index(_place_of(ids, query["before"][-1], "before"))
    page = [listed(items[place], ids[place]) for place in places[start:end][:limit]]
    return write_object(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": start + len(page) < end,
        }
    )


def _limit(query: Mapping[str, list[str]]) -> int:
    try:
        limit = msgspec.convert(query.get("limit", [str(_USUAL)])[-1], int, strict=False)
    except msgspec.ValidationError as error:
        raise ClientFault("'limit' must be an integer.", code="invalid_type", param="limit") from error
    if not 1 <= limit <= _MOST:
        raise ClientFault(f"'limit' is from 1 to {_MOST}.", code="invalid_value", param="limit")
    return limit


def _place_of(ids: Sequence[str], item_id: str, name: str) -> int:
    if item_id in ids:
        return ids.index(item_id)
    raise ClientFault(f"There is no item '{item_id[:128]}' here.", code="invalid_value", param=name)
