"""Which tools a conversation with Anthropic Messages has on offer at its end.

A tool whose loading is deferred is shown to the model from where something refers to it; messages of the system add
tools and take them away. Other upstreams are told of those that are on offer now.
"""

from collections.abc import Iterator
from typing import Any, Final

from antiphon.dialects.messages.paths import expect, member, refuse
from antiphon.turn.events import Item
from antiphon.turn.request import user_message

CHANGES: Final = ("tool_addition", "tool_removal")
REFERENCE: Final = "tool_reference"


def offered(tools: list[Any], messages: list[Any]) -> list[tuple[str, Any]]:
    """Return the tools on offer, each with the path that it was defined at. Raises ClientFault."""
    defined = [(f"tools.{index}", tool) for index, tool in enumerate(tools)]
    is_offered = {_name(tool): not _is_deferred(tool) for tool in tools}
    for path, kind, tool in _changes(messages):
        if tool["type"] == "tool_definition":
            definition = member(tool, "definition", dict, path)
            defined.append((f"{path}.definition", definition))
            tool = {"name": definition.get("name")}  # noqa: PLW2901
        is_offered[tool.get("name") or tool.get("tool_name")] = kind != "tool_removal"
    # A definition that comes later stands in place of an earlier one with its name.
    latest = {_name(tool) or path: (path, tool) for path, tool in defined}
    return [(path, tool) for path, tool in latest.values() if is_offered.get(_name(tool), True)]


def loaded(block: Item, path: str) -> list[Item]:
    """Return what a reference says to a model that is told of the tool from now on."""
    text = f"The tool {member(block, 'tool_name', str, path)} can be called now."
    return list(user_message(text)["content"])


def check_change(block: Item, path: str) -> None:
    """Refuse a change of tools that other upstreams cannot be told of. Raises ClientFault."""
    tool = member(block, "tool", dict, path)
    kind = member(tool, "type", str, f"{path}.tool")
    if kind not in {REFERENCE, "tool_definition"}:
        raise refuse(f"{path}.tool.type", f"a change of type '{kind[:80]}'")


def _name(tool: Any) -> Any:
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else None


def _is_deferred(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("defer_loading") is True


def _changes(messages: list[Any]) -> Iterator[tuple[str, str, Item]]:
    """Yield where, what and which tool, in the order of the conversation; the messages have been read."""
    for path, block in _blocks(messages, "messages"):
        if block["type"] in CHANGES:
            yield f"{path}.tool", block["type"], block["tool"]
        elif block["type"] == "tool_result":
            for place, inner in _inside(block.get("content"), path):
                if inner["type"] == REFERENCE:
                    yield place, REFERENCE, inner


def _blocks(messages: list[Item], path: str) -> Iterator[tuple[str, Item]]:
    for index, message in enumerate(messages):
        yield from _inside(message.get("content"), f"{path}.{index}")


def _inside(content: Any, path: str) -> Iterator[tuple[str, Item]]:
    for index, block in enumerate(content if isinstance(content, list) else ()):
        yield f"{path}.content.{index}", expect(block, (dict,), path)
