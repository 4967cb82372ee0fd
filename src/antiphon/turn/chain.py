"""Chains: what a model is shown when a request continues an earlier response (specification, section 12.1).

The context is the parent's resolved input, then the parent's output, then what is new. Items are JSON as bytes:
what a client or an upstream has written stays as it was, but for what no upstream would take back.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from antiphon.wire.errors import ClientFault

Items = tuple[bytes, ...]
"""Items of a context, each as one JSON object."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A response that can be continued."""

    input: Items
    """Its resolved input: everything that the model was shown."""
    output: Items
    """As the upstream wrote it."""


class _Known(msgspec.Struct):
    type: str | None = None
    call_id: Any = None
    role: Any = None
    encrypted_content: Any = None


_KNOWN: Final = msgspec.json.Decoder(_Known)
_UNREADABLE: Final = (ValueError, RecursionError)
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
_ELSEWHERE: Final = frozenset({"item_reference", "compaction"})
"""Items behind which there may be calls that cannot be seen here."""
_PLAIN: Final = frozenset({"message", "reasoning", *_CALLS, *_OUTPUTS})
"""Items of which no member has to be there as null."""


_PLACE: Final = re.compile(r"(?<![\w.])input\.?\[(\d{1,9})\]((?:\.\w+|\.?\[\d+\])*)")


def input_items(value: bytes | None) -> Items:
    """Read a request's `input`: a string is one message of the user. Raises ClientFault."""
    if value is None or value == b"null":
        return ()
    if value.startswith(b'"'):
        return (b'{"type":"message","role":"user","content":%b}' % value,)
    if not value.startswith(b"["):
        raise ClientFault("'input' must be a string or a list.", code="invalid_type", param="input")
    return _elements(value)


def continued(parent_input: Iterable[bytes], parent_output: Iterable[bytes], new_input: Items) -> Items:
    """Return the context of a request that continues a response.

    Raises ClientFault if an output among `new_input` belongs to no call that came before it.
    """
    told = tuple(item for written in parent_output if (item := told_again(written)) is not None)
    context = (*parent_input, *told, *new_input)
    if any(known is not None and known.type in _OUTPUTS for known in map(_known, new_input)):
        _check_calls(context, len(context) - len(new_input))
    return context


def in_own_input(text: str, inherited: int, *, is_text: bool) -> str:
    """Return a fault's words in which places in a resolved input are those in the client's own.

    `inherited` items stand in front of it; `is_text` is whether it is a string.
    """

    def own(found: re.Match[str]) -> str:
        place = int(found[1]) - inherited
        if place < 0:
            return f"item {found[1]} of what is continued"
        return "input" if is_text else f"input[{place}]{found[2]}"

    return _PLACE.sub(own, text)


def is_inherited(param: str, inherited: int) -> bool:
    """Whether a path into a resolved input leads to an item that the client has not sent."""
    found = _PLACE.match(param)
    return found is not None and int(found[1]) < inherited


def write_items(items: Iterable[bytes]) -> bytes:
    """Write a list of items."""
    return b"[%b]" % b",".join(items)


def _elements(array: bytes) -> Items:
    try:
        return tuple(map(bytes, msgspec.json.decode(array, type=list[msgspec.Raw])))
    except msgspec.DecodeError:
        # Half of a surrogate pair, which JSON allows and msgspec does not read.
        return _elements_with_halves(array)


def _elements_with_halves(array: bytes) -> Items:
    try:
        return tuple(json.dumps(item, separators=(",", ":")).encode() for item in json.loads(array))
    except (ValueError, RecursionError) as error:
        raise ClientFault("'input' cannot be read.", code="invalid_json", param="input") from error


def told_again(item: bytes) -> bytes | None:
    """Return an output item as input, or None if an upstream that keeps nothing could not read it.

    Reasoning is known to its upstream only by what is encrypted in it, and has no status as input. Members
    that are null are left out: not all upstreams take them back.
    """
    known = _known(item)
    if known is None or known.type not in _PLAIN:
        return item
    is_reasoning = known.type == "reasoning"
    if is_reasoning and not known.encrypted_content:
        return None
    if b"null" not in item and not (is_reasoning and b'"status"' in item):
        return item
    try:
        members: dict[str, Any] = msgspec.json.decode(item)
    except _UNREADABLE:
        return item
    kept = {
        name: _without_nulls(value)
        for name, value in members.items()
        if value is not None and not (is_reasoning and name == "status")
    }
    return msgspec.json.encode(kept)


def _without_nulls(value: Any) -> Any:
    """Leave nulls out of content parts."""
    if not isinstance(value, list):
        return value
    return [
        {name: member for name, member in part.items() if member is not None}
        if isinstance(part, dict)
        else part
        for part in value
    ]


def _check_calls(context: Sequence[bytes], new_from: int) -> None:
    called: set[str] = set()
    for place, item in enumerate(context):
        known = _known(item)
        if known is None:
            continue
        if known.type in _ELSEWHERE or (known.type is None and known.role is None):
            return  # an item reference may be written as an id alone
        if known.type in _CALLS:
            called.add(str(known.call_id))
            continue
        is_new = place >= new_from and known.type in _OUTPUTS
        if is_new and isinstance(known.call_id, str) and known.call_id not in called:
            named = known.call_id[:128]
            raise ClientFault(
                f"No tool call found for function call output with call_id {named}.", param="input"
            )


def _known(item: bytes) -> _Known | None:
    try:
        return _KNOWN.decode(item)
    except _UNREADABLE:
        return None
