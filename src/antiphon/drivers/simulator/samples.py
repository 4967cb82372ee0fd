"""Answers of a chosen size, made once: what the simulator serves as a program of its own."""

from base64 import b64encode
from collections.abc import Iterator
from struct import pack
from typing import Any

import msgspec

from antiphon.wire.sse import DONE, write_frame

_MODEL = "simulated"
_CREATED = 1_700_000_000
_SPOKEN = {
    "type": "tokens",
    "input_tokens": 37,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 37},
    "output_tokens": 12,
    "total_tokens": 49,
}
_CHAT_USAGE = {"prompt_tokens": 12, "completion_tokens": 200, "total_tokens": 212}
_WORDS = ("A ", "call, ", "and ", "the ", "answer ", "that ", "comes ", "back. ")


def chat_body(size: int) -> bytes:
    """Return a chat answer of about `size` bytes."""
    message = {"role": "assistant", "content": "", "refusal": None}
    answer = {
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": _CREATED,
        "model": _MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _CHAT_USAGE,
    }
    message["content"] = _filler(size - len(msgspec.json.encode(answer)))
    return msgspec.json.encode(answer)


def chat_frames(count: int, *, usage: bool = False) -> list[bytes]:
    """Return a chat stream of `count` frames, at least four, or five where the last chunk tells `usage`."""
    envelope = {
        "id": "chatcmpl-simulated",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": _MODEL,
    }

    def frame(delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return write_frame(msgspec.json.encode(envelope | {"choices": [choice]}))

    counted = {"choices": [], "usage": _CHAT_USAGE}
    return [
        frame({"role": "assistant", "content": ""}, None),
        *(frame({"content": _word(index)}, None) for index in range(max(1, count - 3 - usage))),
        frame({}, "stop"),
        *([write_frame(msgspec.json.encode(envelope | counted))] if usage else []),
        DONE,
    ]


def responses_body(size: int) -> bytes:
    """Return a Responses answer of about `size` bytes."""
    empty = msgspec.json.encode(_response("completed", [_message("completed", "")]))
    text = _filler(size - len(empty))
    return msgspec.json.encode(_response("completed", [_message("completed", text)]))


def responses_frames(count: int) -> list[bytes]:
    """Return a Responses stream of `count` frames, at least nine."""
    events = _responses_events([_word(index) for index in range(max(1, count - 8))])
    return [
        write_frame(msgspec.json.encode(event | {"sequence_number": number}), event["type"])
        for number, event in enumerate(events)
    ]


def _responses_events(words: list[str]) -> Iterator[dict[str, Any]]:
    text = "".join(words)
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    item = {"item_id": "msg_simulated", "output_index": 0}
    content = item | {"content_index": 0}
    yield {"type": "response.created", "response": _response("in_progress", [])}
    yield {"type": "response.in_progress", "response": _response("in_progress", [])}
    yield {"type": "response.output_item.added", "output_index": 0, "item": _message("in_progress", None)}
    yield {"type": "response.content_part.added", **content, "part": part}
    for word in words:
        yield {"type": "response.output_text.delta", **content, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **content, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **content, "part": part | {"text": text}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _message("completed", text)}
    yield {"type": "response.completed", "response": _response("completed", [_message("completed", text)])}


def _message(status: str, text: str | None) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if text is not None:
        content.append({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    return {
        "id": "msg_simulated",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _response(status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    done = status == "completed"
    usage = {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 212,
    }
    return {
        "id": "resp_simulated",
        "object": "response",
        "created_at": _CREATED,
        "completed_at": _CREATED + 1 if done else None,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": _MODEL,
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
        "usage": usage if done else None,
    }


def messages_body(size: int) -> bytes:
    """Return an Anthropic message of about `size` bytes."""
    text = _filler(size - len(msgspec.json.encode(_anthropic_message(""))))
    return msgspec.json.encode(_anthropic_message(text))


def messages_frames(count: int) -> list[bytes]:
    """Return an Anthropic stream of `count` frames, at least six."""
    whole = _anthropic_message("")
    start = whole | {"content": [], "stop_reason": None, "usage": {"input_tokens": 12, "output_tokens": 1}}
    words = [_word(index) for index in range(max(1, count - 5))]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in words
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": whole["usage"],
        },
        {"type": "message_stop"},
    ]
    return [write_frame(msgspec.json.encode(event), event["type"]) for event in events]


def _anthropic_message(text: str) -> dict[str, Any]:
    return {
        "id": "msg_simulated",
        "type": "message",
        "role": "assistant",
        "model": _MODEL,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 200},
    }


def gemini_body(size: int) -> bytes:
    """Return an answer of Gemini of about `size` bytes."""
    empty = msgspec.json.encode(_gemini_answer("", 200, "STOP"))
    return msgspec.json.encode(_gemini_answer(_filler(size - len(empty)), 200, "STOP"))


def gemini_frames(count: int) -> list[bytes]:
    """Return a stream of Gemini of `count` frames, which counts its tokens in each."""
    last = count - 1
    answers = (
        _gemini_answer(_word(index), index + 1, "STOP" if index == last else None) for index in range(count)
    )
    return [b"data: %b\r\n\r\n" % msgspec.json.encode(answer) for answer in answers]


def _gemini_answer(text: str, tokens: int, reason: str | None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": reason} if reason else {})],
        "usageMetadata": {
            "promptTokenCount": 12,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 12 + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
        },
        "modelVersion": _MODEL,
        "responseId": "simulated",
    }


def ollama_body(size: int) -> bytes:
    """Return an answer of Ollama of about `size` bytes."""
    empty = msgspec.json.encode(_ollama_answer("", 0) | _OLLAMA_END)
    return msgspec.json.encode(_ollama_answer(_filler(size - len(empty)), 0) | _OLLAMA_END)


def ollama_lines(count: int) -> list[bytes]:
    """Return a stream of Ollama of `count` lines, at least two."""
    told = [_ollama_answer(_word(index), index) for index in range(max(1, count - 1))]
    told.append(_ollama_answer("", count) | _OLLAMA_END)
    return [msgspec.json.encode(answer) + b"\n" for answer in told]


def _ollama_answer(text: str, number: int) -> dict[str, Any]:
    return {
        "model": _MODEL,
        "created_at": f"2023-11-14T22:13:20.{number:09d}Z",
        "message": {"role": "assistant", "content": text},
        "done": False,
    }


_OLLAMA_END = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 2_000_000_000,
    "prompt_eval_count": 12,
    "eval_count": 200,
}


def count_tokens_body() -> bytes:
    """Return a number of tokens."""
    return b'{"input_tokens":12}'


def embeddings_body(count: int = 1, dimensions: int = 256, *, base64: bool = False) -> bytes:
    """Return `count` embeddings of so many numbers, as numbers or in base64."""
    vector: Any = [round((index * 37 % 256 - 128) / 256, 6) for index in range(dimensions)]
    if base64:
        vector = b64encode(pack(f"<{dimensions}f", *vector)).decode()
    entries = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": entries,
            "model": _MODEL,
            "usage": {"prompt_tokens": 8 * count, "total_tokens": 8 * count},
        }
    )


