"""The Responses API, as OpenAI speaks it to somebody who lets it keep nothing."""

import json
from collections.abc import Iterator
from typing import Any

from antiphon.drivers.simulator import Answer
from scripted import chat
from scripted.speech import (
    CACHED_TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    THOUGHT_TOKENS,
    Asked,
    Call,
    Result,
    Says,
    must,
    only,
    parsed,
    text_of,
)
from scripted.wire import cut, events, named

MEMBERS = (
    *("instructions", "include", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls"),
    *("reasoning", "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature"),
    *("text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user", "prompt_cache_key"),
    "verbosity",
)
ITEMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "message": (("role", "content"), ("id", "status", "phase")),
    "function_call": (("call_id", "name", "arguments"), ("id", "status", "namespace")),
    "function_call_output": (("call_id", "output"), ("id", "status")),
    "reasoning": (("summary",), ("id", "status", "content", "encrypted_content")),
}
TEXTS = {
    "user": ("input_text",),
    "system": ("input_text",),
    "developer": ("input_text",),
    "assistant": ("output_text", "refusal"),
}


def read(body: dict[str, Any], _kind: str) -> Asked:
    only(body, "body", needs=("model", "input", "store"), may=MEMBERS)
    must(body["store"] is False, "what the gateway keeps is kept twice")
    conversation = _Conversation()
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    for index, item in enumerate(items):
        conversation.take(item, f"input[{index}]")
    must(not conversation.thinks, "a reasoning item lacks the item that it led to")
    must(conversation.answered == conversation.called, "calls and their outputs differ")
    form = body.get("text", {}).get("format") or {"type": "text"}
    if form["type"] == "json_schema":
        only(form, "text.format", needs=("type", "name", "schema"), may=("strict", "description"))
        if form.get("strict"):
            chat.must_be_strict(form["schema"], "text.format.schema")
    return Asked(
        stream=bool(body.get("stream")),
        system="\n".join(filter(None, [body.get("instructions"), *conversation.system])),
        texts=tuple(conversation.texts),
        calls=tuple(conversation.calls),
        results=tuple(conversation.results),
        proofs=tuple(conversation.proofs),
        tools=dict(_tools(body.get("tools") or ())),
        must_call=_choice(body.get("tool_choice", "auto")),
        schema=form.get("schema"),
        wants_json=form["type"] == "json_object",
        limit=body.get("max_output_tokens"),
    )


class _Conversation:
    def __init__(self) -> None:
        self.system: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.calls: list[Call] = []
        self.results: list[Result] = []
        self.proofs: list[str] = []
        self.called: set[str] = set()
        self.answered: set[str] = set()
        self.thinks = False

    def take(self, item: Any, path: str) -> None:
        kind = item.get("type", "message")
        must(kind in ITEMS, f"{path}.type is {kind!r}")
        needs, may = ITEMS[kind]
        only(item, path, needs=needs, may=(*may, "type"))
        self.thinks = kind == "reasoning"
        match kind:
            case "message":
                self._message(item, path)
            case "function_call":
                must(item["call_id"] not in self.called, f"{path}: two calls have one id")
                self.called.add(item["call_id"])
                self.calls.append(Call(item["call_id"], item["name"], parsed(item["arguments"], path)))
            case "function_call_output":
                must(item["call_id"] in self.called - self.answered, f"{path} answers no call")
                self.answered.add(item["call_id"])
                output = item["output"]
                text = output if isinstance(output, str) else _text(output, "user", path)
                self.results.append(Result(item["call_id"], text))
            case _:
                proof = item.get("encrypted_content")
                must(proof, f"{path} is reasoning without encrypted_content, and nothing is kept")
                self.proofs.append(text_of(proof, path))

    def _message(self, item: Any, path: str) -> None:
        role = item["role"]
        must(role in TEXTS, f"{path}.role is {role!r}")
        content = item["content"]
        text = content if isinstance(content, str) else _text(content, role, path)
        if role in {"user", "assistant"}:
            self.texts.append((role, text))
        else:
            self.system.append(text)


def _text(parts: Any, role: str, path: str) -> str:
    must(isinstance(parts, list) and parts, f"{path} has no content")
    for part in parts:
        must(part["type"] in TEXTS[role], f"{path}: {part['type']} in what the {role} says")
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


