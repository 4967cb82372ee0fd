"""Writes the cassette that comes with the product: `python tests/drivers/make_demo_cassette.py`."""

import re
from pathlib import Path

import msgspec

from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.recording.cassette import Exchange, to_json
from antiphon.turn.usage import Usage
from antiphon.wire.sse import DONE, write_frame

FOLDER = Path(__file__).resolve().parents[2] / "src/antiphon/drivers/cassettes/demo"
MODEL = "demo"
CREATED = 1_767_225_600
QUESTION = "What is this?"
THOUGHT = (
    "**Looking at the tape**\n\nThere is no model here and nobody is thinking: even this summary of the "
    "reasoning was written beforehand."
)
TEXT = (
    "Hello! This is Antiphon's demo cassette: no model, no key and no network, only words from a file, played "
    "back about as fast as a model writes. Send the same request again and watch the `Cache-Status` header: "
    "without a configuration file the cache is on, and the second answer comes at once. For a real model, set "
    "OPENAI_API_KEY and start Antiphon again; your client keeps its address."
)
FIRST_AT = 240_000
WHOLE_AT = {"chat": 1_200_000, "completions": 1_200_000, "responses": 1_500_000, "embeddings": 80_000}
SPOKEN = (b"delta\ndata", b'"content":"', b'"text":"')
SSE = b"text/event-stream; charset=utf-8"


def words(text):
    return re.findall(r"\S+\s*", text)


USAGE = Usage(input_tokens=11, output_tokens=80, total_tokens=91)
REASONED = Usage(input_tokens=11, output_tokens=105, total_tokens=116, reasoning_tokens=25)


def pause(index):
    """About 28 ms, unevenly, as tokens come."""
    return 28_000 + (index * 7919 % 23 - 11) * 1000


def recording(dialect, mode, frames, usage, response_id):
    made = Recording(f"demo-{dialect}-{mode}", dialect, mode, "antiphon", MODEL, float(CREATED))
    made.head = Head(200, SSE if mode is Mode.STREAM else b"application/json")
    at = FIRST_AT if len(frames) > 1 else WHOLE_AT[dialect]
    for index, frame in enumerate(frames):
        made.extend([frame], at)
        at += pause(index) if any(mark in frame for mark in SPOKEN) else 1000
    made.outcome = Outcome(State.COMPLETED, None, usage, response_id, MODEL)
    made.ended_at = CREATED + at / 1e6
    return made


# Chat and completions.


def chat_request(**more):
    return {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], **more}


CHAT_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 80,
    "total_tokens": 91,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def chat_json():
    message = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    body = {
        "id": "chatcmpl-demo",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": CHAT_USAGE,
    }
    made = recording("chat", Mode.JSON, [msgspec.json.encode(body)], USAGE, "chatcmpl-demo")
    return Exchange("/chat/completions", chat_request(), made)


def chat_stream():
    envelope = {"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}

    def chunk(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return write_frame(msgspec.json.encode(envelope | {"choices": [choice], "usage": None}))

    frames = [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": word}) for word in words(TEXT)),
        chunk({}, "stop"),
        write_frame(msgspec.json.encode(envelope | {"choices": [], "usage": CHAT_USAGE})),
        DONE,
    ]
    request = chat_request(stream=True, stream_options={"include_usage": True})
    made = recording("chat", Mode.STREAM, frames, USAGE, "chatcmpl-demo")
    return Exchange("/chat/completions", request, made)


def completion(text, finish_reason, usage):
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}
    return msgspec.json.encode(
        {
            "id": "cmpl-demo",
            "object": "text_completion",
            "created": CREATED,
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }
    )


def completions_json():
    made = recording("completions", Mode.JSON, [completion(TEXT, "stop", CHAT_USAGE)], USAGE, "cmpl-demo")
    return Exchange("/completions", {"model": MODEL, "prompt": QUESTION}, made)


def completions_stream():
    *most, last = words(TEXT)
    frames = [write_frame(completion(word, None, None)) for word in most]
    frames += [write_frame(completion(last, "stop", None))]
    usage = msgspec.json.decode(completion("", None, CHAT_USAGE)) | {"choices": []}
    frames += [write_frame(msgspec.json.encode(usage)), DONE]
    request = {"model": MODEL, "prompt": QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    made = recording("completions", Mode.STREAM, frames, USAGE, "cmpl-demo")
    return Exchange("/completions", request, made)


def embeddings_json():
    vector = [round((index * 37 % 64 - 31.5) / 150, 6) for index in range(64)]
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": MODEL,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    usage = Usage(input_tokens=4, total_tokens=4)
    made = recording("embeddings", Mode.JSON, [msgspec.json.encode(body)], usage, None)
    return Exchange("/embeddings", {"model": MODEL, "input": QUESTION}, made)


# Responses.


def response(status, output):
    done = status == "completed"
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 105,
        "output_tokens_details": {"reasoning_tokens": 25},
        "total_tokens": 116,
    }
    return {
        "id": "resp_demo",
        "object": "response",
        "created_at": CREATED,
        "completed_at": CREATED + 3 if done else None,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": "low", "summary": "detailed"},
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
        "usage": usage if done else None,
        "user": None,
    }


SUMMARY_PART = {"type": "summary_text", "text": THOUGHT}
TEXT_PART = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}


