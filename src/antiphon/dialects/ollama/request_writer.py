"""Writes a hub request for Ollama's own API (https://docs.ollama.com/api/chat, autumn 2026).

What Ollama calls otherwise is renamed; what it cannot be told is either asked of the model in words, at the end of
the system's message, or refused. A model cannot be made to call a tool, but clients that ask for it, as agents do,
are served better by a model that was told to than by a refusal: most obey, and the client sees at once if one does
not. Ollama's own `keep_alive`, and `options` such as `num_ctx`, are taken from any client's body.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from antiphon.dialects.notes import json_note, schema_of
from antiphon.dialects.ollama.messages import write_messages
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking, Structured
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.turn.tools import Tool
from antiphon.wire.errors import ClientFault

_OPTIONS: Final = {
    "max_output_tokens": "num_predict",
    **{
        name: name
        for name in (
            *("temperature", "top_p", "top_k", "min_p", "seed"),
            *("presence_penalty", "frequency_penalty"),
        )
    },
}
_LEVELS: Final = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_HAS_LEVELS: Final = re.compile(r"gpt-oss", re.IGNORECASE)
"""Models whose thinking has three levels, and cannot be turned off; that of others is on or off."""

_LOGPROBS: Final = "message.output_text.logprobs"


def write_ollama_request(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the body of a request to `/api/chat`. Raises ClientFault."""
    if request.get("logit_bias"):
        raise lacks("logit_bias", "a bias of tokens", asking.profile)
    if request.get("n", 1) != 1:
        raise lacks("n", "more than one answer", asking.profile)
    if request.get("prompt"):
        raise lacks("prompt", "stored prompts", asking.profile)
    tools = _offered(asking)
    notes = [*_notes(request, asking, tools)]
    body: dict[str, Any] = {
        "model": asking.model,
        "messages": write_messages(request, asking, notes),
        "stream": asking.stream,
    }
    if options := _options(request):
        body["options"] = options
    if tools:
        body["tools"] = [_function(tool) for tool in tools]
    if "keep_alive" in request:
        body["keep_alive"] = request["keep_alive"]
    if "truncation" in request:
        body["truncate"] = request["truncation"] == "auto"
    return body | _thinking(request, asking) | _format(request, asking, tools) | _logprobs(request)


def _options(request: HubRequest) -> dict[str, Any]:
    own = request.get("options", {})
    if not isinstance(own, dict):
        raise ClientFault("'options' must be an object.", code="invalid_type", param="options")
    options = own | {told: request[name] for name, told in _OPTIONS.items() if name in request}
    if "stop" in request:
        stop = request["stop"]
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return options


def _thinking(request: HubRequest, asking: Asking) -> dict[str, Any]:
    effort = request.get("reasoning", {}).get("effort")
    if effort is None:
        return {}
    if not isinstance(effort, str):
        raise ClientFault(
            "'reasoning.effort' must be a string.", code="invalid_type", param="reasoning.effort"
        )
    if _HAS_LEVELS.search(asking.model):
        return {"think": _LEVELS.get(effort, effort)}
    return {"think": effort != "none"}


def _logprobs(request: HubRequest) -> dict[str, Any]:
    if _LOGPROBS not in request.get("include", ()) and not request.get("top_logprobs"):
        return {}
    top = {"top_logprobs": request["top_logprobs"]} if request.get("top_logprobs") else {}
    return {"logprobs": True, **top}


# Tools, and JSON.


def _offered(asking: Asking) -> tuple[Tool, ...]:
    """Return the tools that the model is shown: the one that it must call, or those that it may."""
    choice = asking.toolset.choice
    if choice.mode == "none":
        return ()
    if choice.name is not None:
        return tuple(tool for tool in asking.toolset.tools if tool.wire_name == choice.name)
    return asking.toolset.tools


def _function(tool: Tool) -> Item:
    function: Item = {"name": tool.wire_name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _format(request: HubRequest, asking: Asking, tools: tuple[Tool, ...]) -> dict[str, Any]:
    """Return what the answer is held to. It would also be held to it where it is to call a tool."""
    form = request.get("text", {}).get("format") or {}
    if asking.structured is Structured.NATIVE:
        return {"format": schema_of(form)}
    if tools or (asking.structured is None and form.get("type") != "json_object"):
        return {}
    return {"format": "json"}


def _notes(request: HubRequest, asking: Asking, tools: tuple[Tool, ...]) -> Iterable[str]:
    """Yield what only words can say."""
    if tools and asking.toolset.choice.mode == "required":
        named = f"the tool `{tools[0].wire_name}`" if len(tools) == 1 else "one of the tools"
        yield f"Answer by calling {named}, not with text."
    note = json_note(request, asking.structured)
    if note and (tools or asking.structured is Structured.JSON):
        yield note
