"""Writes a hub request for an upstream that has nothing but text completions.

One user's message is the prompt as it stands. A conversation becomes a transcript, which the model goes on with:

    system: Be brief.
    user: Is it raining?
    assistant: It is.
    user: Still?
    assistant:

A model without instruction would then write the user's next line as well: `user:` at the beginning of a line stops
it. Reasoning and what hosted tools did are left out, as in other dialects without a form for them. That the answer is
to be JSON is said in words, in the transcript; what else it would depend on (tools, images) is refused.
"""

from collections.abc import Iterator
from typing import Any, Final

from antiphon.dialects.earlier import summary_of
from antiphon.dialects.notes import json_note
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest

_SAME: Final = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias", "user"),
    *("top_k", "min_p"),
)
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_CALLS: Final = frozenset(
    {"function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output"}
)
_LOGPROBS: Final = "message.output_text.logprobs"
_STOP: Final = "\nuser:"
_MOST_STOPS: Final = 4
"""What OpenAI takes, and those who imitate it."""


def write_completions_request(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the body of a request. Raises ClientFault."""
    _refuse_what_has_no_form(request, asking)
    prompt, is_transcript = _prompt([*_said(request, asking)])
    body: dict[str, Any] = {"model": asking.model, "prompt": prompt}
    body |= {name: request[name] for name in _SAME if name in request}
    if "max_output_tokens" in request:
        body["max_tokens"] = request["max_output_tokens"]
    if stops := _stops(request.get("stop"), is_transcript=is_transcript):
        body["stop"] = stops
    if _LOGPROBS in request.get("include", ()) or request.get("top_logprobs"):
        body["logprobs"] = request.get("top_logprobs", 0)
    if asking.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _refuse_what_has_no_form(request: HubRequest, asking: Asking) -> None:
    if asking.toolset.tools and asking.toolset.choice.mode != "none":
        raise lacks("tools", "tools", asking.profile)
    if request.get("n", 1) != 1:
        raise lacks("n", "more than one answer", asking.profile)
    if request.get("prompt"):
        raise lacks("prompt", "stored prompts", asking.profile)


def _stops(stop: Any, *, is_transcript: bool) -> Any:
    if not is_transcript:
        return stop
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    return [*stops, _STOP] if len(stops) < _MOST_STOPS else stops


def _prompt(said: list[tuple[str, str]]) -> tuple[str, bool]:
    """Return the prompt, and whether it is a transcript."""
    if len(said) == 1 and said[0][0] == "user":
        return said[0][1], False
    return "\n".join([*(f"{role}: {text}" for role, text in said), "assistant:"]), True


def _said(request: HubRequest, asking: Asking) -> Iterator[tuple[str, str]]:
    """Yield who said what."""
    instructions = request.get("instructions")
    if isinstance(instructions, str):
        yield "system", instructions
    items = [(f"input[{index}]", item) for index, item in enumerate(request["input"])]
    if isinstance(instructions, list):
        items = [*((f"instructions[{index}]", item) for index, item in enumerate(instructions)), *items]
    for path, item in items:
        kind = item["type"]
        if kind == "message":
            role = "system" if item["role"] == "developer" else item["role"]
            yield role, _text(item["content"], f"{path}.content", asking)
        elif kind == "compaction":
            yield "system", summary_of(item, path, asking)
        elif kind in _CALLS:
            raise lacks(f"{path}.type", "calls of tools", asking.profile)
        elif kind == "compaction_trigger":
            raise lacks(f"{path}.type", "compaction on demand", asking.profile)
    if note := json_note(request, asking.structured):
        yield "system", note


def _text(parts: list[Item], path: str, asking: Asking) -> str:
    return "".join(_part(part, f"{path}[{index}].type", asking) for index, part in enumerate(parts))


def _part(part: Item, path: str, asking: Asking) -> str:
    if part["type"] in _TEXTS:
        return str(part["text"])
    if part["type"] == "refusal":
        return str(part["refusal"])
    raise lacks(path, f"content of type '{part['type']}'", asking.profile)
