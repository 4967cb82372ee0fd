"""The answer to a warm-up (`generate: false`): a completed response without output, made without an upstream."""

from typing import Any, Final

import msgspec

from antiphon.dialects.responses.dialect import _NAMELESS
from antiphon.turn.events import Item
from antiphon.wire.json import Members

_ECHOED: Final = frozenset(_NAMELESS) - {
    *("id", "object", "created_at", "completed_at", "status", "background", "error"),
    *("incomplete_details", "output", "usage", "store"),
}
_TOOL: Final = {"description": None, "parameters": None, "strict": None}
_USAGE: Final = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def prepared_events(members: Members, response_id: str, now: int) -> list[bytes]:
    """Return `response.created` and `response.completed` as JSON, for a request with `members`.

    It says `store: false`, since it can only be continued, not retrieved.
    """
    response = {**_NAMELESS, "id": response_id, "created_at": now, "store": False, **echo_of(members)}
    done = response | {"status": "completed", "completed_at": now, "usage": _USAGE}
    return [
        msgspec.json.encode({"type": f"response.{name}", "sequence_number": number, "response": each})
        for number, (name, each) in enumerate((("created", response), ("completed", done)))
    ]


def echo_of(members: Members) -> Item:
    """Return the members of a response that tell what was asked, for a request with `members`."""
    echo: Item = {}
    for name in _ECHOED & members.keys():
        value, default = _read(members[name]), _NAMELESS[name]
        if isinstance(value, dict) and isinstance(default, dict):
            echo[name] = default | value
        elif name == "tools" and isinstance(value, list):
            echo[name] = [_tool(each) for each in value]
        elif value is not None:
            echo[name] = value
    return echo


def _read(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # half of a surrogate pair: not echoed


def _tool(tool: Any) -> Any:
    return _TOOL | tool if isinstance(tool, dict) and tool.get("type") == "function" else tool
