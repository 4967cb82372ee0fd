"""The last thing that the user says in a request, and the request without it.

What is equal but for its last text may have the same answer. Where the answer hangs on something that the text does not
say (what tools have returned, what was kept elsewhere, an image beside the text) there is no such text.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from antiphon.wire.json import Members

_DECODE: Final = msgspec.json.Decoder().decode
_UNREADABLE: Final = (ValueError, RecursionError)
_TEXT_PARTS: Final = frozenset({"text", "input_text"})
_STANDING: Final = {
    "chat": (),
    "completions": (),
    "messages": ("container",),
    "responses": ("previous_response_id", "conversation", "prompt"),
}
"""Members of each dialect that name something kept elsewhere."""
_NOTHING: Final = (b"null", b"false")


class LastText(NamedTuple):
    """What was said last, and what around it must be equal."""

    text: str
    rest: Mapping[str, msgspec.Raw]
    """The members of the request, with nothing where the text stood."""


class NoLastText(Exception):
    """There is no such text; says why, in one or two words."""


def last_text(dialect: str, members: Members, *, max_turns: int, max_characters: int) -> LastText:
    """Return the last user text of a request of `dialect`. Raises NoLastText.

    `max_turns`: how often the user may have said something; `max_characters`: bound of the text.
    """
    if dialect not in _STANDING:
        raise NoLastText("dialect")
    for name in _STANDING[dialect]:
        if bytes(members.get(name, msgspec.Raw(b"null"))) not in _NOTHING:
            raise NoLastText("continued")
    name, read = _PLACES[dialect]
    if name not in members:
        raise NoLastText("no text")
    try:
        text, rest = read(_DECODE(members[name]), max_turns)
    except _UNREADABLE as error:
        raise NoLastText("unreadable") from error
    if not text.strip():
        raise NoLastText("no text")
    if len(text) > max_characters:
        raise NoLastText("long")
    return LastText(text, {**members, name: msgspec.Raw(msgspec.json.encode(rest))})


def _prompt(value: Any, max_turns: int) -> tuple[str, Any]:  # noqa: ARG001 - a prompt is one turn
    if not isinstance(value, str):
        raise NoLastText("several")
    return value, None


def _input(value: Any, max_turns: int) -> tuple[str, Any]:
    if isinstance(value, str):
        return value, None
    return _messages(value, max_turns)


def _messages(value: Any, max_turns: int) -> tuple[str, Any]:
    if not isinstance(value, list) or not value:
        raise NoLastText("no text")
    for message in value:
        if not isinstance(message, dict) or message.get("type", "message") != "message":
            raise NoLastText("tools")
        if message.get("role") in ("tool", "function") or message.get("tool_calls"):
            raise NoLastText("tools")
        if any(_is_of_tools(part) for part in _parts(message)):
            raise NoLastText("tools")
    if sum(message.get("role") == "user" for message in value) > max_turns:
        raise NoLastText("turns")
    *before, last = value
    if last.get("role") != "user":
        raise NoLastText("no text")
    text, content = _content(last.get("content"))
    return text, [*before, {**last, "content": content}]


def _content(content: Any) -> tuple[str, Any]:
    if isinstance(content, str):
        return content, None
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        raise NoLastText("several")
    part = content[0]
    text = part.get("text")
    if part.get("type") not in _TEXT_PARTS or not isinstance(text, str):
        raise NoLastText("no text")
    return text, [{**part, "text": None}]


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))


def _is_of_tools(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and ("tool" in kind or "call" in kind or kind.startswith("mcp"))


_Read = Callable[[Any, int], tuple[str, Any]]
_PLACES: Final[dict[str, tuple[str, _Read]]] = {
    "chat": ("messages", _messages),
    "completions": ("prompt", _prompt),
    "messages": ("messages", _messages),
    "responses": ("input", _input),
}
