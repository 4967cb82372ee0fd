"""Chat Completions, as OpenAI and those who imitate it speak it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from antiphon.drivers.simulator import Answer
from scripted.speech import (
    CACHED_TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    THOUGHT_TOKENS,
    Asked,
    Call,
    Fails,
    Result,
    Says,
    must,
    only,
    parsed,
    text_of,
)
from scripted.wire import DONE, cut, events, named

MEMBERS = (
    *(
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "stop",
        "seed",
        "n",
        "user",
        "metadata",
    ),
    *("max_tokens", "max_completion_tokens", "stream", "stream_options", "tools", "tool_choice", "store"),
    *("parallel_tool_calls", "response_format", "logprobs", "top_logprobs", "reasoning_effort", "verbosity"),
    *("service_tier", "safety_identifier", "prompt_cache_key", "modalities"),
)
OWN = {"openrouter": ("reasoning",), "deepseek": ("thinking",)}
"""Members that one kind of provider has beside them."""
MESSAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "system": (("content",), ("name",)),
    "developer": (("content",), ("name",)),
    "user": (("content",), ("name",)),
    "assistant": ((), ("content", "tool_calls", "refusal", "name", "annotations", "audio", "function_call")),
    "tool": (("content", "tool_call_id"), ()),
}
"""Members that a message needs and may have, by role."""
REASONING = {
    "openrouter": "reasoning_details",
    "deepseek": "reasoning_content",
    "chat": "reasoning_content",
}
"""The member that holds reasoning, by the kind of provider; OpenAI has none."""


def read(body: dict[str, Any], kind: str) -> Asked:
    only(body, "body", needs=("model", "messages"), may=(*MEMBERS, *OWN.get(kind, ())))
    must("stream_options" not in body or body.get("stream"), "stream_options without stream")
    conversation = _Conversation(kind)
    for index, message in enumerate(body["messages"]):
        conversation.take(message, f"messages[{index}]")
    must(not conversation.open, "the last calls have no answers")
    must(conversation.texts or conversation.system, "no messages")
    form = body.get("response_format") or {"type": "text"}
    must(form["type"] in {"text", "json_object", "json_schema"}, "response_format.type")
    schema = None
    if form["type"] == "json_schema":
        inner = only(
            form["json_schema"], "json_schema", needs=("name", "schema"), may=("strict", "description")
        )
        schema = inner["schema"]
        if inner.get("strict"):
            must_be_strict(schema, "schema")
    return Asked(
        stream=bool(body.get("stream")),
        system="\n".join(conversation.system),
        texts=tuple(conversation.texts),
        calls=tuple(conversation.calls),
        results=tuple(conversation.results),
        proofs=tuple(conversation.proofs),
        tools=dict(_tools(body.get("tools"))),
        must_call=_choice(body),
        schema=schema,
        wants_json=form["type"] == "json_object",
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


class _Conversation:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.system: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.calls: list[Call] = []
        self.results: list[Result] = []
        self.proofs: list[str] = []
        self.open: set[str] = set()
        """Ids of calls that wait for their answers: nothing else may come before these."""

    def take(self, message: Any, path: str) -> None:
        role = message.get("role")
        must(role in MESSAGES, f"{path}.role is {role!r}")
        needs, may = MESSAGES[role]
        if role == "assistant":
            may = (*may, *filter(None, [REASONING.get(self.kind)]), "reasoning")
        only(message, path, needs=("role", *needs), may=may)
        must(role == "tool" or not self.open, f"{path}: calls {self.open} have no answers yet")
        if role in {"system", "developer"}:
            self.system.append(_text(message["content"], path))
        elif role == "user":
            self.texts.append(("user", _text(message["content"], path)))
        elif role == "tool":
            must(message["tool_call_id"] in self.open, f"{path} answers a call that is not open")
            self.open.discard(message["tool_call_id"])
            self.results.append(Result(message["tool_call_id"], _text(message["content"], path)))
        else:
            self._assistant(message, path)

    def _assistant(self, message: Mapping[str, Any], path: str) -> None:
        content, calls = message.get("content"), message.get("tool_calls")
        must(content is not None or calls or message.get("refusal"), f"{path} says nothing")
        must(calls is None or calls, f"{path}.tool_calls is empty")
        if content:
            self.texts.append(("assistant", _text(content, path)))
        for call in calls or ():
            only(call, f"{path}.tool_calls", needs=("id", "type", "function"))
            inner = only(call["function"], f"{path}.function", needs=("name", "arguments"))
            self.calls.append(Call(call["id"], inner["name"], parsed(inner["arguments"], path)))
            must(call["id"] not in self.open, f"{path}: two calls have one id")
            self.open.add(call["id"])
        thought = message.get(REASONING.get(self.kind, ""))
        if isinstance(thought, list):
            self.proofs += [detail["signature"] for detail in thought]
        elif thought:
            self.proofs.append(text_of(thought, path))


def _text(content: Any, path: str) -> str:
    if isinstance(content, str):
        return content
    must(isinstance(content, list) and content, f"{path}.content is {content!r}")
    return "".join(only(part, path, needs=("type", "text"))["text"] for part in content)


def _tools(tools: Any) -> Iterator[tuple[str, Any]]:
    must(tools is None or tools, "tools is empty")
    for tool in tools or ():
        only(tool, "tools[]", needs=("type", "function"))
        inner = only(
            tool["function"], "function", needs=("name",), may=("description", "parameters", "strict")
        )
        must(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", inner["name"]), f"a tool is called {inner['name']!r}")
        schema = inner.get("parameters", {"type": "object", "properties": {}})
        must(schema.get("type") == "object", f"parameters are {schema!r}")
        if inner.get("strict"):
            must_be_strict(schema, inner["name"])
        yield inner["name"], schema


def _choice(body: dict[str, Any]) -> str | None:
    choice = body.get("tool_choice", "auto")
    must(body.get("tools") or "tool_choice" not in body, "tool_choice without tools")
    must(body.get("tools") or "parallel_tool_calls" not in body, "parallel_tool_calls without tools")
    if isinstance(choice, str):
        must(choice in {"auto", "none", "required"}, f"tool_choice is {choice!r}")
        return "*" if choice == "required" else None
    only(choice, "tool_choice", needs=("type", "function"))
    return only(choice["function"], "tool_choice.function", needs=("name",))["name"]


def must_be_strict(schema: Any, path: str) -> None:
    """Hold a schema to what OpenAI's strict mode asks of every object in it."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            properties = schema.get("properties", {})
            must(schema.get("additionalProperties") is False, f"{path} is strict and open to other members")
            must(set(schema.get("required", ())) == properties.keys(), f"{path} is strict with free members")
        for name, inner in schema.items():
            must_be_strict(inner, f"{path}.{name}")


