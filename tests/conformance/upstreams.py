"""One model behind every dialect: what it says is said once, and written as each kind of upstream would."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.drivers.simulator import Answer, Received

MODEL = "m-2026-01-01"
CREATED_AT = 1_750_000_000
CALL_ID = "call_weather"
IN, OUT = 11, 7


@dataclass(frozen=True)
class Said:
    """What the model says, in this order."""

    reasoning: Sequence[str] = ()
    text: Sequence[str] = ()
    call: tuple[str, str] | None = None
    """Name and arguments."""
    is_cut: bool = False
    """Whether it came to the limit of tokens."""
    breaks: bool = False
    """Whether the upstream reports an error in the middle of it, or in place of it if nothing was said."""


Choose = Callable[[Any], Said]
"""(body of the upstream's request) -> what is said."""


def upstream(dialect: str, choose: Choose) -> Callable[[Received], Answer]:
    """Return what a simulator of this dialect answers."""

    def answer(received: Received) -> Answer:
        body = json.loads(received.body)
        said = choose(body)
        stream = "streamGenerateContent" in received.path if dialect == "gemini" else body.get("stream")
        frames, whole = _WRITERS[dialect](said)
        if not stream:
            if said.breaks:
                return Answer(status=503, body=json.dumps(_ERRORS[dialect]).encode())
            return Answer(body=json.dumps(whole).encode())
        content_type = "application/x-ndjson" if dialect == "ollama" else "text/event-stream"
        return Answer(frames=frames, content_type=content_type)

    return answer


_OVERLOADED = "The model is overloaded."
_OPENAI_ERROR = {
    "error": {"message": _OVERLOADED, "type": "server_error", "param": None, "code": "server_error"}
}
_ERRORS = {
    "responses": _OPENAI_ERROR,
    "chat": _OPENAI_ERROR,
    "messages": {"type": "error", "error": {"type": "overloaded_error", "message": _OVERLOADED}},
    "gemini": {"error": {"code": 503, "message": _OVERLOADED, "status": "UNAVAILABLE"}},
    "ollama": {"error": _OVERLOADED},
}


def _frame(data: Any, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [part for part in (text[:middle], text[middle:]) if part]


# Chat Completions.


def _chat(said: Said) -> tuple[list[bytes], Any]:
    head = {"id": "chatcmpl-1", "created": CREATED_AT, "model": MODEL}
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    reason = "length" if said.is_cut else "tool_calls" if said.call else "stop"

    def chunk(delta: Any, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _frame({**head, "object": "chat.completion.chunk", "choices": [choice]})

    frames = [chunk({"role": "assistant", "content": ""})]
    frames += [chunk({"reasoning_content": each}) for each in said.reasoning]
    frames += [chunk({"content": each}) for each in said.text]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said.text) or None}
    if said.reasoning:
        message["reasoning_content"] = "".join(said.reasoning)
    if said.call:
        name, arguments = said.call
        begun = {"name": name, "arguments": ""}
        frames.append(
            chunk({"tool_calls": [{"index": 0, "id": CALL_ID, "type": "function", "function": begun}]})
        )
        frames += [
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": each}}]})
            for each in _halves(arguments)
        ]
        function = {"name": name, "arguments": arguments}
        message["tool_calls"] = [{"id": CALL_ID, "type": "function", "function": function}]
    if said.breaks:
        frames.append(_frame(_OPENAI_ERROR))
    else:
        frames += [
            chunk({}, reason),
            _frame({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}),
        ]
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    return [*frames, b"data: [DONE]\n\n"], whole


# Anthropic Messages.


def _messages(said: Said) -> tuple[list[bytes], Any]:
    reason = "max_tokens" if said.is_cut else "tool_use" if said.call else "end_turn"
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}
    usage = {"input_tokens": IN, "output_tokens": OUT}
    blocks: list[tuple[Any, list[Any], Any]] = []
    if said.reasoning:
        deltas: list[Any] = [{"type": "thinking_delta", "thinking": each} for each in said.reasoning]
        deltas.append({"type": "signature_delta", "signature": "c2lnbmVk"})
        thought = {"type": "thinking", "thinking": "".join(said.reasoning), "signature": "c2lnbmVk"}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas, thought))
    if said.text:
        deltas = [{"type": "text_delta", "text": each} for each in said.text]
        blocks.append(({"type": "text", "text": ""}, deltas, {"type": "text", "text": "".join(said.text)}))
    if said.call:
        name, arguments = said.call
        use = {"type": "tool_use", "id": CALL_ID, "name": name}
        deltas = [{"type": "input_json_delta", "partial_json": each} for each in _halves(arguments)]
        blocks.append(({**use, "input": {}}, deltas, {**use, "input": _parsed(arguments)}))
    message = {**head, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: list[Any] = [{"type": "message_start", "message": message}]
    for index, (begun, deltas, _) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [{"type": "content_block_delta", "index": index, "delta": each} for each in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if said.breaks:
        events.append(_ERRORS["messages"])
    else:
        delta = {"stop_reason": reason, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUT}})
        events.append({"type": "message_stop"})
    whole = {**head, "content": [block for *_, block in blocks], "stop_reason": reason, "usage": usage}
    return [_frame(event, event["type"]) for event in events], whole


# Gemini.


