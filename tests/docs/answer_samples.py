"""Whole answers of upstreams, in each dialect."""

import json
from typing import Any

from docs.feature import MARK, Body


def chat(message: Body, finish: str = "stop", usage: Body | None = None, **choice: Any) -> Body:
    told = {"index": 0, "message": {"role": "assistant", "content": "Yes", **message}, **choice}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [told | {"finish_reason": finish}],
        "usage": {"prompt_tokens": 9000, "completion_tokens": 9000, "total_tokens": 18000, **(usage or {})},
    }


def responses(*items: Body, status: str = "completed", usage: Body | None = None, **members: Any) -> Body:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m",
        "output": list(items),
        "usage": {"input_tokens": 9000, "output_tokens": 9000, "total_tokens": 18000, **(usage or {})},
        **members,
    }


def message(*parts: Body) -> Body:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": list(parts),
    }


def text_part(text: str = "Yes", **more: Any) -> Body:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def messages(*blocks: Body, stop: str = "end_turn", usage: Body | None = None, **members: Any) -> Body:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 9000, "output_tokens": 9000, **(usage or {})},
        **members,
    }


def gemini(*parts: Body, finish: str = "STOP", usage: Body | None = None, **candidate: Any) -> Body:
    told = {
        "content": {"role": "model", "parts": list(parts)},
        "finishReason": finish,
        "index": 0,
        **candidate,
    }
    return {
        "candidates": [told],
        "usageMetadata": {"promptTokenCount": 9000, "candidatesTokenCount": 9000, **(usage or {})},
        "modelVersion": "m",
        "responseId": "r",
    }


def ollama(message: Body, reason: str = "stop", **more: Any) -> Body:
    return {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "Yes", **message},
        "done": True,
        "done_reason": reason,
        "prompt_eval_count": 9000,
        "eval_count": 9000,
        **more,
    }


def completion(text: str = "Yes", finish: str = "stop", usage: Body | None = None, **choice: Any) -> Body:
    return {
        "id": "c",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "text": text, "finish_reason": finish, **choice}],
        "usage": {"prompt_tokens": 9000, "completion_tokens": 9000, "total_tokens": 18000, **(usage or {})},
    }


def call(call_id: str, mark: str = MARK) -> Body:
    arguments = json.dumps({"at": mark})
    return {"id": call_id, "type": "function", "function": {"name": "time", "arguments": arguments}}
