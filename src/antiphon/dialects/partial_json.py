"""Reads JSON that stops in the middle: a tool's arguments where the model had reached its limit."""

import re
from typing import Any

from antiphon.wire.objects import JsonObject, read_object

_TOKEN = re.compile(
    r"""\s*(?:(?P<open>[{\[])|(?P<close>[}\]])|(?P<mark>[,:])|(?P<string>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<scalar>true|false|null|-?[\d.eE+-]+(?=[\s,}\]])))""",
    re.DOTALL,
)
_CLOSING = {"{": "}", "[": "]"}


def read_partial(text: str) -> JsonObject:
    """Return the object of which `text` is the beginning: every value that is whole in it. {} if there is none."""
    try:
        return read_object(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return _read_whole_part(text)


def _read_whole_part(text: str) -> JsonObject:
    closing: list[str] = []
    whole: tuple[int, Any] = (0, "{}")
    before, position = "", 0
    while token := _TOKEN.match(text, position):
        position, kind, value = token.end(), token.lastgroup, token[0].strip()
        if kind == "open":
            closing.append(_CLOSING[value])
        elif kind == "close" and closing:
            closing.pop()
        is_name = kind == "string" and closing[-1:] == ["}"] and before != ":"
        if kind != "mark" and not is_name:
            whole = (position, "".join(reversed(closing)))
        before = value
    end, rest = whole
    try:
        return read_object((text[:end] + rest).encode("utf-8", "surrogatepass"))
    except ValueError:
        return {}