def _tools(tools: Any) -> Iterator[tuple[str, Any]]:
    for tool in tools:
        only(
            tool,
            "tools[]",
            needs=("type", "name", "parameters"),
            may=("description", "strict", "defer_loading", "allowed_callers", "output_schema"),
        )
        must(tool["type"] == "function", f"a tool of type {tool['type']}")
        if tool.get("strict"):
            chat.must_be_strict(tool["parameters"], tool["name"])
        yield tool["name"], tool["parameters"]


def _choice(choice: Any) -> str | None:
    if isinstance(choice, str):
        must(choice in {"auto", "none", "required"}, f"tool_choice is {choice!r}")
        return "*" if choice == "required" else None
    return only(choice, "tool_choice", needs=("type", "name"))["name"]


# What it says.


def write(says: Says, asked: Asked, model: str, _kind: str) -> Answer:
    output = [item for item, _ in _items(says)]
    if asked.stream:
        return cut(events(_numbered(_events(says, model, asked))), says)
    return Answer(body=json.dumps(_response(model, output, says, asked)).encode())


def _items(says: Says) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield items, and the events inside of each."""
    if says.thought:
        part = {"type": "summary_text", "text": says.thought}
        at = {"summary_index": 0}
        yield (
            {"id": "rs_1", "type": "reasoning", "summary": [part], "encrypted_content": says.proof},
            [
                {"type": "response.reasoning_summary_part.added", **at, "part": part | {"text": ""}},
                {"type": "response.reasoning_summary_text.delta", **at, "delta": says.thought},
                {"type": "response.reasoning_summary_text.done", **at, "text": says.thought},
                {"type": "response.reasoning_summary_part.done", **at, "part": part},
            ],
        )
    if says.texts or says.refusal:
        yield _message(says)
    for number, call in enumerate(says.calls):
        arguments = json.dumps(call.arguments)
        item = {"id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": call.id}
        delta = "response.function_call_arguments.delta"
        inside = [{"type": delta, "delta": piece} for piece in (arguments[:6], arguments[6:])]
        done = {"type": "response.function_call_arguments.done", "arguments": arguments, "name": call.name}
        yield item | {"name": call.name, "arguments": arguments}, [*inside, done]


def _message(says: Says) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    at = {"content_index": 0}
    if says.refusal:
        part = {"type": "refusal", "refusal": says.refusal}
        inside = [
            {"type": "response.content_part.added", **at, "part": part | {"refusal": ""}},
            {"type": "response.refusal.delta", **at, "delta": says.refusal},
            {"type": "response.refusal.done", **at, "refusal": says.refusal},
        ]
    else:
        logprobs: dict[str, Any] = {"logprobs": []}
        part = {"type": "output_text", "text": says.text, "annotations": [], **logprobs}
        inside = [
            {"type": "response.content_part.added", **at, "part": part | {"text": ""}},
            *({"type": "response.output_text.delta", **at, "delta": text, **logprobs} for text in says.texts),
            {"type": "response.output_text.done", **at, "text": says.text, **logprobs},
        ]
    status = "incomplete" if says.finish == "length" else "completed"
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [part]}
    return item, [*inside, {"type": "response.content_part.done", **at, "part": part}]


def _events(says: Says, model: str, asked: Asked) -> Iterator[dict[str, Any]]:
    begun = _response(model, [], says, asked) | {"status": "in_progress", "usage": None}
    begun["incomplete_details"] = None
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    output = []
    for index, (item, inside) in enumerate(_items(says)):
        output.append(item)
        empty = {"reasoning": "summary", "message": "content"}.get(item["type"])
        fresh = {empty: []} if empty else {"arguments": ""}
        at = {"output_index": index}
        yield {
            "type": "response.output_item.added",
            **at,
            "item": item | fresh | ({"status": "in_progress"} if "status" in item else {}),
        }
        for event in inside:
            yield event | at | {"item_id": item["id"]}
        yield {"type": "response.output_item.done", **at, "item": item}
    whole = _response(model, output, says, asked)
    yield {"type": f"response.{whole['status']}", "response": whole}


def _numbered(told: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for number, event in enumerate(told):
        yield named(event | {"sequence_number": number}, event["type"])


def _response(model: str, output: list[dict[str, Any]], says: Says, asked: Asked) -> dict[str, Any]:
    is_cut = says.finish == "length"
    return {
        "id": "resp_up",
        "object": "response",
        "created_at": 1_800_000_000,
        "status": "incomplete" if is_cut else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": asked.system or None,
        "max_output_tokens": asked.limit,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": THOUGHT_TOKENS},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        },
        "user": None,
    }


fail = chat.fail
