"""The tools of a hub request as Anthropic Messages is told of them."""

from typing import Any, Final

from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.turn.tools import Tool

WEB_SEARCH: Final = "web_search_20250305"
CODE_EXECUTION: Final = "code_execution_20250825"

_HOSTED_NAMES: Final = {
    "web_search": "web_search",
    "web_search_preview": "web_search",
    "code_interpreter": "code_execution",
}
"""What a forced choice calls a hosted tool."""
_LOCATION: Final = ("type", "city", "region", "country", "timezone")
_MODES: Final = {"auto": "auto", "none": "none", "required": "any"}


def write_tools(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return `tools` and `tool_choice`. Raises ClientFault for what a hosted tool cannot be told."""
    toolset = asking.toolset
    tools = [_tool(tool, asking) for tool in toolset.tools]
    tools += [_hosted(tool, request, asking) for tool in toolset.hosted]
    if asking.answer_tool is not None:
        tools.append(_answer_tool(request, asking.answer_tool))
    if not tools:
        return {}
    choice = _choice(asking)
    return {"tools": tools} | ({"tool_choice": choice} if choice else {})


def _tool(tool: Tool, asking: Asking) -> Item:
    told: Item = {"name": tool.wire_name}
    if tool.description is not None:
        told["description"] = tool.description
    parameters = tool.parameters
    told["input_schema"] = parameters if "type" in parameters else {"type": "object", **parameters}
    if (
        tool.definition.get("strict")
        and tool.type == "function"
        and asking.profile.takes_schema(asking.model)
    ):
        told["strict"] = True
    return told


def _answer_tool(request: HubRequest, name: str) -> Item:
    form = request["text"]["format"]
    description = form.get("description") or "Give the answer."
    return {
        "name": name,
        "description": description,
        "input_schema": form.get("schema") or {"type": "object"},
    }


def _choice(asking: Asking) -> Item | None:
    toolset = asking.toolset
    choice = toolset.choice
    if asking.answer_tool is not None:
        return {"type": "tool", "name": asking.answer_tool, "disable_parallel_tool_use": True}
    name = _HOSTED_NAMES[choice.hosted] if choice.hosted is not None else choice.name
    told: Item = {"type": "tool", "name": name} if name is not None else {"type": _MODES[choice.mode]}
    if not toolset.parallel and told["type"] != "none":
        told["disable_parallel_tool_use"] = True
    return None if told == {"type": "auto"} else told


# Tools that Anthropic runs itself.


def _hosted(tool: Item, request: HubRequest, asking: Asking) -> Item:
    path = f"tools[{request['tools'].index(tool)}]"
    if tool["type"] == "code_interpreter":
        _check_container(tool.get("container"), path, asking)
        return {"type": CODE_EXECUTION, "name": "code_execution"}
    if tool.get("external_web_access") is False:
        raise lacks(f"{path}.external_web_access", "web search without access to the web", asking.profile)
    told: Item = {"type": WEB_SEARCH, "name": "web_search"}
    if request.get("max_tool_calls") and len(asking.toolset.hosted) == 1:
        told["max_uses"] = request["max_tool_calls"]
    filters, location = tool.get("filters"), tool.get("user_location")
    if isinstance(filters, dict):
        told |= {name: filters[name] for name in ("allowed_domains", "blocked_domains") if filters.get(name)}
    if isinstance(location, dict):
        known = {name: location[name] for name in _LOCATION if location.get(name) is not None}
        told["user_location"] = {"type": "approximate"} | known
    return told


def _check_container(container: Any, path: str, asking: Asking) -> None:
    """Refuse a container that exists elsewhere, or holds files."""
    if isinstance(container, str):
        raise lacks(f"{path}.container", "containers of other providers", asking.profile)
    if isinstance(container, dict) and container.get("file_ids"):
        raise lacks(f"{path}.container.file_ids", "files of other providers", asking.profile)
