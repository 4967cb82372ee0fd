"""Text completions: as chat, with text where chat has a message."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.recording import Mode, State
from antiphon.wire.objects import read_chunks
from antiphon.wire.sse import DONE, FrameReader, write_frame
from recorded import Exchange, exchanges, needs_recordings

STREAMS = exchanges("openai.completions", "stream")
PLAIN = exchanges("openai.completions", "plain")


def ids(exchange: Exchange) -> str:
    return exchange.id


def frames_of(body: bytes) -> list[bytes]:
    reader = FrameReader(1 << 24)
    return [*reader.feed(body), reader.close()]


def there_and_back(answer: Any) -> Any:
    frames = COMPLETIONS.unfold(json.dumps(answer).encode(), include_usage=True)
    return json.loads(COMPLETIONS.fold(frames))


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=ids)
def test_recorded_streams_end_as_their_finish_reason_says(exchange: Exchange):
    """Streams that reached a limit say so; all others are complete."""
    frames = frames_of(exchange.body)
    watcher = COMPLETIONS.watch(Mode.STREAM)
    watcher.feed(frames)
    reasons = {one.get("finish_reason") for each in read_chunks(frames) for one in each["choices"]}

    assert watcher.ended
    assert watcher.close(clean=True).state is (State.INCOMPLETE if "length" in reasons else State.COMPLETED)


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=ids)
def test_recorded_json_answers_end_as_their_finish_reason_says(exchange: Exchange):
    """JSON answers have their usage, and those that reached a limit say so."""
    watcher = COMPLETIONS.watch(Mode.JSON)
    watcher.feed([exchange.body])
    outcome = watcher.close(clean=True)
    answer = json.loads(exchange.body)
    limited = any(one["finish_reason"] == "length" for one in answer["choices"])

    assert outcome.state is (State.INCOMPLETE if limited else State.COMPLETED)
    assert outcome.usage.total_tokens == answer["usage"]["total_tokens"]


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=ids)
def test_fold_joins_the_text_of_every_choice(exchange: Exchange):
    """The folded text is all the pieces of a choice, in order."""
    chunks = read_chunks(frames_of(exchange.body))
    folded = json.loads(COMPLETIONS.fold(frames_of(exchange.body)))

    assert folded["object"] == "text_completion"
    for choice in folded["choices"]:
        pieces = [
            one.get("text", "")
            for each in chunks
            for one in each["choices"]
            if one.get("index", 0) == choice["index"]
        ]
        assert choice["text"] == "".join(pieces)


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=ids)
def test_recorded_json_answers_survive_unfold_and_fold(exchange: Exchange):
    """A recorded answer is the same after it was streamed; Together's own `object` becomes the standard one."""
    answer = json.loads(exchange.body) | {"object": "text_completion"}

    assert there_and_back(answer) == answer


def test_log_probabilities_go_on_from_chunk_to_chunk():
    """All four lists of the old form are joined."""
    parts = [
        {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"a": -1}], "text_offset": [0]},
        {"tokens": ["b"], "token_logprobs": [-2], "top_logprobs": None, "text_offset": [1]},
    ]
    chunks = [{"choices": [{"index": 0, "text": t, "logprobs": p}]} for t, p in zip("ab", parts, strict=True)]
    folded = json.loads(
        COMPLETIONS.fold([*(write_frame(json.dumps(each).encode()) for each in chunks), DONE])
    )

    assert folded["choices"] == [
        {
            "index": 0,
            "text": "ab",
            "logprobs": {
                "tokens": ["a", "b"],
                "token_logprobs": [-1, -2],
                "top_logprobs": [{"a": -1}],
                "text_offset": [0, 1],
            },
        }
    ]


TAKEN = {"id", "object", "created", "model", "choices", "usage", "obfuscation", "p", "delta", "message"}
TAKEN |= {"text", "index", "finish_reason", "logprobs"}
names = st.text(min_size=1, max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
unknown = st.dictionaries(names.filter(lambda name: name not in TAKEN), values, max_size=3)
choices = st.fixed_dictionaries(
    {"text": st.text()},
    optional={"finish_reason": st.sampled_from([None, "stop"]), "logprobs": st.none() | unknown},
)


@given(st.lists(st.builds(lambda a, b: a | b, unknown, choices), max_size=3), unknown, values)
@settings(max_examples=100, deadline=None)
def test_any_answer_survives_unfold_and_fold(listed: list[Any], rest: Any, usage: Any):
    """Whatever the members are and hold, folding the unfolded answer gives it back."""
    numbered = [one | {"index": index} for index, one in enumerate(listed)]
    answer = rest | {"id": "c", "object": "text_completion", "usage": usage, "choices": numbered}

    assert there_and_back(answer) == answer


def test_unfolded_text_ends_with_its_finish_reason_and_usage_only_when_asked():
    """Text first, the finish reason on a chunk of its own, no usage unasked."""
    body = b'{"id":"c","choices":[{"index":0,"text":"hi","finish_reason":"stop"}],"usage":{"total_tokens":1}}'
    frames = COMPLETIONS.unfold(body, include_usage=False)

    assert [json.loads(frame[6:])["choices"] for frame in frames[:-1]] == [
        [{"index": 0, "text": "hi", "finish_reason": None}],
        [{"index": 0, "text": "", "finish_reason": "stop"}],
    ]
    assert frames[-1] == DONE
    assert b"usage" not in b"".join(frames)


def test_a_broken_stream_ends_with_an_error_and_without_done():
    """One frame that says what happened."""
    (frame,) = COMPLETIONS.break_off("gone", "upstream_gone", [])

    assert json.loads(frame[6:])["error"]["code"] == "upstream_gone"
