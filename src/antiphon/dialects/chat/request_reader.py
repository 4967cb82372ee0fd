"""Reads a request of Chat Completions into the hub (specification, sections 15.1 and 15.2).

Members that change the answer and that no other dialect can be told of are refused; those that only tune it
stay under their own names for writers that have them.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from antiphon.dialects.chat.images import made_image
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest, normalized
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import write_text

_SAME: Final = (
    *("model", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "top_k", "min_p"),
    *("parallel_tool_calls", "metadata", "service_tier", "user", "safety_identifier", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "stream", "moderation"),
)
_REFUSED: Final[dict[str, Callable[[Any], bool]]] = {
    "n": lambda value: value != 1,
    "logit_bias": bool,
    "audio": bool,
    "modalities": lambda value: value != ["text"],
}
"""Members that change the answer, and whether a value of theirs does."""

_LOGPROBS: Final = "message.output_text.logprobs"
_TEXTS: Final = frozenset({"text", "input_text", "output_text"})


def read_chat_request(body: dict[str, Any]) -> HubRequest:
    """Return the hub request. Raises ClientFault with a path into the chat request."""
    for name, changes in _REFUSED.items():
        if body.get(name) is not None and changes(body[name]):
            raise ClientFault(
                f"'{name}' is not available: this model's provider has no form for it.",
                code="unsupported_parameter",
                param=name,
            )
    request: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is not None:
        request["max_output_tokens"] = limit
    if body.get("stop"):
        request["stop"] = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
    request["store"] = False
    request |= _reasoning(body) | _logprobs(body) | _text(body) | _tools(body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ClientFault(
            "Missing required parameter: 'messages'.", code="missing_required_parameter", param="messages"
        )
    request["input"] = [item for index, message in enumerate(messages) for item in _items(message, index)]
    return normalized(request)


# Settings.


def _reasoning(body: dict[str, Any]) -> dict[str, Any]:
    told = body.get("reasoning")
    effort = body.get("reasoning_effort") or (told.get("effort") if isinstance(told, dict) else None)
    # Chat has no way to ask for summaries; those who ask for effort want to see what they pay for.
    return {"reasoning": {"effort": effort, "summary": "auto"}} if effort is not None else {}


def _logprobs(body: dict[str, Any]) -> dict[str, Any]:
    if not body.get("logprobs"):
        return {}
    count = body.get("top_logprobs")
    return {"include": [_LOGPROBS], **({"top_logprobs": count} if count else {})}


def _text(body: dict[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = {}
    form = body.get("response_format")
    if isinstance(form, dict):
        schema = form.get("json_schema")
        text["format"] = {"type": form.get("type"), **schema} if isinstance(schema, dict) else form
    if body.get("verbosity") is not None:
        text["verbosity"] = body["verbosity"]
    return {"text": text} if text else {}


def _tools(body: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    given = body.get("tools") or [
        {"type": "function", "function": each} for each in body.get("functions") or ()
    ]
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(given)]
    options = body.get("web_search_options")
    if isinstance(options, dict):
        tools.append(_web_search(options))
    if tools:
        told["tools"] = tools
    choice = body.get("tool_choice", body.get("function_call"))
    if choice is not None:
        told["tool_choice"] = _choice(choice)
    return told


def _tool(tool: Any, path: str) -> Item:
    if not isinstance(tool, dict):
        raise ClientFault(f"'{path}' must be an object.", code="invalid_type", param=path)
    kind = tool.get("type")
    inner = tool.get(kind) if kind in {"function", "custom"} else None
    if not isinstance(inner, dict):
        return tool
    form = inner.get("format")
    if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
        inner = inner | {"format": {"type": "grammar", **form["grammar"]}}
    if kind == "function":
        # Without it Responses would make the schema strict (section 15.1).
        inner = {"strict": False, **inner}
    return {"type": kind, **inner}


def _web_search(options: Item) -> Item:
    tool: Item = {"type": "web_search"}
    if options.get("search_context_size"):
        tool["search_context_size"] = options["search_context_size"]
    location = options.get("user_location")
    if isinstance(location, dict):
        tool["user_location"] = {"type": "approximate", **(location.get("approximate") or {})}
    return tool


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    if kind is None and choice.get("name"):
        return {"type": "function", "name": choice["name"]}  # `function_call` of old
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        allowed = choice["allowed_tools"]
        return {**allowed, "type": kind, "tools": [_choice(tool) for tool in allowed.get("tools") or ()]}
    inner = choice.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, dict) else choice


# Messages.


def _items(message: Any, index: int) -> Iterator[Item]:
    path = f"messages[{index}]"
    if not isinstance(message, dict):
        raise ClientFault(f"'{path}' must be an object.", code="invalid_type", param=path)
    role = message.get("role")
    match role:
        case "system" | "developer" | "user":
            content = _content(message.get("content"), f"{path}.content")
            yield {"type": "message", "role": role, "content": content}
        case "assistant":
            yield from _assistant(message, path)
        case "tool":
            yield {
                "type": "function_call_output",
                "call_id": _required(message, "tool_call_id", path),
                "output": _content(message.get("content"), f"{path}.content"),
            }
        case "function":
            yield {
                "type": "function_call_output",
                "call_id": f"call_{message.get('name')}",
                "output": message.get("content") or "",
            }
        case _:
            raise ClientFault(
                f"'{path}.role' is one of system, developer, user, assistant and tool, not {str(role)[:40]!r}.",
                code="invalid_value",
                param=f"{path}.role",
            )


def _assistant(message: Item, path: str) -> Iterator[Item]:
    yield from _earlier_reasoning(message)
    content = message.get("content")
    parts: list[Item] = []
    if isinstance(content, str) and content:
        parts.append({"type": "output_text", "text": content})
    elif isinstance(content, list):
        parts += [_said(part, f"{path}.content[{place}]") for place, part in enumerate(content)]
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    for image in message.get("images") or ():
        if (item := made_image(image)) is not None:
            yield item
    if parts or not (message.get("tool_calls") or message.get("function_call")):
        yield {"type": "message", "role": "assistant", "content": parts}
    for place, call in enumerate(message.get("tool_calls") or ()):
        yield _call(call, f"{path}.tool_calls[{place}]")
    if isinstance(message.get("function_call"), dict):
        call = message["function_call"]
        yield {"type": "function_call", "call_id": f"call_{call.get('name')}", **call}


def _earlier_reasoning(message: Item) -> Iterator[Item]:
    text = message.get("reasoning_content") or message.get("reasoning")
    details = message.get("reasoning_details")
    blob = next((each["data"] for each in details or () if isinstance(each, dict) and each.get("data")), None)
    if isinstance(text, str) or blob:
        item: Item = {"type": "reasoning", "summary": []}
        if isinstance(text, str):
            item["content"] = [{"type": "reasoning_text", "text": text}]
        if blob:
            item["encrypted_content"] = blob
        yield item


def _said(part: Any, path: str) -> Item:
    if isinstance(part, dict) and part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if isinstance(part, dict) and part.get("type") in _TEXTS:
        return {"type": "output_text", "text": part.get("text")}
    kind = part.get("type") if isinstance(part, dict) else None
    raise _unknown_part(kind, path)


def _call(call: Any, path: str) -> Item:
    if not isinstance(call, dict):
        raise ClientFault(f"'{path}' must be an object.", code="invalid_type", param=path)
    call_id = _required(call, "id", path)
    custom = call.get("custom")
    if isinstance(custom, dict):
        return {
            "type": "custom_tool_call",
            "call_id": call_id,
            "name": custom.get("name"),
            "input": custom.get("input"),
        }
    function = _required(call, "function", path)
    arguments = function.get("arguments")
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": _required(function, "name", f"{path}.function"),
        "arguments": arguments if isinstance(arguments, str) else write_text(arguments or {}),
    }


def _content(content: Any, path: str) -> Any:
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    return [_part(part, f"{path}[{place}]") for place, part in enumerate(content)]


def _part(part: Any, path: str) -> Item:
    kind = part.get("type") if isinstance(part, dict) else None
    match kind:
        case "text" | "input_text" | "output_text":
            told: Item = {"type": "input_text", "text": part.get("text")}
        case "image_url":
            image = part.get("image_url")
            told = {"type": "input_image"} | (
                {"image_url": image} if isinstance(image, str) else _image(image, path)
            )
        case "input_audio":
            told = {"type": "input_audio", "input_audio": part.get("input_audio")}
        case "file":
            told = {"type": "input_file", **_required(part, "file", path)}
        case _:
            raise _unknown_part(kind, path)
    if isinstance(part.get("cache_control"), dict):
        told["prompt_cache_breakpoint"] = {"mode": "explicit"}
    return told


def _image(image: Any, path: str) -> Item:
    if not isinstance(image, dict):
        raise ClientFault(
            f"'{path}.image_url' must be an object.", code="invalid_type", param=f"{path}.image_url"
        )
    told = {"image_url": _required(image, "url", f"{path}.image_url")}
    return told | ({"detail": image["detail"]} if image.get("detail") else {})


def _required(holder: Item, name: str, path: str) -> Any:
    if holder.get(name) is None:
        raise ClientFault(
            f"Missing required parameter: '{path}.{name}'.",
            code="missing_required_parameter",
            param=f"{path}.{name}",
        )
    return holder[name]


def _unknown_part(kind: object, path: str) -> ClientFault:
    return ClientFault(
        f"'{path}.type' is {str(kind)[:80]!r}, which is not a known type of content.",
        code="invalid_value",
        param=f"{path}.type",
    )
