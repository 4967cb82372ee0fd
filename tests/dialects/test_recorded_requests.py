"""Every recorded request, read into the hub and written for its own dialect again: what is the same, and what is not.

What may be spelled in several ways is respelled in `canonical`, so that its value is compared. What the hub does not
hold stands in `LEFT_OUT` by its place, and what it refuses in `REFUSED`, each with the reason.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon.wire.errors import ClientFault
from dialects.there_and_back import APIS, there_and_back
from recorded import exchanges, needs_recordings

Body = dict[str, Any]

LEFT_OUT = {
    "chat": {
        "tools[].cache_control": "OpenRouter's own",
        "messages[].reasoning": "OpenAI takes no reasoning back",
        "messages[].reasoning_content": "OpenAI takes no reasoning back",
        "messages[].reasoning_details": "OpenAI takes no reasoning back",
        "messages[].annotations": "says where an earlier answer came from",
        "messages[].prefix": "Mistral's own",
        "messages#": "an image that a tool gave is told by a user's message",
        "messages[].tool_calls[].index": "a place in a stream",
        "reasoning": "OpenRouter's own limit of reasoning, in tokens",
        "enable_thinking": "Qwen's own",
        "thinking": "z.ai's own",
        "random_seed": "Mistral's name of `seed`",
        "provider": "OpenRouter's own",
        "moderation": "a check beside the answer",
    },
    "messages": {
        "cache_control": "spares work, and changes no answer",
        "tools[].cache_control": "spares work, and changes no answer",
        "messages[].content[].cache_control": "spares work, and changes no answer",
        "context_management": "spares work, and changes no answer",
        "tools[].allowed_callers": "who may call a tool of Anthropic's",
        "tools[].defer_loading": "tools are on offer, or not",
        "messages[].content[].content[].tool_name": "a tool that is referred to is on offer",
        "tools[].type": "the version of a tool of Anthropic's",
        "messages[].content[].type": "documents of text are text",
        "messages[].content[].source": "documents of text are text",
        "messages[].content[].title": "documents of text are text",
        "messages[].content[].text": "documents of text are text",
        "messages[].content[].citations": "nobody else can be asked for citations",
        "messages[].content[].content[].type": "results of a search are text",
        "messages[].content[].content[].source": "results of a search are text",
        "messages[].content[].content[].title": "results of a search are text",
        "messages[].content[].content[].text": "results of a search are text",
        "messages[].content[].content[].content": "results of a search are text",
        "messages[].content[].content[].citations": "nobody else can be asked for citations",
        "messages[].content#": "thinking that this gateway has not signed, and what hosted tools did",
        "thinking.type": "newer models have no budget",
        "thinking.budget_tokens": "newer models have no budget",
        "thinking.display": "newer models have no budget",
        "output_config": "newer models have an effort in its place",
        "temperature": "newer models that think have none",
    },
    "completions": {},
}

REFUSED = {
    "chat": {
        "n": "several answers",
        "audio": "spoken answers",
        "tools[].type": "tools of OpenRouter's and of Perplexity's own",
        "messages[].content[].type": "Mistral's thinking in parts, and files by URL",
    },
    "messages": {
        "tools[].type": "tools of Anthropic's own that nobody else has",
        "messages[]": "no message at all: Anthropic had refused it too",
        "input": "no message at all: Anthropic had refused it too",
    },
    "completions": {"n": "several answers", "prompt": "prompts of token numbers"},
}


def canonical(dialect: str, body: Body) -> Body:
    """Return the request as the hub's writer would spell it."""
    told = without_null(body)
    if told.get("stream") is False:
        del told["stream"]
    return _RESPELLED[dialect](told)


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_null(each) for name, each in value.items() if each is not None}
    return [without_null(each) for each in value] if isinstance(value, list) else value


def of_chat(body: Body) -> Body:
    respell(body, "max_tokens", "max_completion_tokens")
    drop(body, n=1, tool_choice="auto", tools=[])
    if body.get("stream"):
        body["stream_options"] = {"include_usage": True}
    if "functions" in body:
        body["tools"] = [{"type": "function", "function": each} for each in body.pop("functions")]
        drop(body, function_call="auto")
    if "effort" in body.get("reasoning", {}):
        body["reasoning_effort"] = body.pop("reasoning")["effort"]
    for tool in body.get("tools", ()):
        if tool["type"] == "function":
            tool["function"].setdefault("strict", False)
    for message in body["messages"]:
        if message["role"] == "assistant" and message.get("tool_calls"):
            message["content"] = message.get("content") or None
        drop(message, tool_calls=[])
        parts = message["content"] if isinstance(message["content"], list) else []
        if len(parts) == 1 and parts[0]["type"] == "text":
            message["content"] = parts[0]["text"]
        for part in parts:
            if isinstance(part.get("image_url"), str):
                part["image_url"] = {"url": part["image_url"]}
    return body


def of_messages(body: Body) -> Body:
    if "output_format" in body:
        body["output_config"] = {"format": body.pop("output_format")}
    system = body.get("system")
    if isinstance(system, list) and not any("cache_control" in block for block in system):
        body["system"] = "\n\n".join(block["text"] for block in system)
    drop(body, tool_choice={"type": "auto"})
    for tool in body.get("tools", ()):
        drop(tool, strict=False)
    for message in body["messages"]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        for block in message["content"]:
            drop(block, is_error=False)
    return body


def of_completions(body: Body) -> Body:
    drop(body, n=1)
    if body.get("stream"):
        body["stream_options"] = {"include_usage": True}
    if isinstance(body["prompt"], list):
        (body["prompt"],) = body["prompt"]
    return body


def respell(body: Body, old: str, new: str) -> None:
    if old in body:
        body[new] = body.pop(old)


def drop(body: Body, **defaults: Any) -> None:
    for name, default in defaults.items():
        if body.get(name) == default:
            del body[name]


_RESPELLED: dict[str, Callable[[Body], Body]] = {
    "chat": of_chat,
    "messages": of_messages,
    "completions": of_completions,
}


def places(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield where two JSON values differ, without the places in lists; `#` is a list of another length."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            place = f"{path}.{name}".lstrip(".")
            if name in before and name in after:
                yield from places(before[name], after[name], place)
            else:
                yield place
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for first, second in zip(before, after, strict=True):
            yield from places(first, second, f"{path}[]")
    elif before != after:
        yield f"{path}#" if isinstance(before, list) else path


@needs_recordings
@pytest.mark.parametrize("dialect", APIS)
def test_recorded_requests_come_back_as_they_were(dialect: str):
    """But for what the tables name; and every row of a table is needed."""
    left_out, refused, unexpected = set(), set(), {}
    for mode in ("stream", "plain"):
        for exchange in exchanges(APIS[dialect], mode, None):
            if not isinstance(exchange.request, dict):
                continue
            try:
                written = there_and_back(dialect, exchange.request)
            except ClientFault as fault:
                refused.add(re.sub(r"\[\d+\]|\.\d+", "[]", str(fault.param)))
                continue
            differing = {*places(canonical(dialect, exchange.request), written)}
            left_out |= differing
            if surplus := differing - LEFT_OUT[dialect].keys():
                unexpected[exchange.id] = surplus

    assert unexpected == {}
    assert left_out == LEFT_OUT[dialect].keys()
    assert refused == REFUSED[dialect].keys()
