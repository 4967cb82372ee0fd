"""Items that stand for others, which are kept (specification, section 12.3).

An item reference may be written as an id alone. A reasoning item of which there is nothing but its id stands for
the one that was kept: an upstream that keeps nothing could not make anything of it.
"""

from typing import Any, Final, NamedTuple

import msgspec

from antiphon.turn.chain import Items, input_items
from antiphon.wire.errors import ClientFault

ID_MARK: Final = b'"id"'
"""Stands in whatever has an id: a cheap first test."""
_REFERENCE: Final = "item_reference"


class _Known(msgspec.Struct):
    id: Any = None
    type: Any = None
    role: Any = None
    summary: Any = None
    content: Any = None
    encrypted_content: Any = None


_KNOWN: Final = msgspec.json.Decoder(_Known)


class Reference(NamedTuple):
    """What an item stands for."""

    id: str
    is_needed: bool
    """Whether the item is nothing without it."""


def reference_of(item: bytes) -> Reference | None:
    """Return what an item stands for; None if it stands for itself."""
    if ID_MARK not in item:
        return None
    try:
        known = _KNOWN.decode(item)
    except (ValueError, RecursionError):
        return None
    if not isinstance(known.id, str):
        return None
    if known.type == _REFERENCE or (known.type is None and known.role is None):
        return Reference(known.id, is_needed=True)
    is_empty = not (known.summary or known.content or known.encrypted_content)
    if known.type == "reasoning" and is_empty:
        return Reference(known.id, is_needed=known.summary is None)
    return None


def refers(given: bytes) -> bool:
    """Whether there are references in an `input`; costs next to nothing where no item has an id."""
    if ID_MARK not in given:
        return False
    try:
        return any(reference_of(item) is not None for item in input_items(given))
    except ClientFault:
        return False  # it is refused by whoever has to read it


def references_in(items: Items) -> dict[int, Reference]:
    """Return the references among items, by their places."""
    found = ((place, reference_of(item)) for place, item in enumerate(items))
    return {place: reference for place, reference in found if reference is not None}


def unknown_item(item_id: str, param: str = "input") -> ClientFault:
    """Return what is said of an item that nobody has kept, or that belongs to somebody else."""
    return ClientFault(
        f"Item with id '{item_id[:128]}' not found. Items are not kept when `store` is false: "
        "send the item itself, or leave `store` true.",
        status=404,
        param=param,
    )