# What it says.


def write(says: Says, asked: Asked, model: str, kind: str) -> Answer:
    finish = "tool_calls" if says.calls else says.finish
    if asked.stream:
        return cut(events(_chunks(says, model, kind, finish)), says)
    message = {"role": "assistant", "content": says.text or None, "refusal": says.refusal or None}
    message |= _thought(says, kind)
    if says.calls:
        message["tool_calls"] = [_call(call) for call in says.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    answer = _head(model, "chat.completion") | {"choices": [choice], "usage": USAGE}
    return Answer(body=json.dumps(answer).encode())


def _chunks(says: Says, model: str, kind: str, finish: str) -> Iterator[bytes]:
    head = _head(model, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return named(head | {"choices": [choice], "usage": None})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    if told := _thought(says, kind):
        yield chunk(told)
    for text in says.texts:
        yield chunk({"content": text})
    if says.refusal:
        yield chunk({"refusal": says.refusal})
    for index, call in enumerate(says.calls):
        whole = _call(call)
        arguments = whole["function"]["arguments"]
        begun = whole | {"index": index, "function": {"name": call.name, "arguments": ""}}
        yield chunk({"tool_calls": [begun]})
        for piece in (arguments[:6], arguments[6:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, finish)
    yield named(head | {"choices": [], "usage": USAGE})
    yield DONE


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-up", "object": kind, "created": 1_800_000_000, "model": model}


def _call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _thought(says: Says, kind: str) -> dict[str, Any]:
    if kind not in REASONING or not says.thought:
        return {}
    if kind == "openrouter":
        detail = {"type": "reasoning.text", "text": says.thought, "signature": says.proof, "index": 0}
        return {"reasoning": says.thought, "reasoning_details": [detail | {"format": "anthropic-claude-v1"}]}
    return {REASONING[kind]: says.thought}


USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    "completion_tokens_details": {"reasoning_tokens": THOUGHT_TOKENS},
}


def fail(fails: Fails) -> dict[str, Any]:
    return {
        "error": {"message": fails.message, "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    }
