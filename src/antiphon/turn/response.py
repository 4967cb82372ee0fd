"""The response object of a turn that the gateway tells itself: every member that both contracts want.

Specification section 6: members of its first table are always there, null where nothing is known; those of the
second only where the request has them. Secrets that a request carries for its tools are not echoed.
"""

from typing import Any, Final

from antiphon.turn.events import Event, Item

_DEFAULTS: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""Echoed members, with what stands there when the request does not say."""

_ECHOED_WHEN_ASKED: Final = (
    "conversation",
    "prompt",
    "prompt_cache_options",
    "prompt_cache_retention",
    "image",
)
_SECRETS: Final = frozenset({"authorization", "headers"})
_FUNCTION: Final = ("description", "parameters", "strict")
"""Members that each echoed function has, null where it was not said (section 16, trap 3)."""


def begun(request: Event, *, response_id: str, created_at: int, model: str) -> Event:
    """Return the response to `request` as it is while the answer is in progress.

    `model` is what is said to answer, as long as the upstream has not said it.
    """
    echoed = {name: _echo(name, request.get(name), default) for name, default in _DEFAULTS.items()}
    for name in _ECHOED_WHEN_ASKED:
        if request.get(name) is not None:
            echoed[name] = request[name]
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        **echoed,
    }


def usage_of(
    *,
    input_tokens: int,
    output_tokens: int,
    total_tokens: int = 0,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
    audio_input_tokens: int = 0,
    audio_output_tokens: int = 0,
) -> Item:
    """Return the `usage` of section 6.1; audio tokens stand in the details where there are any."""
    into: Item = {"cached_tokens": cached_tokens, "cache_write_tokens": cache_write_tokens}
    out: Item = {"reasoning_tokens": reasoning_tokens}
    if audio_input_tokens:
        into["audio_tokens"] = audio_input_tokens
    if audio_output_tokens:
        out["audio_tokens"] = audio_output_tokens
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": into,
        "output_tokens": output_tokens,
        "output_tokens_details": out,
        "total_tokens": total_tokens or input_tokens + output_tokens,
    }


def output_text(output: list[Item]) -> str:
    """Return the text of all messages, the convenience member that translated answers carry."""
    parts = (part for item in output if item.get("type") == "message" for part in item.get("content") or ())
    return "".join(part["text"] for part in parts if part.get("type") == "output_text")


def _echo(name: str, value: Any, default: Any) -> Any:
    if value is None or (name == "service_tier" and value == "auto"):
        return default
    if name == "tools":
        return [_tool(tool) for tool in value]
    if name in {"reasoning", "text"}:
        shown = {**default, **{key: member for key, member in value.items() if member is not None}}
        return {**shown, "format": _format(shown["format"])} if name == "text" else shown
    return value


def _format(form: Item) -> Item:
    """Return the format of the text as OpenAI echoes it: all members of a schema, said or not."""
    if form.get("type") != "json_schema":
        return form
    told = {name: member for name, member in form.items() if member is not None}
    return {"type": "json_schema", "description": None, "strict": False, **told}


def _tool(tool: Item) -> Item:
    shown = {name: value for name, value in tool.items() if name not in _SECRETS}
    if tool.get("type") != "function":
        return shown
    return shown | {name: shown.get(name) for name in _FUNCTION}
