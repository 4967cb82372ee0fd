"""The system prompt and the turns of a request to Anthropic Messages as items of the hub."""

from collections.abc import Callable
from typing import Any, Final

from antiphon.dialects.messages.blocks import UNTITLED
from antiphon.dialects.messages.paths import expect, member, refuse
from antiphon.dialects.messages.tool_changes import CHANGES, REFERENCE, check_change, loaded
from antiphon.turn.events import Item
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import write_text

_ROLES: Final = ("user", "assistant", "system")
_LATER_TTL: Final = "30m"
"""What the Responses API calls a cache that outlives the usual minutes."""
_HOSTED: Final = frozenset(
    {
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
    }
)
"""What hosted tools did: only its upstream could read it."""


def read_system(system: Any) -> tuple[str, list[Item]]:
    """Return the system prompt as instructions, or as a message where its parts are told apart by the cache."""
    if isinstance(system, str):
        return system, []
    expect(system, (str, list), "system")
    parts = [_text_only(block, f"system.{index}", "input_text") for index, block in enumerate(system)]
    if any("prompt_cache_breakpoint" in part for part in parts):
        return "", [{"type": "message", "role": "developer", "content": parts}]
    return "\n\n".join(part["text"] for part in parts), []


def read_turns(messages: list[Any]) -> list[Item]:
    """Return the items of all messages. Raises ClientFault."""
    items: list[Item] = []
    for index, message in enumerate(messages):
        path = f"messages.{index}"
        expect(message, (dict,), path)
        role = member(message, "role", str, path)
        if role not in _ROLES:
            raise ClientFault(
                f"'{path}.role' is one of {', '.join(_ROLES)}, not {role[:40]!r}.",
                code="invalid_value",
                param=f"{path}.role",
            )
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        items += _Turn(role).read(expect(content, (str, list), f"{path}.content"), f"{path}.content")
    return items


