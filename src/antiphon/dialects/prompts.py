"""How the prompt of a request begins, whatever dialect it is in: its texts, in their order."""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from antiphon.wire.json import Members
from antiphon.wire.objects import DECODE_FAULTS

_FIRST: Final = ("system", "instructions", "messages", "prompt", "query", "input", "documents")
"""Members that hold a prompt, in the order in which a model reads them."""
_UNREADABLE: Final = (ValueError, RecursionError)
_WITHIN: Final = ("content", "text", "input", "output", "arguments")


def beginning_of(members: Members, length: int) -> str:
    """Return the first `length` characters of the prompt, its texts separated by line feeds.

    What cannot be read, such as objects nested too deeply, has none.
    """
    try:
        return _beginning(members, length)
    except _UNREADABLE:
        return ""


def _beginning(members: Members, length: int) -> str:
    found = ""
    for name in _FIRST:
        if name not in members:
            continue
        for text in _texts(_value(members[name])):
            found += text[:length] + "\n"
            if len(found) > length:
                return found[:length]
    return found[:-1]


def _value(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except DECODE_FAULTS:
        return json.loads(bytes(raw))  # half of a surrogate pair, or a number that no double holds


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name in _WITHIN:
            if name in value:
                yield from _texts(value[name])
