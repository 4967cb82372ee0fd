"""One upstream that speaks every dialect and plays a script: it calls a tool, and says a text after the output.

Which dialect it is asked in shows in the path. Each first answer also carries reasoning with a signature, which a
client has to bring back, through whatever dialect it speaks.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from antiphon.drivers.simulator import Answer, Received
from antiphon.wire.sse import DONE, write_frame

DIALECTS = ("responses", "chat", "messages", "gemini", "ollama")
SIGNED = ("responses", "messages", "gemini")
"""Dialects with a signature on reasoning that only the upstream understands."""
SIGNATURE = "c2lnbmVkLWJ5LXRoZS11cHN0cmVhbQ=="
THOUGHT = "Let me think."
COUNTED = 4711
"""Tokens that upstreams count, where they do."""


@dataclass(frozen=True)
class Call:
    """A call of the tool whose name, as the upstream was told it, ends in `name`."""

    name: str
    arguments: dict[str, Any] | str
    """Text for a free-form tool; an upstream that has no such tools gets it as the argument `input`."""


Turn = Call | str


@dataclass(frozen=True)
class Asked:
    """A request to the upstream."""

    dialect: str
    path: str
    text: str
    body: dict[str, Any]
    stream: bool
    headers: dict[str, str] = field(repr=False)
    number: int
    """How many answers there were before: calls have an id each."""

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Return the tools that the upstream was told of, flat: `name`, and in the Responses API `namespace`."""
        return list(_told_tools(self.dialect, self.body))

    @property
    def tool_names(self) -> list[str]:
        return [tool["name"] for tool in self.tools if "name" in tool]

    def tool(self, name: str) -> dict[str, Any]:
        """Return the tool whose name ends in `name`."""
        return next(tool for tool in self.tools if tool.get("name", "").endswith(name))


Script = Callable[[Asked], Turn]


def call_then_say(call: Call, marker: str, text: str) -> Script:
    """Call until the output, which holds `marker`, is there."""
    return lambda asked: text if marker in asked.text else call


