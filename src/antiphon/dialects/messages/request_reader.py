"""Reads a request to Anthropic Messages into the hub (specification, section 15.6).

What other upstreams cannot be told is refused by its path where leaving it out would change what is asked:
containers, MCP servers, regions, tools of Anthropic's own that no other upstream knows. What only spares work there
(cache controls on tools, context management, speed) is left out.
"""

import hashlib
from typing import Any, Final

from antiphon.dialects.messages.history import read_system, read_turns
from antiphon.dialects.messages.paths import expect, member, refuse
from antiphon.dialects.messages.tool_changes import offered
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault

_SAME: Final = {"temperature": (int, float), "top_p": (int, float), "top_k": (int,)}
_EFFORT_UP_TO: Final = ((2048, "low"), (8192, "medium"), (24_576, "high"))
"""Budgets of thinking, and the effort that stands for them."""
_MOST_EFFORT: Final = "xhigh"
_ID_LIMIT: Final = 64
_SERVICE_TIERS: Final = {"auto": "auto", "standard_only": "default"}
_SOURCES: Final = "web_search_call.action.sources"


def read_messages_request(body: dict[str, Any]) -> HubRequest:
    """Return the request in the hub's terms. Raises ClientFault with a path."""
    body = {name: value for name, value in body.items() if value is not None}
    _refuse_foreign(body)
    request: HubRequest = {"model": member(body, "model", str), "input": []}
    request["max_output_tokens"] = member(body, "max_tokens", int)
    instructions, first = read_system(body.get("system", ""))
    if instructions:
        request["instructions"] = instructions
    request["input"] = first + read_turns(member(body, "messages", list))
    for name, types in _SAME.items():
        if name in body:
            request[name] = expect(body[name], types, name)
    if "stop_sequences" in body:
        stop = expect(body["stop_sequences"], (list,), "stop_sequences")
        request["stop"] = [expect(each, (str,), f"stop_sequences.{index}") for index, each in enumerate(stop)]
    _read_tools(request, body)
    _read_thinking(request, body)
    _read_format(request, body)
    _read_rest(request, body)
    return request


def _refuse_foreign(body: Item) -> None:
    if "thread" in body:
        # Anthropic's clients know this code, and then send the whole conversation again.
        raise ClientFault(
            "This model's provider keeps no conversations: send all messages, without 'thread'.",
            code="thread_unsupported_request",
            param="thread",
        )
    if body.get("mcp_servers"):
        raise refuse("mcp_servers", "MCP servers")
    if "container" in body:
        raise refuse("container", "containers")
    if body.get("inference_geo", "global") != "global":
        raise refuse("inference_geo", "a choice of the region")


# Tools.


def _read_tools(request: HubRequest, body: Item) -> None:
    tools = offered(expect(body.get("tools", []), (list,), "tools"), body["messages"])
    if tools:
        request["tools"] = [_tool(tool, path, request) for path, tool in tools]
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = member(expect(choice, (dict,), "tool_choice"), "type", str, "tool_choice")
    if kind == "tool":
        name = member(choice, "name", str, "tool_choice")
        defined = any(tool.get("name") == name for tool in request.get("tools", ()))
        hosted = None if defined else _HOSTED_CHOICES.get(name)
        request["tool_choice"] = {"type": hosted} if hosted else {"type": "function", "name": name}
    elif kind in _MODES:
        request["tool_choice"] = _MODES[kind]
    else:
        raise refuse("tool_choice.type", f"a choice of type '{kind[:80]}'")
    if choice.get("disable_parallel_tool_use"):
        request["parallel_tool_calls"] = False


_MODES: Final = {"auto": "auto", "any": "required", "none": "none"}
_HOSTED_CHOICES: Final = {"web_search": "web_search", "code_execution": "code_interpreter"}


def _tool(tool: Any, path: str, request: HubRequest) -> Item:
    expect(tool, (dict,), path)
    kind = tool.get("type") or "custom"
    expect(kind, (str,), f"{path}.type")
    if kind == "custom":
        told = {"type": "function", "name": member(tool, "name", str, path)}
        if isinstance(tool.get("description"), str):
            told["description"] = tool["description"]
        schema = member(tool, "input_schema", dict, path)
        # Without a word, OpenAI would make every parameter required.
        return told | {"parameters": schema, "strict": bool(tool.get("strict"))}
    if kind.startswith("web_search_"):
        return _web_search(tool, path, request)
    if kind.startswith("code_execution_"):
        return {"type": "code_interpreter", "container": {"type": "auto"}}
    raise refuse(f"{path}.type", f"the tool '{kind[:80]}'")


def _web_search(tool: Item, path: str, request: HubRequest) -> Item:
    if tool.get("blocked_domains"):
        raise refuse(f"{path}.blocked_domains", "a list of domains that are not searched")
    told: Item = {"type": "web_search"}
    if tool.get("allowed_domains"):
        told["filters"] = {"allowed_domains": tool["allowed_domains"]}
    if tool.get("user_location"):
        told["user_location"] = tool["user_location"]
    if tool.get("max_uses"):
        request["max_tool_calls"] = expect(tool["max_uses"], (int,), f"{path}.max_uses")
    request["include"] = [_SOURCES]
    return told


# Settings.


def _read_thinking(request: HubRequest, body: Item) -> None:
    reasoning: Item = {}
    config = expect(body.get("output_config", {}), (dict,), "output_config")
    thinking = body.get("thinking")
    if thinking is not None:
        kind = member(expect(thinking, (dict,), "thinking"), "type", str, "thinking")
        if kind == "enabled":
            budget = member(thinking, "budget_tokens", int, "thinking")
            request["thinking_budget"] = budget
            reasoning["effort"] = _effort_of(budget)
        if kind in {"disabled", "between_tools"}:
            reasoning["effort"] = "none"
        elif thinking.get("display") != "omitted":
            reasoning["summary"] = "auto"
    if config.get("effort") is not None and reasoning.get("effort") != "none":
        reasoning["effort"] = expect(config["effort"], (str,), "output_config.effort")
    if reasoning:
        request["reasoning"] = reasoning


def _effort_of(budget: int) -> str:
    return next((effort for most, effort in _EFFORT_UP_TO if budget <= most), _MOST_EFFORT)


def _read_format(request: HubRequest, body: Item) -> None:
    path = "output_config.format"
    form = body.get("output_config", {}).get("format")
    if form is None:
        path, form = "output_format", body.get("output_format")
    if form is None:
        return
    kind = member(expect(form, (dict,), path), "type", str, path)
    if kind != "json_schema":
        raise refuse(f"{path}.type", f"answers of type '{kind[:80]}'")
    schema = member(form, "schema", dict, path)
    request["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema}}


def _read_rest(request: HubRequest, body: Item) -> None:
    user = expect(body.get("metadata", {}), (dict,), "metadata").get("user_id")
    if isinstance(user, str) and user:
        # Others take short ids only; that of Claude Code is longer.
        request["safety_identifier"] = user if len(user) <= _ID_LIMIT else _digest(user)
    tier = _SERVICE_TIERS.get(str(body.get("service_tier")))
    if tier is not None:
        request["service_tier"] = tier
    if "stream" in body:
        request["stream"] = expect(body["stream"], (bool,), "stream")


def _digest(user: str) -> str:
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
