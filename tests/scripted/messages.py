"""Anthropic Messages."""

import json
import re
from collections.abc import Iterator
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
    text_of,
)
from scripted.wire import cut, events, named

MEMBERS = (
    *("system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"),
    *("tools", "tool_choice", "thinking", "output_config", "cache_control", "container", "inference_geo"),
)
BLOCKS: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "user": {
        "text": (("text",), ("cache_control",)),
        "tool_result": (("tool_use_id",), ("content", "is_error", "cache_control")),
    },
    "assistant": {
        "text": (("text",), ("cache_control", "citations")),
        "tool_use": (("id", "name", "input"), ("cache_control", "caller")),
        "thinking": (("thinking", "signature"), ()),
    },
}
"""Members that a block needs and may have, by who says it and its type."""


def read(body: dict[str, Any], _kind: str) -> Asked:
    only(body, "body", needs=("model", "max_tokens", "messages"), may=MEMBERS)
    conversation = _read_messages(body)
    must(not conversation.open, "the last calls have no answers")
    config = only(body.get("output_config", {}), "output_config", may=("format", "effort"))
    form = config.get("format") or {}
    if form:
        only(form, "output_config.format", needs=("type", "schema"))
        must(form["type"] == "json_schema", "output_config.format.type")
    choice = body.get("tool_choice", {"type": "auto"})
    thinks = body.get("thinking", {}).get("type") not in {None, "disabled"}
    must(not (thinks and choice["type"] in {"any", "tool"}), "thinking, and a tool that must be called")
    must(not (thinks and "temperature" in body), "thinking with a temperature")
    must(body.get("thinking", {}).get("budget_tokens", 0) < body["max_tokens"], "a budget above the limit")
    only(choice, "tool_choice", needs=("type",), may=("name", "disable_parallel_tool_use"))
    must(body.get("tools") or "tool_choice" not in body, "tool_choice without tools")
    return Asked(
        stream=bool(body.get("stream")),
        system=_system(body.get("system", "")),
        texts=tuple(conversation.texts),
        calls=tuple(conversation.calls),
        results=tuple(conversation.results),
        proofs=tuple(conversation.proofs),
        tools=dict(_tools(body.get("tools") or ())),
        must_call={"any": "*", "tool": choice.get("name")}.get(choice["type"]),
        schema=form.get("schema"),
        limit=body["max_tokens"],
    )


def read_count(body: dict[str, Any]) -> None:
    only(
        body,
        "body",
        needs=("model", "messages"),
        may=("system", "tools", "tool_choice", "thinking", "output_config", "cache_control"),
    )
    _read_messages(body)


def _read_messages(body: dict[str, Any]) -> "_Conversation":
    must(body["messages"], "no messages")
    conversation = _Conversation()
    for index, message in enumerate(body["messages"]):
        path = f"messages.{index}"
        only(message, path, needs=("role", "content"))
        expected = "assistant" if index % 2 else "user"
        must(message["role"] == expected, f"{path}: the {message['role']} speaks where the {expected} should")
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        must(content, f"{path} says nothing")
        conversation.take(message["role"], content, path)
    return conversation


