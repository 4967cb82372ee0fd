"""Items as they are listed: each with an id and a type, messages with a list of parts, a page at a time.

Specification, sections 2.5 and 2.8.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from antiphon.turn.events import Item
from antiphon.turn.request import user_message
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import read_object, write_object

_MOST: Final = 100
_USUAL: Final = 20


def listed(item: bytes, place: int) -> Item:
    """Return the item number `place` of an input, as a list shows it."""
    shown = {name: value for name, value in read_object(item).items() if value is not None}
    kind = shown.setdefault("type", "message" if "role" in shown else "item_reference")
    if kind == "message":
        content = shown.get("content")
        if isinstance(content, str):
            part = "output_text" if shown.get("role") == "assistant" else "input_text"
            shown["content"] = [{**user_message(content)["content"][0], "type": part}]
        shown.setdefault("status", "completed")
    if not isinstance(shown.get("id"), str):
        prefix = _PREFIXES.get(kind, "item_")
        shown["id"] = prefix + blake2b(b"%d:%b" % (place, item), digest_size=20).hexdigest()
    return shown


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
    shown = [listed(item, place) for place, item in enumerate(items)]
    if order == "desc":
        shown.reverse()
    start, end = 0, len(shown)
    if "after" in query:
        start = _place_of(shown, query["after"][-1], "after") + 1
    if "before" in query:
        end = _place_of(shown, query["before"][-1], "before")
    page = shown[start:end][:limit]
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


def _place_of(shown: Sequence[Item], item_id: str, name: str) -> int:
    for place, item in enumerate(shown):
        if item["id"] == item_id:
            return place
    raise ClientFault(f"There is no item '{item_id[:128]}' here.", code="invalid_value", param=name)