class _Turn:
    """The items of one message, while its blocks are walked."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._items: list[Item] = []

    def read(self, blocks: list[Any], path: str) -> list[Item]:
        for index, block in enumerate(blocks):
            place = f"{path}.{index}"
            expect(block, (dict,), place)
            self._take(block, member(block, "type", str, place), place)
        return self._items

    def _take(self, block: Item, kind: str, path: str) -> None:
        if self._role == "assistant":
            if kind == "text":
                self._add_part(_text_only(block, path, "output_text"))
                return
            read = _ANSWERED.get(kind)
            if read is not None:
                self._items.append(read(block, path))
                return
            if kind in _HOSTED:
                return
        elif self._role == "user":
            if kind == "tool_result":
                self._items.append(_result(block, path))
                return
            for part in read_parts(block, kind, path):
                self._add_part(part)
            return
        elif kind == "text":
            self._add_part(_text_only(block, path, "input_text"))
            return
        elif kind in CHANGES:
            check_change(block, path)  # applied where the tools are read
            return
        raise refuse(f"{path}.type", f"a block of type '{kind[:80]}' of the {self._role}")

    def _add_part(self, part: Item) -> None:
        last = self._items[-1] if self._items else None
        if last is None or last["type"] != "message":
            last = {"type": "message", "role": self._role, "content": []}
            self._items.append(last)
        last["content"].append(part)


# What the assistant had answered.


def _thinking(block: Item, path: str) -> Item:
    text = member(block, "thinking", str, path)
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "summary": summary} | _sealed(block.get("signature"))


def _redacted(block: Item, path: str) -> Item:
    return {"type": "reasoning", "summary": []} | _sealed(member(block, "data", str, path))


def _sealed(text: Any) -> Item:
    return {"encrypted_content": text} if isinstance(text, str) and text else {}


def _call(block: Item, path: str) -> Item:
    return {
        "type": "function_call",
        "call_id": member(block, "id", str, path),
        "name": member(block, "name", str, path),
        "arguments": write_text(member(block, "input", dict, path)),
    }


_ANSWERED: Final[dict[str, Callable[[Item, str], Item]]] = {
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _call,
}


# What the user says.


def _result(block: Item, path: str) -> Item:
    content = block.get("content")
    output: Any = content if isinstance(content, str) else []
    if isinstance(content, list):
        for index, inner in enumerate(content):
            place = f"{path}.content.{index}"
            kind = member(expect(inner, (dict,), place), "type", str, place)
            output += loaded(inner, place) if kind == REFERENCE else read_parts(inner, kind, place)
    elif content is not None:
        expect(content, (str, list), f"{path}.content")
    item = {
        "type": "function_call_output",
        "call_id": member(block, "tool_use_id", str, path),
        "output": output or "",
    }
    return item | {"status": "incomplete"} if block.get("is_error") else item


def read_parts(block: Item, kind: str, path: str) -> list[Item]:
    """Return the content parts of a block that a user may send. Raises ClientFault."""
    match kind:
        case "text":
            return [_text_only(block, path, "input_text")]
        case "image":
            return [_image(block, path) | _breakpoint(block)]
        case "document":
            return _document(block, path)
        case "search_result":
            texts = [member(block, name, str, path) for name in ("title", "source")]
            content = expect(block.get("content", []), (list,), f"{path}.content")
            parts = enumerate(content)
            texts += [member(part, "text", str, f"{path}.content.{index}") for index, part in parts]
            return [_text("\n\n".join(texts)) | _breakpoint(block)]
        case _:
            raise refuse(f"{path}.type", f"a block of type '{kind[:80]}'")


def _text_only(block: Any, path: str, kind: str) -> Item:
    expect(block, (dict,), path)
    if block.get("type") != "text":
        raise refuse(f"{path}.type", f"a block of type {str(block.get('type'))[:80]!r}")
    part = {"type": kind, "text": member(block, "text", str, path)}
    return part if kind == "output_text" else part | _breakpoint(block)


def _text(text: str) -> Item:
    return {"type": "input_text", "text": text}


def _breakpoint(block: Item) -> Item:
    control = block.get("cache_control")
    if not isinstance(control, dict):
        return {}
    ttl = {"ttl": _LATER_TTL} if control.get("ttl") == "1h" else {}
    return {"prompt_cache_breakpoint": {"mode": "explicit"} | ttl}


def _image(block: Item, path: str) -> Item:
    source = member(block, "source", dict, path)
    match source.get("type"):
        case "base64":
            media_type = member(source, "media_type", str, f"{path}.source")
            data = member(source, "data", str, f"{path}.source")
            return {"type": "input_image", "image_url": f"data:{media_type};base64,{data}"}
        case "url":
            return {"type": "input_image", "image_url": member(source, "url", str, f"{path}.source")}
        case "file":
            return {"type": "input_image", "file_id": member(source, "file_id", str, f"{path}.source")}
        case kind:
            raise refuse(f"{path}.source.type", f"an image from '{str(kind)[:80]}'")


def _document(block: Item, path: str) -> list[Item]:
    source, place = member(block, "source", dict, path), f"{path}.source"
    title = block.get("title") if isinstance(block.get("title"), str) else None
    head = [text for text in (title, block.get("context")) if isinstance(text, str) and text]
    match source.get("type"):
        case "text":
            return [_text("\n\n".join([*head, member(source, "data", str, place)])) | _breakpoint(block)]
        case "content":
            content = source.get("content")
            if isinstance(content, str):
                return [_text("\n\n".join([*head, content])) | _breakpoint(block)]
            parts = [_text("\n\n".join(head))] if head else []
            for index, inner in enumerate(expect(content, (list,), f"{place}.content")):
                where = f"{place}.content.{index}"
                kind = member(expect(inner, (dict,), where), "type", str, where)
                parts += read_parts(inner, kind, where)
            return parts
        case "base64":
            media_type = member(source, "media_type", str, place)
            file = {"file_data": f"data:{media_type};base64,{member(source, 'data', str, place)}"}
            file["filename"] = title or UNTITLED
        case "url":
            file = {"file_url": member(source, "url", str, place)}
        case "file":
            file = {"file_id": member(source, "file_id", str, place)}
        case kind:
            raise refuse(f"{place}.type", f"a document from '{str(kind)[:80]}'")
    part = {"type": "input_file"} | file | ({"filename": title} if title else {})
    return [part | _breakpoint(block)]