class ScriptedUpstream:
    """Answers of the simulator, chosen by a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        """Requests for answers."""
        self.others: list[Received] = []
        """What else was asked."""

    def __call__(self, received: Received) -> Answer:
        path = received.path.partition("?")[0]
        if path.endswith(("count_tokens", "countTokens", "input_tokens")):
            self.others.append(received)
            return _json({"input_tokens": COUNTED, "totalTokens": COUNTED})
        dialect = next((each for each, ending in _PATHS.items() if ending in path), None)
        if dialect is None:
            self.others.append(received)
            return _json({"error": {"message": f"There is no {path}."}}, 404)
        body = json.loads(received.body)
        stream = "streamGenerateContent" in path or bool(body.get("stream"))
        asked = Asked(
            dialect, received.path, received.body.decode(), body, stream, received.headers, len(self.asked)
        )
        self.asked.append(asked)
        return _SPEAK[dialect](asked, self.script(asked))


_PATHS = {
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "gemini": "enerateContent",
    "ollama": "/api/chat",
}


def _json(body: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode())


def _told_tools(dialect: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    told = list(body.get("tools") or ())
    if dialect == "responses":
        items = body["input"] if isinstance(body["input"], list) else ()
        added = (item["tools"] for item in items if item.get("type") == "additional_tools")
        for tool in (*told, *(tool for tools in added for tool in tools)):
            inner = tool.get("tools") if tool["type"] == "namespace" else None
            yield from ({**each, "namespace": tool["name"]} for each in inner or ()) if inner else (tool,)
    elif dialect in {"chat", "ollama"}:
        yield from (tool.get(tool["type"], tool) for tool in told)
    elif dialect == "gemini":
        for tool in told:
            yield from tool.get("functionDeclarations", (tool,))
    else:
        yield from told


# How each dialect says it.


def _responses(asked: Asked, turn: Turn) -> Answer:
    if isinstance(turn, str):
        part = {"type": "output_text", "text": turn, "annotations": [], "logprobs": []}
        output: list[Any] = [{"type": "message", "role": "assistant", "content": [part]}]
    else:
        tool = asked.tool(turn.name)
        call = {"call_id": f"call_{asked.number}", "name": tool["name"]}
        if "namespace" in tool:
            call["namespace"] = tool["namespace"]
        if tool["type"] == "custom":
            call |= {"type": "custom_tool_call", "input": turn.arguments}
        else:
            call |= {"type": "function_call", "arguments": json.dumps(turn.arguments)}
        summary = [{"type": "summary_text", "text": THOUGHT}]
        output = [{"type": "reasoning", "summary": summary, "encrypted_content": SIGNATURE}, call]
    output = [{"id": f"item_{place}", "status": "completed", **item} for place, item in enumerate(output)]
    response = {
        "id": "resp_upstream",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": asked.body["model"],
        "output": output,
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 17,
        },
    }
    if not asked.stream:
        return _json(response)
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for place, item in enumerate(output):
        events += _item_events(place, item)
    events.append({"type": "response.completed", "response": response})
    return _sse({"type": event["type"], "sequence_number": n, **event} for n, event in enumerate(events))


def _item_events(place: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    at = {"output_index": place, "item_id": item["id"]}
    started = item | {"status": "in_progress"}
    added = {"type": "response.output_item.added", "output_index": place, "item": started}
    match item["type"]:
        case "message":
            part = item["content"][0]
            inside = at | {"content_index": 0}
            yield added | {"item": started | {"content": []}}
            yield {"type": "response.content_part.added", **inside, "part": part | {"text": ""}}
            for piece in _halves(part["text"]):
                yield {"type": "response.output_text.delta", **inside, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **inside, "text": part["text"], "logprobs": []}
            yield {"type": "response.content_part.done", **inside, "part": part}
        case "function_call":
            yield added | {"item": started | {"arguments": ""}}
            for piece in _halves(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            yield {
                "type": "response.function_call_arguments.done",
                **at,
                "name": item["name"],
                "arguments": item["arguments"],
            }
        case "custom_tool_call":
            yield added | {"item": started | {"input": ""}}
            for piece in _halves(item["input"]):
                yield {"type": "response.custom_tool_call_input.delta", **at, "delta": piece}
            yield {"type": "response.custom_tool_call_input.done", **at, "input": item["input"]}
        case _:
            yield added
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _chat(asked: Asked, turn: Turn) -> Answer:
    envelope = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": asked.body["model"]}
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    finish = "stop" if isinstance(turn, str) else "tool_calls"
    if isinstance(turn, str):
        message: dict[str, Any] = {"role": "assistant", "content": turn}
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in _halves(turn)]
    else:
        name, arguments = _called(asked, turn)
        function = {"name": name, "arguments": arguments}
        call = {"id": f"call_{asked.number}", "type": "function", "function": function}
        message = {
            "role": "assistant",
            "content": None,
            "reasoning_content": THOUGHT,
            "tool_calls": [call],
        }
        started = call | {"index": 0, "function": function | {"arguments": ""}}
        deltas = [{"reasoning_content": THOUGHT}, {"tool_calls": [started]}]
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in _halves(arguments)
        ]
    if not asked.stream:
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return _json(envelope | {"object": "chat.completion", "choices": [choice], "usage": usage})
    choices = [
        {"index": 0, "delta": {"role": "assistant"} | delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    envelope["object"] = "chat.completion.chunk"
    chunks = [envelope | {"choices": [choice]} for choice in choices]
    chunks.append(envelope | {"choices": [], "usage": usage})
    frames = [write_frame(json.dumps(chunk).encode()) for chunk in chunks]
    return Answer(frames=[*frames, DONE])


def _messages(asked: Asked, turn: Turn) -> Answer:
    usage = {"input_tokens": 12, "output_tokens": 5}
    if isinstance(turn, str):
        blocks: list[dict[str, Any]] = [{"type": "text", "text": turn}]
    else:
        name, arguments = _called(asked, turn)
        blocks = [
            {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE},
            {"type": "tool_use", "id": f"toolu_{asked.number}", "name": name, "input": json.loads(arguments)},
        ]
    message = {
        "id": "msg_upstream",
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": blocks,
        "stop_reason": "end_turn" if isinstance(turn, str) else "tool_use",
        "stop_sequence": None,
        "usage": usage,
    }
    if not asked.stream:
        return _json(message)
    begun = message | {"content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(blocks):
        empty, deltas = _block_deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events += [{"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]
    return _sse(events)


def _block_deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            return block | {"text": ""}, [
                {"type": "text_delta", "text": piece} for piece in _halves(block["text"])
            ]
        case "thinking":
            said = {"type": "thinking_delta", "thinking": block["thinking"]}
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [said, signed]
        case _:
            pieces = _halves(json.dumps(block["input"]))
            return block | {"input": {}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in pieces
            ]


def _gemini(asked: Asked, turn: Turn) -> Answer:
    if isinstance(turn, str):
        parts: list[dict[str, Any]] = [{"text": piece} for piece in _halves(turn)]
    else:
        name, arguments = _called(asked, turn)
        call = {"name": name, "args": json.loads(arguments)}
        parts = [{"text": THOUGHT, "thought": True}, {"functionCall": call, "thoughtSignature": SIGNATURE}]
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 5, "totalTokenCount": 17}
    ending = {"usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}

    def chunk(parts: list[dict[str, Any]], **more: str) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}]}

    if not asked.stream:
        return _json(chunk(parts, finishReason="STOP") | ending)
    chunks = [*(chunk([part]) for part in parts[:-1]), chunk(parts[-1:], finishReason="STOP") | ending]
    return Answer(frames=[write_frame(json.dumps(each).encode()) for each in chunks])


def _ollama(asked: Asked, turn: Turn) -> Answer:
    if isinstance(turn, str):
        messages: list[dict[str, Any]] = [{"content": piece} for piece in _halves(turn)]
    else:
        name, arguments = _called(asked, turn)
        call = {"function": {"name": name, "arguments": json.loads(arguments)}}
        messages = [{"content": "", "thinking": THOUGHT}, {"content": "", "tool_calls": [call]}]
    envelope = {"model": asked.body["model"], "created_at": "2026-01-01T12:00:00Z"}
    ending = {"done": True, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 5}
    if not asked.stream:
        whole = {"role": "assistant", "content": ""}
        for message in messages:
            whole |= {**message, "content": whole["content"] + message["content"]}
        return _json(envelope | {"message": whole} | ending)
    lines = [envelope | {"message": {"role": "assistant", **each}, "done": False} for each in messages]
    lines.append(envelope | {"message": {"role": "assistant", "content": ""}} | ending)
    frames = [json.dumps(line).encode() + b"\n" for line in lines]
    return Answer(frames=frames, content_type="application/x-ndjson")


_SPEAK: dict[str, Callable[[Asked, Turn], Answer]] = {
    "responses": _responses,
    "chat": _chat,
    "messages": _messages,
    "gemini": _gemini,
    "ollama": _ollama,
}


def _called(asked: Asked, call: Call) -> tuple[str, str]:
    arguments = {"input": call.arguments} if isinstance(call.arguments, str) else call.arguments
    return asked.tool(call.name)["name"], json.dumps(arguments)


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]


def _sse(events: Iterable[dict[str, Any]]) -> Answer:
    return Answer(frames=[write_frame(json.dumps(event).encode(), event["type"]) for event in events])