class _Conversation:
    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.calls: list[Call] = []
        self.results: list[Result] = []
        self.proofs: list[str] = []
        self.open: set[str] = set()
        """Ids of calls that the next message has to answer."""

    def take(self, role: str, blocks: list[Any], path: str) -> None:
        for index, block in enumerate(blocks):
            place = f"{path}.{index}"
            must(block.get("type") in BLOCKS[role], f"{place}.type is {block.get('type')!r}")
            needs, may = BLOCKS[role][block["type"]]
            only(block, place, needs=("type", *needs), may=may)
            self._block(role, block, place, is_first=index == 0)

    def _block(self, role: str, block: Any, path: str, *, is_first: bool) -> None:
        match block["type"]:
            case "text":
                must(
                    not self.open or role == "assistant", f"{path}: calls {self.open} are not answered first"
                )
                must(block["text"].strip(), f"{path} is an empty text")
                self.texts.append((role, block["text"]))
            case "tool_use":
                must(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]), f"{path}.id is {block['id']!r}")
                must(isinstance(block["input"], dict), f"{path}.input")
                must(block["id"] not in self.open, f"{path}: two calls have one id")
                self.open.add(block["id"])
                self.calls.append(Call(block["id"], block["name"], block["input"]))
            case "tool_result":
                must(block["tool_use_id"] in self.open, f"{path} answers a call that is not open")
                self.open.discard(block["tool_use_id"])
                content = block.get("content", "")
                text = content if isinstance(content, str) else "".join(part["text"] for part in content)
                self.results.append(Result(block["tool_use_id"], text))
            case _:
                must(is_first, f"{path}: thinking in the middle of a message")
                self.proofs.append(text_of(block["signature"], path))


def _system(system: Any) -> str:
    if isinstance(system, str):
        return system
    return "\n".join(
        only(block, "system[]", needs=("type", "text"), may=("cache_control",))["text"] for block in system
    )


def _tools(tools: Any) -> Iterator[tuple[str, Any]]:
    for tool in tools:
        only(
            tool,
            "tools[]",
            needs=("name", "input_schema"),
            may=("description", "type", "strict", "cache_control", "eager_input_streaming"),
        )
        must(tool.get("type", "custom") == "custom", f"a tool of type {tool.get('type')}")
        must(tool["input_schema"].get("type") == "object", f"the schema of {tool['name']} is no object's")
        yield tool["name"], tool["input_schema"]


# What it says.


def write(says: Says, asked: Asked, model: str, _kind: str) -> Answer:
    blocks = list(_blocks(says))
    reason = "tool_use" if says.calls else {"length": "max_tokens", "stop": "end_turn"}[says.finish]
    details = None
    if says.refusal:
        reason = "refusal"
        details = {"type": "refusal", "category": None, "explanation": says.refusal}
    message = {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "stop_details": details,
        "usage": USAGE,
    }
    if asked.stream:
        return cut(events(named(event, event["type"]) for event in _events(message, says)), says)
    return Answer(body=json.dumps(message).encode())


def _blocks(says: Says) -> Iterator[dict[str, Any]]:
    if says.thought:
        yield {"type": "thinking", "thinking": says.thought, "signature": says.proof}
    if says.texts:
        yield {"type": "text", "text": says.text}
    for call in says.calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


EMPTY: dict[str, dict[str, Any]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def _events(message: dict[str, Any], says: Says) -> Iterator[dict[str, Any]]:
    begun = message | {"content": [], "stop_reason": None, "stop_details": None}
    begun["usage"] = USAGE | {"output_tokens": 1}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        at = {"index": index}
        yield {"type": "content_block_start", **at, "content_block": block | EMPTY[block["type"]]}
        for delta in _deltas(block, says):
            yield {"type": "content_block_delta", **at, "delta": delta}
        yield {"type": "content_block_stop", **at}
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": ending, "usage": USAGE}
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any], says: Says) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for piece in says.texts:
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            yield {"type": "thinking_delta", "thinking": block["thinking"]}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            arguments = json.dumps(block["input"])
            for piece in ("", arguments[:6], arguments[6:]):
                yield {"type": "input_json_delta", "partial_json": piece}


USAGE = {
    "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": CACHED_TOKENS,
    "output_tokens": OUTPUT_TOKENS,
    "output_tokens_details": {"thinking_tokens": THOUGHT_TOKENS},
}


UNTHREADED = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "This request cannot be part of a thread.",
        "details": {"error_code": "thread_unsupported_request", "unsupported": ["tools"]},
    },
}


def fail(fails: Fails) -> dict[str, Any]:
    error = {"type": "rate_limit_error", "message": fails.message}
    return {"type": "error", "error": error, "request_id": "req_up"}
