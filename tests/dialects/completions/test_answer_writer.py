"""The hub's events, written for clients of text completions."""

import json
from typing import Any

import pytest

from antiphon.dialects.registry import CLIENTS
from antiphon.turn.making import EventMaker
from antiphon.wire.sse import DONE, parse_frame
from translated import NOW, telling

USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 7,
}
HEAD = {"id": "cmpl-own", "object": "text_completion", "created": int(NOW), "model": "m-1"}


class Told:
    """What a client is told of the events that a test makes."""

    def __init__(self, **body: Any) -> None:
        told = telling("completions", {"input": "Hi", **body})
        self.maker = EventMaker(told.response, told.make_id)
        self.maker.begin(model="m-1")
        self._writer = CLIENTS["completions"].writer(told)

    def frames(self) -> list[bytes]:
        return self._writer.feed(self.maker.drain())

    def choices(self) -> list[Any]:
        return [choice for each in self.objects() for choice in each.get("choices", ())]

    def objects(self) -> list[Any]:
        parsed = [parse_frame(frame) for frame in self.frames()]
        return [json.loads(event.data) for event in parsed if event and event.data != b"[DONE]"]

    def finish(self, status: str = "completed", reason: str | None = None) -> None:
        self.maker.finish(status, reason=reason, usage=USAGE, completed_at=1)


def test_an_answer_is_text_a_reason_and_usage():
    """One chunk each, and `[DONE]`."""
    told = Told()
    told.maker.text("Hel")
    told.maker.text("lo")
    told.finish()
    *frames, last = told.frames()

    assert [json.loads(frame[6:]) for frame in frames] == [
        {**HEAD, "choices": [{"index": 0, "text": "Hel", "logprobs": None, "finish_reason": None}]},
        {**HEAD, "choices": [{"index": 0, "text": "lo", "logprobs": None, "finish_reason": None}]},
        {**HEAD, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]},
        {
            **HEAD,
            "choices": [],
            "usage": {
                "prompt_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens": 4,
                "completion_tokens_details": {"reasoning_tokens": 1},
                "total_tokens": 7,
            },
        },
    ]
    assert last == DONE


@pytest.mark.parametrize(
    ("status", "reason", "told_reason"),
    [
        ("completed", None, "stop"),
        ("incomplete", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "content_filter"),
    ],
)
def test_how_it_ended_is_the_finish_reason(status: str, reason: str | None, told_reason: str):
    """In the words of OpenAI's older APIs."""
    told = Told()
    told.finish(status, reason)

    assert told.choices()[-1]["finish_reason"] == told_reason


def test_log_probabilities_are_lists_with_places_in_the_text():
    """They count on from chunk to chunk; alternatives are there only if some were asked for."""
    entry = {"logprob": -1.0, "bytes": [], "top_logprobs": [{"token": "x", "logprob": -2.0, "bytes": []}]}
    expected = {"tokens": ["b", "c"], "token_logprobs": [-1.0, -1.0], "text_offset": [2, 3]}
    for asked, alternatives in ((0, None), (1, [{"x": -2.0}, {"x": -2.0}])):
        told = Told(top_logprobs=asked)
        told.maker.text("ä😊", [entry | {"token": "ä😊"}])
        told.maker.text("bc", [entry | {"token": "b"}, entry | {"token": "c"}])

        assert told.choices()[1]["logprobs"] == expected | {"top_logprobs": alternatives}


def test_a_refusal_is_text():
    """It is what the model said."""
    told = Told()
    told.maker.refusal("I will not.")
    told.finish()

    assert "".join(choice["text"] for choice in told.choices()) == "I will not."


def test_reasoning_is_not_told():
    """There is no member for it."""
    told = Told()
    told.maker.reasoning("Hm.")
    told.maker.summary("Thought.")
    told.maker.text("Yes")
    told.finish()

    assert [choice["text"] for choice in told.choices()] == ["Yes", ""]


def test_a_failure_is_an_error_and_no_done():
    """A client must not take what it has for the whole answer."""
    told = Told()
    told.maker.text("Half")
    told.maker.fail("upstream_error", "It broke.")
    *_, last = told.frames()

    assert json.loads(last[6:]) == {
        "error": {"message": "It broke.", "type": "server_error", "param": None, "code": "upstream_error"}
    }


def test_a_usage_without_details_is_told():
    """Those who imitate the Responses API leave them out, or the whole of it."""
    bare = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    told = telling("completions")
    answers = []
    for usage in (bare, None):
        response = {"status": "completed", "incomplete_details": None, "model": "m", "usage": usage}
        frames = (
            CLIENTS["completions"].writer(told).feed([{"type": "response.completed", "response": response}])
        )
        answers += [each["usage"] for each in map(data, frames) if each.get("usage")]

    assert answers == [{"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}]


def data(frame: bytes) -> Any:
    event = parse_frame(frame)
    return json.loads(event.data) if event and event.data != b"[DONE]" else {}
