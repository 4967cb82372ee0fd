"""A request in the terms of the hub: a create body of the Responses API, checked and written in one way.

What may be written in several ways (specification, section 4) is written in one: `input` is a list of items that
all have a type, the content of messages is a list of parts, members that are null are absent, and items that
change the request from where they stand (`additional_tools`, `configuration_update`, tools that the client has
searched for) have been applied. Other
dialects add members that the Responses API does not have (`stop`, `seed`, `top_k`, …) under their usual names.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from antiphon.turn.events import Item
from antiphon.turn.references import unknown_item
from antiphon.turn.tools import TOOL_SEARCH, wire_names
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import write_text

HubRequest = dict[str, Any]

ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
PARTS: Final = frozenset(
    {
        "input_text",
        "input_image",
        "input_file",
        "input_audio",
        "input_video",
        "output_text",
        "refusal",
        "text",
        "summary_text",
        "reasoning_text",
        "computer_screenshot",
    }
)

_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id", "output"),
    "reasoning": (),
    "item_reference": ("id",),
    "compaction": ("encrypted_content",),
    "compaction_trigger": (),
    "configuration_update": (),
    "additional_tools": ("tools",),
    "tool_search_call": (),
    "tool_search_output": (),
    "agent_message": ("content",),
}
"""Members that an item cannot do without, by type."""

HOSTED_ITEMS: Final = frozenset(
    {
        "file_search_call",
        "web_search_call",
        "computer_call",
        "computer_call_output",
        "image_generation_call",
        "code_interpreter_call",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "mcp_list_tools",
        "mcp_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "program",
        "program_output",
    }
)
"""Items about tools that few upstreams have."""

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "instructions": (str, list),
    "max_output_tokens": (int,),
    "max_tool_calls": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "top_logprobs": (int,),
    "parallel_tool_calls": (bool,),
    "tools": (list,),
    "text": (dict,),
    "reasoning": (dict,),
    "metadata": (dict,),
    "include": (list,),
    "truncation": (str,),
    "service_tier": (str,),
    "user": (str,),
    "safety_identifier": (str,),
    "prompt_cache_key": (str,),
    "text.format": (dict,),
    "text.verbosity": (str,),
    "reasoning.effort": (str,),
    "reasoning.summary": (str,),
}
"""What members may be, inner ones by their paths."""

_NAMES: Final = {
    str: "a string",
    list: "a list",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
}
_SOME_INPUT: Final = ("input", "prompt", "previous_response_id", "conversation")


def normalized(body: Item) -> HubRequest:
    """Return a create body in the hub's one way of writing. Raises ClientFault with a path."""
    request = {name: value for name, value in body.items() if value is not None}
    for path, types in _TYPES.items():
        name, _, inner = path.partition(".")
        value = request.get(name, {}).get(inner) if inner else request.get(name)
        if value is not None:
            _expect(value, types, path)
    verbosity = request.pop("verbosity", None)
    if verbosity is not None:
        # The official Python client sends it beside `text`.
        request["text"] = {"verbosity": verbosity, **request.get("text", {})}
    for index, each in enumerate(request.get("include", ())):
        _expect(each, (str,), f"include[{index}]")
    _check_tools(request.get("tools", []), "tools")
    if isinstance(request.get("instructions"), list):
        request["instructions"] = [
            _item(item, f"instructions[{index}]") for index, item in enumerate(request["instructions"])
        ]
    request["input"] = _applied(request, _input(request))
    return request


def _input(request: HubRequest) -> list[Item]:
    given = request.get("input", [])
    if isinstance(given, str):
        return [user_message(given)]
    _expect(given, (str, list), "input")
    if not given and not any(request.get(name) for name in _SOME_INPUT) and "instructions" not in request:
        raise ClientFault(
            "Missing required parameter: 'input'.", code="missing_required_parameter", param="input"
        )
    return read_items(given, "input")


def read_items(given: list[Any], path: str) -> list[Item]:
    """Return items in the hub's one way of writing. Raises ClientFault with a path."""
    return [_item(item, f"{path}[{index}]") for index, item in enumerate(given)]