def reasoning(summary):
    return {"id": "rs_demo", "type": "reasoning", "summary": summary}


def message(status, content):
    return {"id": "msg_demo", "type": "message", "status": status, "role": "assistant", "content": content}


DONE_OUTPUT = [reasoning([SUMMARY_PART]), message("completed", [TEXT_PART])]


def responses_events():
    summary = {"item_id": "rs_demo", "output_index": 0, "summary_index": 0}
    content = {"item_id": "msg_demo", "output_index": 1, "content_index": 0}
    yield "response.created", {"response": response("in_progress", [])}
    yield "response.in_progress", {"response": response("in_progress", [])}
    yield "response.output_item.added", {"output_index": 0, "item": reasoning([])}
    yield "response.reasoning_summary_part.added", {**summary, "part": SUMMARY_PART | {"text": ""}}
    for word in words(THOUGHT):
        yield "response.reasoning_summary_text.delta", {**summary, "delta": word}
    yield "response.reasoning_summary_text.done", {**summary, "text": THOUGHT}
    yield "response.reasoning_summary_part.done", {**summary, "part": SUMMARY_PART}
    yield "response.output_item.done", {"output_index": 0, "item": DONE_OUTPUT[0]}
    yield "response.output_item.added", {"output_index": 1, "item": message("in_progress", [])}
    yield "response.content_part.added", {**content, "part": TEXT_PART | {"text": ""}}
    for word in words(TEXT):
        yield "response.output_text.delta", {**content, "delta": word, "logprobs": []}
    yield "response.output_text.done", {**content, "text": TEXT, "logprobs": []}
    yield "response.content_part.done", {**content, "part": TEXT_PART}
    yield "response.output_item.done", {"output_index": 1, "item": DONE_OUTPUT[1]}
    yield "response.completed", {"response": response("completed", DONE_OUTPUT)}


def responses_stream():
    frames = [
        write_frame(msgspec.json.encode({"type": kind, "sequence_number": number, **event}), kind)
        for number, (kind, event) in enumerate(responses_events())
    ]
    made = recording("responses", Mode.STREAM, frames, REASONED, "resp_demo")
    return Exchange("/responses", {"model": MODEL, "input": QUESTION, "stream": True}, made)


def responses_json():
    body = msgspec.json.encode(response("completed", DONE_OUTPUT))
    made = recording("responses", Mode.JSON, [body], REASONED, "resp_demo")
    return Exchange("/responses", {"model": MODEL, "input": QUESTION}, made)


def demo_files():
    """The files by name, as they should be in the folder."""
    made = {
        "chat-json.json": chat_json(),
        "chat-stream.json": chat_stream(),
        "completions-json.json": completions_json(),
        "completions-stream.json": completions_stream(),
        "embeddings.json": embeddings_json(),
        "responses-json.json": responses_json(),
        "responses-stream.json": responses_stream(),
    }
    return {name: to_json(exchange) for name, exchange in made.items()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in demo_files().items():
        (FOLDER / name).write_bytes(data)
