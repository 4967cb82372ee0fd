"""Answers of Chat Completions, read into the hub's events."""

import json
from typing import Any

from antiphon.wire.sse import DONE, write_frame
from translated import read_answer, telling, whole


def response_to(*deltas: Any, reason: str | None = "stop", **members: Any) -> dict[str, Any]:
    """Return the response to a stream of these deltas; `members` stand in its last chunk."""
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": each}]} for each in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **members})
    frames = [write_frame(json.dumps(each).encode()) for each in chunks]
    return whole(read_answer("chat", telling(), b"".join([*frames, DONE]), stream=True))


def test_calls_are_counted_where_the_upstream_counts_nothing():
    """Their arguments are tokens that the model wrote."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"city":"Rome"}'}}

    response = response_to({"tool_calls": [call]})

    assert response["usage"]["output_tokens"] == len('{"city":"Rome"}')


def test_an_answer_without_an_end_says_what_it_cost():
    """It has failed, and was paid for."""
    response = response_to({"content": "Hi"}, reason=None, usage={"prompt_tokens": 4, "completion_tokens": 5})

    assert response["error"]["code"] == "upstream_truncated"
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (4, 5)


def test_the_answer_begins_when_it_is_known_who_gives_it():
    """Azure's first chunk, about the prompt, leaves the model empty."""
    chunks: list[Any] = [
        {"model": "", "choices": [], "prompt_filter_results": []},
        {"model": "gpt-5.2-2025-12-11", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
    ]
    data = b"".join(write_frame(json.dumps(each).encode()) for each in chunks)

    created, *_ = read_answer("chat", telling(), data, stream=True)

    assert created["response"]["model"] == "gpt-5.2-2025-12-11"
