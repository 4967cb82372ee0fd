"""Text completions of upstreams, read into the hub's events, and written for clients again."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.registry import CLIENTS
from antiphon.turn.grammar import violations
from antiphon.wire.objects import read_chunks
from antiphon.wire.sse import DONE, FrameReader, write_frame
from recorded import Exchange, exchanges, needs_recordings
from translated import read_answer, read_recording, telling, whole

STREAMS = exchanges("openai.completions", "stream")
PLAIN = exchanges("openai.completions", "plain")
STATUS = {"stop": "completed", "length": "incomplete", "content_filter": "incomplete"}


def ids(exchange: Exchange) -> str:
    return exchange.id


def chunks_of(exchange: Exchange) -> list[dict[str, Any]]:
    if exchange.mode == "plain":
        return [json.loads(exchange.body)]
    reader = FrameReader(1 << 24)
    return read_chunks([*reader.feed(exchange.body), reader.close()])


def first_choice(chunks: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return text and finish reason."""
    choices = [one for each in chunks for one in each["choices"] if one.get("index", 0) == 0]
    reasons = [one["finish_reason"] for one in choices if one.get("finish_reason")]
    return "".join(one.get("text", "") for one in choices), reasons[-1]


def usage_of(chunks: Sequence[dict[str, Any]]) -> tuple[int, int] | None:
    told = [each["usage"] for each in chunks if each.get("usage")]
    return (told[-1]["prompt_tokens"], told[-1]["completion_tokens"]) if told else None


def chunk(text: str = "", reason: str | None = None, **choice: Any) -> dict[str, Any]:
    told = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason, **choice}
    return {"id": "cmpl-up", "object": "text_completion", "created": 1, "model": "up", "choices": [told]}


def read(*chunks: Any, done: bool = True) -> list[dict[str, Any]]:
    frames = [write_frame(json.dumps(each).encode()) for each in chunks]
    data = b"".join([*frames, *([DONE] if done else [])])
    return read_answer("completions", told(), data, stream=True)


def told(client: str = "responses", **body: Any) -> Any:
    return telling(client, {"input": "Hi", **body}, "openai-completions")


@needs_recordings
@pytest.mark.parametrize("exchange", [*STREAMS, *PLAIN], ids=ids)
def test_recorded_answers_say_in_the_hub_what_their_choices_say(exchange: Exchange):
    """Text, reason, model and usage of the first choice; where none was counted, it is counted here."""
    chunks = chunks_of(exchange)
    text, reason = first_choice(chunks)

    response = whole(read_recording("completions", exchange, told()))

    assert [part["text"] for item in response["output"] for part in item["content"]] == [text]
    assert response["status"] == STATUS[reason]
    assert response["model"] == chunks[-1]["model"]
    counted = (response["usage"]["input_tokens"], response["usage"]["output_tokens"])
    assert counted == (usage_of(chunks) or (told().count_input(told().request), len(text)))


@needs_recordings
@pytest.mark.parametrize("exchange", [*STREAMS, *PLAIN], ids=ids)
def test_recorded_answers_come_back_as_they_were(exchange: Exchange):
    """Through the hub and out again: text, log probabilities, reason and usage."""
    chunks = chunks_of(exchange)
    text, reason = first_choice(chunks)
    events = read_recording("completions", exchange, told())

    answer = json.loads(COMPLETIONS.fold(CLIENTS["completions"].writer(told("completions")).feed(events)))

    assert answer["choices"] == [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]
    if counted := usage_of(chunks):
        assert answer["usage"] == {
            "prompt_tokens": counted[0],
            "completion_tokens": counted[1],
            "total_tokens": sum(counted),
        }


