"""Requests and answers of every native route, as OpenAI would write them."""

import json
from collections.abc import Sequence
from typing import Any

from antiphon.drivers.simulator import Answer

MODEL = "up/gpt-test"
ANSWERED_BY = "gpt-test-2026-01-01"
CREATED_AT = 1_750_000_000

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": MODEL, "prompt": "Hi"},
    "responses": {"model": MODEL, "input": "Hi"},
    "embeddings": {"model": MODEL, "input": "Hi"},
}
ANSWER_IDS = {"chat": "chatcmpl-1", "completions": "cmpl-1", "responses": "resp_up1"}
TOKENS = {"chat": (9, 4, 13), "completions": (2, 5, 7), "responses": (20, 6, 26), "embeddings": (3, 0, 3)}
"""Input, output and total tokens of the answers."""


def frame(data: Any, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def _usage(dialect: str) -> dict[str, int]:
    into, out, total = TOKENS[dialect]
    return {"prompt_tokens": into, "completion_tokens": out, "total_tokens": total}


def chat_body(text: str = "Hello there", **message: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None, **message},
        "logprobs": None,
        "finish_reason": "stop",
    }
    return json.dumps(
        {
            "id": ANSWER_IDS["chat"],
            "object": "chat.completion",
            "created": CREATED_AT,
            "model": ANSWERED_BY,
            "choices": [choice],
            "usage": _usage("chat"),
        }
    ).encode()


def chat_frames(
    texts: Sequence[str] = ("Hello", " there"), finish: str | None = "stop", reasoning: Sequence[str] = ()
) -> list[bytes]:
    """Return a stream with the chunk of usage that the gateway asks for."""
    head = {
        "id": ANSWER_IDS["chat"],
        "object": "chat.completion.chunk",
        "created": CREATED_AT,
        "model": ANSWERED_BY,
    }

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        return frame({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"reasoning_content": text}) for text in reasoning),
        *(chunk({"content": text}) for text in texts),
        *([chunk({}, finish)] if finish else []),
        frame({**head, "choices": [], "usage": _usage("chat")}),
        DONE,
    ]


def completion_body(text: str = "Hello there") -> bytes:
    return json.dumps(
        {
            "id": ANSWER_IDS["completions"],
            "object": "text_completion",
            "created": CREATED_AT,
            "model": ANSWERED_BY,
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
            "usage": _usage("completions"),
        }
    ).encode()


def completion_frames(texts: Sequence[str] = ("Hello", " there")) -> list[bytes]:
    head = {
        "id": ANSWER_IDS["completions"],
        "object": "text_completion",
        "created": CREATED_AT,
        "model": ANSWERED_BY,
    }

    def chunk(text: str, reason: str | None) -> bytes:
        return frame(
            {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]}
        )

    return [
        *(chunk(text, None) for text in texts),
        chunk("", "stop"),
        frame({**head, "choices": [], "usage": _usage("completions")}),
        DONE,
    ]


def embeddings_body() -> bytes:
    return json.dumps(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}],
            "model": ANSWERED_BY,
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }
    ).encode()


def message_item(text: str, *, done: bool = True) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": "msg_1",
        "type": "message",
        "status": "completed" if done else "in_progress",
        "role": "assistant",
        "content": [part] if done else [],
    }


def reasoning_item(summary: str, *, done: bool = True) -> dict[str, Any]:
    part = {"type": "summary_text", "text": summary}
    return {"id": "rs_1", "type": "reasoning", "summary": [part] if done else []}


def response(output: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    into, out, total = TOKENS["responses"]
    usage = {
        "input_tokens": into,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total,
    }
    return {
        "id": ANSWER_IDS["responses"],
        "object": "response",
        "created_at": CREATED_AT,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": ANSWERED_BY,
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
        "usage": usage if status == "completed" else None,
        "user": None,
    }


def responses_body(text: str = "Hello there", summary: str = "") -> bytes:
    output = [reasoning_item(summary)] if summary else []
    return json.dumps(response([*output, message_item(text)])).encode()


def responses_frames(texts: Sequence[str] = ("Hello", " there"), summary: str = "") -> list[bytes]:
    text = "".join(texts)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response([], "in_progress")},
        {"type": "response.in_progress", "response": response([], "in_progress")},
    ]
    output: list[dict[str, Any]] = []
    if summary:
        at = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
        part = {"type": "summary_text", "text": summary}
        output.append(reasoning_item(summary))
        events += [
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": reasoning_item(summary, done=False),
            },
            {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}},
            {"type": "response.reasoning_summary_text.delta", **at, "delta": summary},
            {"type": "response.reasoning_summary_text.done", **at, "text": summary},
            {"type": "response.reasoning_summary_part.done", **at, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": output[0]},
        ]
    index = len(output)
    at = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    item = message_item(text)
    (part,) = item["content"]
    output.append(item)
    events += [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": message_item(text, done=False),
        },
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": each, "logprobs": []} for each in texts),
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": index, "item": item},
        {"type": "response.completed", "response": response(output)},
    ]
    return [
        frame({"type": event.pop("type"), "sequence_number": number, **event}, kind)
        for number, event in enumerate(events)
        if (kind := event["type"])
    ]


BODIES = {
    "chat": chat_body,
    "completions": completion_body,
    "responses": responses_body,
    "embeddings": embeddings_body,
}
FRAMES = {"chat": chat_frames, "completions": completion_frames, "responses": responses_frames}


def answer_of(dialect: str, *, stream: bool) -> Answer:
    """Return the answer of an upstream to the request of this dialect."""
    return Answer(frames=FRAMES[dialect]()) if stream else Answer(body=BODIES[dialect]())