def _gemini(said: Said) -> tuple[list[bytes], Any]:
    parts: list[Any] = [{"text": each, "thought": True} for each in said.reasoning]
    parts += [{"text": each} for each in said.text]
    if said.call:
        name, arguments = said.call
        parts.append({"functionCall": {"id": CALL_ID, "name": name, "args": _parsed(arguments)}})
    usage = {"promptTokenCount": IN, "candidatesTokenCount": OUT, "totalTokenCount": IN + OUT}
    reason = "MAX_TOKENS" if said.is_cut else "STOP"

    def chunk(parts: list[Any], **members: Any) -> Any:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **members}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL}

    chunks = [chunk([part]) for part in parts]
    if said.breaks:
        chunks.append(_ERRORS["gemini"])
    else:
        chunks.append(chunk([{"text": ""}], finishReason=reason))
    frames = [_frame(each).replace(b"\n", b"\r\n") for each in chunks]
    return frames, chunk(parts, finishReason=reason)


# Ollama.


def _ollama(said: Said) -> tuple[list[bytes], Any]:
    head = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}
    messages: list[Any] = [{"content": "", "thinking": each} for each in said.reasoning]
    messages += [{"content": each} for each in said.text]
    if said.call:
        name, arguments = said.call
        messages.append(
            {"content": "", "tool_calls": [{"function": {"name": name, "arguments": _parsed(arguments)}}]}
        )
    lines: list[Any] = [
        {**head, "message": {"role": "assistant", **each}, "done": False} for each in messages
    ]
    reason = "length" if said.is_cut else "stop"
    ending = {"done": True, "done_reason": reason, "prompt_eval_count": IN, "eval_count": OUT}
    if said.breaks:
        lines.append(_ERRORS["ollama"])
    else:
        lines.append({**head, "message": {"role": "assistant", "content": ""}, **ending})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said.text)}
    if said.reasoning:
        message["thinking"] = "".join(said.reasoning)
    if said.call:
        message["tool_calls"] = messages[-1]["tool_calls"]
    return [json.dumps(each).encode() + b"\n" for each in lines], {**head, "message": message, **ending}


# The Responses API itself, as OpenAI has it.


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    usage = {
        "input_tokens": IN,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUT,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": IN + OUT,
    }
    return {
        "id": "resp_upstream",
        "object": "response",
        "created_at": CREATED_AT,
        "status": status,
        "background": False,
        "completed_at": CREATED_AT + 1 if status == "completed" else None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if status in {"completed", "incomplete"} else None,
        "user": None,
        "metadata": {},
    }


def _of_text(kind: str, events: str, here: Any, pieces: Sequence[str]) -> list[Any]:
    """The events of one content part."""
    extra = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
    logprobs = {"logprobs": []} if kind == "output_text" else {}
    text = "".join(pieces)
    return [
        {"type": "response.content_part.added", **here, "part": {"type": kind, "text": "", **extra}},
        *({"type": f"{events}.delta", **here, "delta": each, **logprobs} for each in pieces),
        {"type": f"{events}.done", **here, "text": text, **logprobs},
        {"type": "response.content_part.done", **here, "part": {"type": kind, "text": text, **extra}},
    ]


def _responses(said: Said) -> tuple[list[bytes], Any]:
    output: list[Any] = []
    begun = _response("in_progress", [])
    events: list[Any] = [
        {"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")
    ]
    end = "incomplete" if said.is_cut else "completed"

    def tell(item: Any, start: Any, body: Callable[[Any], list[Any]]) -> None:
        index = len(output)
        events.append(
            {"type": "response.output_item.added", "output_index": index, "item": {**item, **start}}
        )
        events.extend(body({"item_id": item["id"], "output_index": index}))
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        output.append(item)

    if said.reasoning:
        part = {"type": "reasoning_text", "text": "".join(said.reasoning)}
        tell(
            {"id": "rs_1", "type": "reasoning", "summary": [], "content": [part]},
            {"content": []},
            lambda at: _of_text(
                "reasoning_text", "response.reasoning_text", {**at, "content_index": 0}, said.reasoning
            ),
        )
    if said.text:
        part = {"type": "output_text", "text": "".join(said.text), "annotations": [], "logprobs": []}
        status = "completed" if said.call else end
        tell(
            {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": [part]},
            {"content": [], "status": "in_progress"},
            lambda at: _of_text("output_text", "response.output_text", {**at, "content_index": 0}, said.text),
        )
    if said.call:
        name, arguments = said.call
        stem = "response.function_call_arguments"
        call = {"call_id": CALL_ID, "name": name, "arguments": arguments}
        tell(
            {"id": "fc_1", "type": "function_call", "status": end, **call},
            {"arguments": "", "status": "in_progress"},
            lambda at: [
                *({"type": f"{stem}.delta", **at, "delta": each} for each in _halves(arguments)),
                {"type": f"{stem}.done", **at, "name": name, "arguments": arguments},
            ],
        )
    if said.breaks:
        error = {"code": "server_error", "message": _OVERLOADED}
        failed = _response("failed", output) | {"error": error}
        events.append({"type": "response.failed", "response": failed})
    else:
        events.append({"type": f"response.{end}", "response": _response(end, output)})
    frames = [
        _frame({"sequence_number": number, **event}, event["type"]) for number, event in enumerate(events)
    ]
    return frames, _response(end, output)


def _parsed(arguments: str) -> Any:
    """Arguments as an object; those that were cut off as what an upstream makes of them."""
    try:
        return json.loads(arguments)
    except ValueError:
        return {}


_WRITERS = {
    "responses": _responses,
    "chat": _chat,
    "messages": _messages,
    "gemini": _gemini,
    "ollama": _ollama,
}
PROVIDER_TYPES = {
    "responses": "openai",
    "chat": "openai-chat",
    "messages": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
}
"""The dialects, and the type of a provider that speaks each."""