tokens = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=3)
alternatives = st.dictionaries(st.text(max_size=3), st.floats(-20, 0), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw the chunks of an answer whose every token has its log probability."""
    chunks, offset = [], 0
    for spoken in draw(st.lists(tokens, min_size=1, max_size=4)):
        offsets = []
        for token in spoken:
            offsets.append(offset)
            offset += len(token)
        lists = {
            "tokens": spoken,
            "token_logprobs": [draw(st.floats(-20, 0)) for _ in spoken],
            "top_logprobs": [draw(alternatives) for _ in spoken],
            "text_offset": offsets,
        }
        chunks.append(chunk("".join(spoken), logprobs=lists))
    return [*chunks, chunk(reason=draw(st.sampled_from(["stop", "length", "content_filter"])))]


@given(answers(), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_any_answer_comes_back_as_it_was(chunks: list[dict[str, Any]], prompt: int, completion: int):
    """Whatever its text, its log probabilities and its usage are."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    frames = [write_frame(json.dumps(each).encode()) for each in [*chunks, {"choices": [], "usage": usage}]]
    before = json.loads(COMPLETIONS.fold([*frames, DONE]))
    events = read_answer("completions", told(), b"".join([*frames, DONE]), stream=True)
    assert violations(events) == []

    writer = CLIENTS["completions"].writer(told("completions", top_logprobs=2))
    after = json.loads(COMPLETIONS.fold(writer.feed(events)))

    assert (after["choices"], after["usage"]) == (before["choices"], before["usage"])


def test_only_the_first_of_several_answers_is_told():
    """The hub has room for one."""
    events = read(chunk("a"), chunk("b", index=1), chunk("c", "stop"), chunk("", "length", index=1))

    assert (whole(events)["output_text"], whole(events)["status"]) == ("ac", "completed")


def test_lists_of_log_probabilities_may_be_short_or_absent():
    """Each token has an entry with everything that the contract wants."""
    lists = {"tokens": ["é", "b"], "token_logprobs": [-1], "top_logprobs": None}
    events = read(chunk("éb", "stop", logprobs=lists))
    (part,) = whole(events)["output"][0]["content"]

    assert part["logprobs"] == [
        {"token": "é", "logprob": -1, "bytes": [195, 169], "top_logprobs": []},
        {"token": "b", "logprob": None, "bytes": [98], "top_logprobs": []},
    ]


@pytest.mark.parametrize("done", [True, False])
def test_done_without_a_reason_is_no_end(done: bool):
    """The answer is broken, or has just not ended."""
    last = read(chunk("Half"), done=done)[-1]

    assert last["type"] == ("response.failed" if done else "response.output_text.delta")


def test_a_reason_and_a_clean_end_are_an_end():
    """Some servers send no `[DONE]`."""
    assert whole(read(chunk("All", "stop"), done=False))["status"] == "completed"


@pytest.mark.parametrize(
    "told_error",
    [
        {"error": {"message": "no", "code": "overloaded"}},
        {"object": "error", "message": "no", "code": "overloaded"},
    ],
)
def test_an_error_in_a_chunk_ends_the_answer_as_failed(told_error: dict[str, Any]):
    """What was said before it stays."""
    response = whole(read(chunk("Half"), told_error, chunk("more", "stop")))

    assert (response["status"], response["error"]) == ("failed", {"code": "overloaded", "message": "no"})
    assert response["output_text"] == "Half"


def test_odd_members_cost_only_themselves():
    """Choices that are none, lists that are none, tokens that are no text."""
    odd = chunk("a", logprobs={"tokens": [None, 5], "top_logprobs": ["x", None]})
    events = read({"choices": 5}, {"choices": [None]}, odd, chunk("b", "stop", logprobs={"tokens": 5}))

    assert whole(events)["output_text"] == "ab"
    frames = CLIENTS["completions"].writer(told("completions", top_logprobs=1)).feed(events)
    assert json.loads(COMPLETIONS.fold(frames))["choices"][0]["logprobs"]["tokens"] == ["", ""]


def test_a_finish_reason_can_be_an_error():
    """As OpenRouter has it."""
    assert whole(read(chunk("Half"), chunk("", "error")))["status"] == "failed"