def rerank_body() -> bytes:
    """Return a ranking of two documents, as Cohere writes it."""
    results = [{"index": 1, "relevance_score": 0.86303437}, {"index": 0, "relevance_score": 0.17279942}]
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return msgspec.json.encode({"id": "rerank-simulated", "results": results, "meta": meta})


def transcription_body(size: int) -> bytes:
    """Return a transcription of about `size` bytes, as JSON."""
    empty = {"text": "", "usage": _SPOKEN}
    return msgspec.json.encode(empty | {"text": _filler(size - len(msgspec.json.encode(empty)))})


def transcription_frames(count: int) -> list[bytes]:
    """Return a streamed transcription of `count` frames, at least three."""
    words = [_word(index) for index in range(max(1, count - 2))]
    events: list[dict[str, Any]] = [{"type": "transcript.text.delta", "delta": word} for word in words]
    events.append({"type": "transcript.text.done", "text": "".join(words), "usage": _SPOKEN})
    return [*(write_frame(msgspec.json.encode(event)) for event in events), DONE]


def models_body() -> bytes:
    """Return the list of the one model."""
    model = {"id": _MODEL, "object": "model", "created": _CREATED, "owned_by": "antiphon"}
    return msgspec.json.encode({"object": "list", "data": [model]})


def _word(index: int) -> str:
    return _WORDS[index % len(_WORDS)]


def _filler(size: int) -> str:
    return ("".join(_WORDS) * (size // 8 + 1))[: max(1, size)]