def user_message(text: str) -> Item:
    """Return the message that a plain string stands for."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _item(item: Any, path: str) -> Item:
    _expect(item, (dict,), path)
    item = {name: value for name, value in item.items() if value is not None}
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference" if "id" in item else None
        item = {"type": kind, **item}
    if not isinstance(kind, str) or (kind not in _REQUIRED and kind not in HOSTED_ITEMS):
        raise ClientFault(
            f"'{path}.type' is {str(kind)[:80]!r}, which is not a known type of item.",
            code="invalid_value",
            param=f"{path}.type",
        )
    _require(item, _REQUIRED.get(kind, ()), path)
    if "encrypted_content" in item:
        _expect(item["encrypted_content"], (str,), f"{path}.encrypted_content")
    check = _CHECKS.get(kind)
    return check(item, path) if check else item


def _require(item: Item, names: Iterable[str], path: str) -> None:
    for name in names:
        if name not in item:
            raise ClientFault(
                f"Missing required parameter: '{path}.{name}'.",
                code="missing_required_parameter",
                param=f"{path}.{name}",
            )


def _message(item: Item, path: str) -> Item:
    role = item["role"]
    if not isinstance(role, str) or role not in ROLES:
        raise ClientFault(
            f"'{path}.role' is one of user, assistant, system and developer, not {str(role)[:40]!r}.",
            code="invalid_value",
            param=f"{path}.role",
        )
    content = item["content"]
    if isinstance(content, str):
        kind = "output_text" if role == "assistant" else "input_text"
        return item | {"content": [{"type": kind, "text": content}]}
    return item | {"content": _parts(content, f"{path}.content")}


def _parts(parts: Any, path: str) -> list[Item]:
    _expect(parts, (str, list), path)
    return [_part(part, f"{path}[{index}]") for index, part in enumerate(parts)]


def _part(part: Any, path: str) -> Item:
    _expect(part, (dict,), path)
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in PARTS:
        raise ClientFault(
            f"'{path}.type' is {str(kind)[:80]!r}, which is not a known type of content.",
            code="invalid_value",
            param=f"{path}.type",
        )
    for name in ("text", "refusal"):
        if (
            kind in {"input_text", "output_text", "text", "summary_text", "reasoning_text"} and name == "text"
        ) or kind == name:
            _expect(part.get(name), (str,), f"{path}.{name}")
    return {name: value for name, value in part.items() if value is not None}


def _call(item: Item, path: str) -> Item:
    for name in ("call_id", "name", "arguments", "input"):
        if name in item:
            _expect(item[name], (str,), f"{path}.{name}")
    return item


def _output(item: Item, path: str) -> Item:
    _expect(item["call_id"], (str,), f"{path}.call_id")
    if isinstance(item["output"], str):
        return item
    return item | {"output": _parts(item["output"], f"{path}.output")}


def _reasoning(item: Item, path: str) -> Item:
    for name in ("summary", "content"):
        if name in item:
            item = item | {name: _parts(item[name], f"{path}.{name}")}
    return item


def _reference(item: Item, path: str) -> Item:
    raise unknown_item(str(item["id"]), path.partition("[")[0])


def _search(item: Item, path: str) -> Item:
    """Write a search that the client has run as the function call that it was for the upstream."""
    if item.get("execution") != "client":
        return item
    _require(item, ("call_id", "arguments"), path)
    _expect(item["arguments"], (dict,), f"{path}.arguments")
    called = {"type": "function_call", "call_id": item["call_id"], "name": TOOL_SEARCH}
    return _call(called | {"arguments": write_text(item["arguments"])}, path)


def _agent_message(item: Item, path: str) -> Item:
    """Write what one of the client's agents tells another as the user's: nobody else has a role for it.

    OpenAI encrypts what an agent wrote. Where another upstream made the call, it is the text itself.
    """
    _expect(item["content"], (list,), f"{path}.content")
    parts = []
    for index, part in enumerate(item["content"]):
        if isinstance(part, dict) and part.get("type") == "encrypted_content":
            _expect(part.get("encrypted_content"), (str,), f"{path}.content[{index}].encrypted_content")
            part = {"type": "input_text", "text": part["encrypted_content"]}  # noqa: PLW2901
        parts.append(part)
    return {"type": "message", "role": "user", "content": _parts(parts, f"{path}.content")}


def _found(item: Item, path: str) -> Item:
    if item.get("execution") == "client":
        _require(item, ("call_id", "tools"), path)
        _expect(item["call_id"], (str,), f"{path}.call_id")
        _check_tools(item["tools"], f"{path}.tools")
    return item


_CHECKS: Final[dict[str, Callable[[Item, str], Item]]] = {
    "message": _message,
    "function_call": _call,
    "custom_tool_call": _call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "reasoning": _reasoning,
    "item_reference": _reference,
    "tool_search_call": _search,
    "tool_search_output": _found,
    "agent_message": _agent_message,
}


def _applied(request: HubRequest, items: list[Item]) -> list[Item]:
    """Apply the items that change the request to it, and return the others."""
    kept = []
    for index, item in enumerate(items):
        if item["type"] == "additional_tools":
            _check_tools(item["tools"], f"input[{index}].tools")
            request["tools"] = [*request.get("tools", []), *item["tools"]]
        elif item["type"] == "tool_search_output" and item.get("execution") == "client":
            request["tools"] = [*request.get("tools", []), *item["tools"]]
            output = write_text({"tools": wire_names(item["tools"])})
            kept.append({"type": "function_call_output", "call_id": item["call_id"], "output": output})
        elif item["type"] == "configuration_update":
            for name in ("reasoning", "text"):
                if name in item:
                    _expect(item[name], (dict,), f"input[{index}].{name}")
                    request[name] = request.get(name, {}) | item[name]
        else:
            kept.append(item)
    return kept


def check_call_outputs(items: list[Item]) -> None:
    """Refuse an output whose call is nowhere before it. Raises ClientFault."""
    called = set()
    for item in items:
        call_id = item.get("call_id")
        if item["type"] == "compaction":
            return  # the call may be part of what it sums up
        if item["type"] in {"function_call", "custom_tool_call"}:
            called.add(call_id)
        elif item["type"] in {"function_call_output", "custom_tool_call_output"} and call_id not in called:
            raise ClientFault(
                f"No tool call found for function call output with call_id {str(call_id)[:80]}.",
                param="input",
            )


def _check_tools(tools: Any, path: str) -> None:
    _expect(tools, (list,), path)
    for index, tool in enumerate(tools):
        here = f"{path}[{index}]"
        _expect(tool, (dict,), here)
        if not isinstance(tool.get("type"), str):
            raise ClientFault(
                f"Missing required parameter: '{here}.type'.",
                code="missing_required_parameter",
                param=f"{here}.type",
            )
        if tool["type"] == "namespace":
            _expect(tool.get("name"), (str,), f"{here}.name")
            _check_tools(tool.get("tools", []), f"{here}.tools")


def _expect(value: Any, types: tuple[type, ...], path: str) -> None:
    if isinstance(value, types) and not (isinstance(value, bool) and bool not in types):
        return
    named = " or ".join(_NAMES[kind] for kind in types if not (kind is int and float in types))
    raise ClientFault(f"'{path}' must be {named}.", code="invalid_type", param=path)
