"""Chat completions: the watcher's verdicts, the fold against the official library, the unfold and its way back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.chat.dialect import CHAT, is_usage_only
from antiphon.recording import Mode, Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.errors import UpstreamFault
from antiphon.wire.objects import read_chunks
from antiphon.wire.sse import DONE, write_frame
from official_library import (
    CHAT_ANSWERS_IT_MISREADS,
    CHAT_STREAMS_IT_FAILS,
    chat_snapshot,
    comparable_chat,
    frames_of,
    without_redundant_members,
)
from recorded import Exchange, exchanges, needs_recordings

STREAMS = exchanges("openai.chat", "stream")
PLAIN = exchanges("openai.chat", "plain")


def ids(exchange: Exchange) -> str:
    return exchange.id


def chunk(finish: str | None = None, index: int = 0, **members: Any) -> bytes:
    choice = {"index": index, "delta": {"content": "x"}, "finish_reason": finish}
    return write_frame(json.dumps({"id": "c1", "model": "m1", "choices": [choice]} | members).encode())


def judge(*frames: bytes, clean: bool = True) -> Outcome:
    watcher = CHAT.watch(Mode.STREAM)
    watcher.feed(frames)
    return watcher.close(clean=clean)


def verdict(*frames: bytes, clean: bool = True) -> tuple[State, str | None]:
    outcome = judge(*frames, clean=clean)
    return outcome.state, outcome.reason


def fold(*chunks: Any) -> Any:
    return json.loads(CHAT.fold([*(write_frame(json.dumps(each).encode()) for each in chunks), DONE]))


def fold_message(*deltas: dict[str, Any]) -> Any:
    folded = fold(*({"choices": [{"index": 0, "delta": delta}]} for delta in deltas))
    return folded["choices"][0]["message"]


def unfold(answer: Any, *, include_usage: bool = True) -> list[bytes]:
    return CHAT.unfold(json.dumps(answer).encode(), include_usage=include_usage)


def there_and_back(answer: Any) -> Any:
    return json.loads(CHAT.fold(unfold(answer)))


# ---------------------------------------------------------------------------------------------- the watcher

COMPLETED = (State.COMPLETED, None)
LIMITED = (State.INCOMPLETE, "max_output_tokens")
UNFINISHED = (State.INCOMPLETE, "no_finish_reason")
BROKEN = (State.FAILED, "upstream_error")
STOPPED = (State.FAILED, "no_terminal_event")
UNREADABLE = (State.FAILED, "invalid_json")

NOT_COMPLETED = {
    "gpustack-openai-chat-s-4c5e56a2b2": BROKEN,  # llama.cpp's `error:` field
    "groq-openai-chat-s-f28f9347c9": BROKEN,  # `event: error`
    "snowflake-openai-chat-s-57bf150f06": UNFINISHED,
    "snowflake-openai-chat-s-831979e012": UNFINISHED,
}


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=ids)
def test_recorded_streams_end_as_their_finish_reason_says(exchange: Exchange):
    """Every recorded stream is complete, or limited if it says so, but for four known ones."""
    limited = b'"finish_reason":"length"' in exchange.body.replace(b": ", b":")

    expected = NOT_COMPLETED.get(exchange.id, LIMITED if limited else COMPLETED)

    assert expected == verdict(*frames_of(exchange.body))


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=ids)
def test_recorded_streams_tell_usage_model_and_id(exchange: Exchange):
    """Usage is found wherever an upstream puts it, and is the last that was said."""
    outcome = judge(*frames_of(exchange.body))
    chunks = [each for each in read_chunks(frames_of(exchange.body)) if "choices" in each]
    usages = [each["usage"] for each in chunks if each.get("usage")]

    assert (usages[-1]["total_tokens"] if usages else 0) == outcome.usage.total_tokens
    assert ([each["model"] for each in chunks if each["model"]] or [None])[-1] == outcome.model
    assert ([each["id"] for each in chunks if each["id"]] or [None])[-1] == outcome.response_id


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=ids)
def test_recorded_json_answers_end_as_their_finish_reason_says(exchange: Exchange):
    """Every recorded JSON answer is complete, or limited if it says so, and has its usage."""
    watcher = CHAT.watch(Mode.JSON)
    watcher.feed([exchange.body])
    outcome = watcher.close(clean=True)
    answer = json.loads(exchange.body)
    limited = any(choice.get("finish_reason") == "length" for choice in answer["choices"])

    assert (LIMITED if limited else COMPLETED) == (outcome.state, outcome.reason)
    assert answer["usage"]["prompt_tokens"] == outcome.usage.input_tokens
    assert answer["usage"]["completion_tokens"] == outcome.usage.output_tokens


@needs_recordings
@given(st.data())
@settings(max_examples=50, deadline=None)
def test_outcome_does_not_depend_on_how_frames_are_batched(data: st.DataObject):
    """Frames one by one, all at once, or in any portions give one outcome."""
    frames = frames_of(data.draw(st.sampled_from(STREAMS)).body)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(frames)), max_size=8)))
    watcher = CHAT.watch(Mode.STREAM)
    for start, end in zip([0, *cuts], [*cuts, len(frames)], strict=True):
        watcher.feed(frames[start:end])

    assert judge(*frames) == watcher.close(clean=True)


STREAM_ENDS = {
    "done": ([chunk("stop"), DONE], COMPLETED),
    "clean end": ([chunk("stop")], COMPLETED),
    "length": ([chunk("length"), DONE], LIMITED),
    "content filter": ([chunk("content_filter"), DONE], (State.INCOMPLETE, "content_filter")),
    "filter outweighs length": (
        [chunk("length"), chunk("content_filter", 1), DONE],
        (State.INCOMPLETE, "content_filter"),
    ),
    "done alone": ([chunk(), DONE], UNFINISHED),
    "one of two choices": ([chunk(index=0), chunk(index=1), chunk("stop", 1), DONE], UNFINISHED),
    "two choices": ([chunk(index=1), chunk("stop", 1), chunk("stop", 0), DONE], COMPLETED),
    "finish repeated": ([chunk("stop"), chunk("stop"), chunk(None), DONE], COMPLETED),
    "just stops": ([chunk()], STOPPED),
    "empty": ([], STOPPED),
    "only comments": ([b": ping\n\n", b"\n\n"], STOPPED),
    "error object": ([chunk("length"), chunk(error={"message": "no"}), DONE], BROKEN),
    "error string": ([write_frame(b'{"error":"no"}'), DONE], BROKEN),
    "null error": ([chunk("stop", error=None), DONE], COMPLETED),
    "error event": ([chunk("stop"), b'event: error\ndata: {"m":1}\n\n', DONE], BROKEN),
    "error line": ([chunk("stop"), b'error: {"message":"no"}\n\n', DONE], BROKEN),
    "error line without space": ([b'error:{"choices":[]}\n\n', DONE], BROKEN),
    "error finish": ([chunk("error"), DONE], BROKEN),
    "error after done": ([chunk("stop"), DONE, b'error: {"message":"no"}\n\n'], COMPLETED),
    "words in strings": (
        [chunk(note='"error": {"a":1}, "finish_reason": "length", data: [DONE]'), chunk("stop"), DONE],
        COMPLETED,
    ),
    "not JSON": ([chunk("stop"), b"data: {oops}\n\n", DONE], UNREADABLE),
    "cut JSON": ([chunk("stop"), chunk()[:-8] + b"\n\n", DONE], UNREADABLE),
    "not an object": ([chunk("stop"), b"data: 17\n\n", DONE], UNREADABLE),
    "too deep": ([b"data: " + b"[" * 100_000 + b"\n\n", DONE], UNREADABLE),
    "empty data": ([b"data: \n\n", chunk("stop"), b"data:\n\n", DONE], COMPLETED),
    "CRLF": ([chunk("stop").replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"], COMPLETED),
    "no space after data": ([chunk("stop").replace(b": ", b":"), b"data:[DONE]\n\n"], COMPLETED),
    "done without blank line": ([chunk("stop"), b"data: [DONE]"], COMPLETED),
    "half an emoji": ([chunk(note="\ud83d"), chunk("stop"), DONE], COMPLETED),
    "odd types": ([chunk("stop", id=7, model=["m"], object=1), DONE], COMPLETED),
    "odd choices": (
        [chunk("stop"), chunk(choices=[3, {"index": "0"}]), chunk(choices=None), DONE],
        COMPLETED,
    ),
    "empty finish reason": ([chunk(""), DONE], UNFINISHED),
}


@pytest.mark.parametrize(("frames", "expected"), STREAM_ENDS.values(), ids=STREAM_ENDS)
def test_streams_end_as_the_table_says(frames: list[bytes], expected: tuple[State, str | None]):
    """Only finish reasons and an end make an answer whole; an error outweighs everything."""
    assert expected == verdict(*frames)


def test_a_torn_body_is_whole_only_after_done():
    """A body that breaks off needs `[DONE]`; a finish reason alone might have been followed by an error."""
    assert verdict(chunk("stop"), DONE, clean=False) == COMPLETED
    assert verdict(chunk("stop"), clean=False) == STOPPED
    assert verdict(chunk("length"), clean=False) == STOPPED


def test_ended_is_told_at_done_and_at_an_error():
    """A finish reason is not the end: usage may follow, or an error."""
    for last in (DONE, b"error: {}\n\n"):
        watcher = CHAT.watch(Mode.STREAM)
        watcher.feed([chunk("stop")])
        assert not watcher.ended
        watcher.feed([last])

        assert watcher.ended


def test_usage_in_all_its_places_and_details():
    """Details are mapped, and the last well-formed usage wins."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": None},
    }

    assert (
        Usage(10, 7, 17, 4, 2, 5, 1, 0) == judge(chunk(usage={"prompt_tokens": 1}), chunk(usage=usage)).usage
    )
    assert (
        Usage(10, 7, 17, 4, 2, 5, 1, 0) == judge(chunk(usage=usage), chunk(usage={"prompt_tokens": -1})).usage
    )
    assert (
        Usage(1, 2, 3) == judge(chunk(x_groq={"usage": {"prompt_tokens": 1, "completion_tokens": 2}})).usage
    )
    assert Usage(9, 0, 9, 3) == judge(chunk(usage={"prompt_tokens": 9, "prompt_cache_hit_tokens": 3})).usage
    assert judge(chunk(choices=[{"index": 0, "usage": {"prompt_tokens": 4}}])).usage.input_tokens == 4


@pytest.mark.parametrize(
    "usage", [7, "x", [], {}, {"prompt_tokens": "3"}, {"prompt_tokens_details": {}}, None]
)
def test_malformed_usage_is_no_usage(usage: Any):
    """Usage of a wrong shape is as if it were absent."""
    assert judge(chunk("stop", usage=usage), DONE).usage == NO_USAGE


JSON_ENDS = {
    "whole": (b'{"choices":[{"message":{},"finish_reason":"stop"}]}', True, COMPLETED),
    "no finish reason": (b'{"choices":[{"message":{}}]}', True, COMPLETED),
    "limited": (b'{"choices":[{"message":{},"finish_reason":"length"}]}', True, LIMITED),
    "error": (b'{"error":{"message":"no"},"choices":[]}', True, BROKEN),
    "no choices": (b'{"detail":"no"}', True, (State.FAILED, "no_choices")),
    "not JSON": (b"<html>", True, UNREADABLE),
    "not an object": (b"[]", True, UNREADABLE),
    "empty": (b"", True, UNREADABLE),
    "torn": (b'{"choices":[', False, (State.FAILED, "truncated")),
}


@pytest.mark.parametrize(("body", "clean", "expected"), JSON_ENDS.values(), ids=JSON_ENDS)
def test_json_answers_end_as_the_table_says(body: bytes, clean: bool, expected: tuple[State, str | None]):
    """A JSON answer is whole when it is a JSON object with choices and no error, received to its end."""
    watcher = CHAT.watch(Mode.JSON)
    watcher.feed([body])

    assert not watcher.ended
    outcome = watcher.close(clean=clean)
    assert expected == (outcome.state, outcome.reason)


# ------------------------------------------------------------------------- the fold, and the official library


@needs_recordings
@pytest.mark.parametrize(
    "exchange", [each for each in STREAMS if each.id not in CHAT_STREAMS_IT_FAILS], ids=ids
)
def test_fold_equals_what_the_official_library_assembles(exchange: Exchange):
    """Content, refusals, calls, reasoning, finish reasons, usage: as openai-python puts them together."""
    frames = frames_of(exchange.body)

    assert comparable_chat(chat_snapshot(frames)) == comparable_chat(json.loads(CHAT.fold(frames)))


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=ids)
def test_fold_keeps_every_member_of_every_chunk(exchange: Exchange):
    """No member of a chunk, a choice or a delta is missing from the folded answer."""
    frames = frames_of(exchange.body)
    folded = json.loads(CHAT.fold(frames))
    by_index = {choice["index"]: choice for choice in folded["choices"]}

    for each in read_chunks(frames):
        assert set(each) - {"obfuscation", "p"} <= set(folded)
        for choice in each.get("choices", ()):
            assert set(choice) - {"delta"} <= set(by_index[choice["index"]])
            assert set(choice.get("delta", ())) <= set(by_index[choice["index"]]["message"])


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=ids)
def test_a_folded_stream_comes_back_from_its_unfold(exchange: Exchange):
    """Folding, unfolding and folding again changes nothing."""
    folded = json.loads(CHAT.fold(frames_of(exchange.body)))

    assert folded == there_and_back(folded)


def test_tool_calls_merge_by_index_and_lose_it():
    """Fragments of several calls, mixed and even within one chunk, end as calls in order."""
    message = fold_message(
        {
            "tool_calls": [
                {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
            ]
        },
        {
            "tool_calls": [
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
            ]
        },
        {
            "tool_calls": [
                {"index": 1, "function": {"arguments": "[1"}},
                {"index": 1, "id": "b", "function": {"name": "", "arguments": "]"}},
                {"index": 0, "id": "", "type": "function", "function": {"name": "f", "arguments": "}"}},
            ]
        },
    )

    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "[1]"}},
    ]


@pytest.mark.parametrize("index", [{}, {"index": 0}], ids=["no index", "always index 0"])
def test_whole_calls_without_a_usable_index_stay_apart(index: dict[str, int]):
    """A new id with a name begins a new call, whatever the index says."""
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"]

    assert calls == fold_message(*({"tool_calls": [call | index]} for call in calls))["tool_calls"]


def test_reasoning_details_merge_by_index_and_type():
    """OpenRouter's fragments join where index and type agree, or, without an index, where the type does."""
    text = {"type": "reasoning.text", "format": "f"}
    message = fold_message(
        {"reasoning_details": [text | {"index": 0, "text": "a"}]},
        {"reasoning_details": [text | {"index": 0, "text": "b"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "z"}]},
    )
    bare = fold_message(
        {"reasoning_details": [text | {"text": "a"}]}, {"reasoning_details": [text | {"text": "b"}]}
    )

    assert [
        text | {"index": 0, "text": "ab"},
        {"type": "reasoning.encrypted", "index": 0, "data": "z"},
    ] == message["reasoning_details"]
    assert [text | {"text": "ab"}] == bare["reasoning_details"]


def test_mistral_content_parts_go_on_in_text():
    """Thinking parts join, and plain text after them becomes a text part."""
    thinking = [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": t}]}]} for t in "ab"]

    assert fold_message({"content": ""}, *thinking, {"content": "c"}, {"content": ""}, {"content": "d"})[
        "content"
    ] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]},
        {"type": "text", "text": "cd"},
    ]


def test_unknown_members_add_up_by_their_type():
    """Strings join, numbers and flags are replaced, null adds nothing, lists go on, objects merge."""
    assert fold_message(
        {"s": "a", "n": 1, "b": True, "z": None, "l": [1], "o": {"s": "a"}},
        {"s": "b", "n": 2, "b": False, "l": [2], "o": {"s": "b", "t": 1}},
        {"s": None, "n": None},
    ) == {"s": "ab", "n": 2, "b": False, "z": None, "l": [1, 2], "o": {"s": "ab", "t": 1}}


def test_choice_and_top_level_members_are_restated_not_joined():
    """Labels stay single, filter results merge, log probabilities go on, padding is dropped."""
    first = {"index": 0, "delta": {}, "logprobs": {"content": [1]}, "content_filter_results": {"hate": 1}}
    second = {
        "index": 0,
        "delta": {},
        "logprobs": {"content": [2]},
        "content_filter_results": {"violence": 2},
    }
    folded = fold(
        {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [1]},
        {"id": "c", "created": 5, "model": "m", "provider": "P", "choices": [first], "obfuscation": "x"},
        {
            "id": "d",
            "created": 6,
            "model": "n",
            "provider": "P",
            "choices": [second],
            "p": "ab",
            "usage": {"a": 1},
        },
        {"id": "d", "choices": [], "usage": None},
    )

    assert folded == {
        "id": "c",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "provider": "P",
        "prompt_filter_results": [1],
        "usage": {"a": 1},
        "choices": [
            {
                "index": 0,
                "message": {},
                "logprobs": {"content": [1, 2]},
                "content_filter_results": {"hate": 1, "violence": 2},
            }
        ],
    }


def test_whole_messages_count_only_without_deltas():
    """Perplexity's message so far repeats the deltas; alone, it is the answer."""
    message = {"role": "assistant", "content": "ab"}
    both = fold({"choices": [{"index": 0, "message": message, "delta": {"content": "x"}}]})
    alone = fold({"choices": [{"index": 0, "message": message}]})

    assert both["choices"][0]["message"] == {"content": "x"}
    assert message == alone["choices"][0]["message"]


def test_an_emoji_cut_in_two_joins_again():
    """Halves of a surrogate pair in two chunks are one character in the answer."""
    assert fold_message({"content": "\ud83d"}, {"content": "\ude00"}) == {"content": "\U0001f600"}


def test_folding_what_is_not_json_is_the_upstreams_fault():
    """A stream that the fold cannot read is refused, not repaired."""
    with pytest.raises(UpstreamFault):
        CHAT.fold([b"data: {oops}\n\n"])
    with pytest.raises(UpstreamFault):
        CHAT.unfold(b"<html>", include_usage=False)


# ------------------------------------------------------------------------------------ the unfold and the way back


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=ids)
def test_recorded_json_answers_survive_unfold_and_fold(exchange: Exchange):
    """A recorded answer is the same after it was streamed and put together again."""
    answer = json.loads(exchange.body)

    assert without_redundant_members(json.loads(exchange.body)) == there_and_back(answer)


@needs_recordings
@pytest.mark.parametrize(
    "exchange", [each for each in PLAIN if each.id not in CHAT_ANSWERS_IT_MISREADS], ids=ids
)
def test_the_official_library_reads_unfolded_answers(exchange: Exchange):
    """openai-python assembles from the unfolded stream what the JSON answer said."""
    answer = json.loads(exchange.body)

    assert comparable_chat(without_redundant_members(answer)) == comparable_chat(
        chat_snapshot(unfold(answer))
    )


names = st.text(min_size=1, max_size=6)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
TAKEN = {
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "obfuscation",
    "p",
    "delta",
    "message",
    "tool_calls",
}
TAKEN |= {"index", "finish_reason", "logprobs", "function_call", "text", "role", "content", "refusal"}
unknown = st.dictionaries(names.filter(lambda name: name not in TAKEN), values, max_size=3)
texts = st.none() | st.text()
functions = st.fixed_dictionaries({"name": st.text(), "arguments": st.text()})
calls = st.fixed_dictionaries(
    {}, optional={"id": texts, "type": st.just("function"), "function": functions, "custom": values}
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant")},
    optional={
        "content": texts | st.lists(values, max_size=3),
        "refusal": texts,
        "reasoning": texts,
        "reasoning_content": texts,
        "reasoning_details": st.none() | st.lists(values, max_size=3),
        "tool_calls": st.none() | st.lists(st.builds(lambda a, b: a | b, unknown, calls), max_size=3),
        "function_call": st.none() | functions,
        "annotations": st.lists(values, max_size=2),
        "audio": st.none() | unknown,
    },
)
choices = st.fixed_dictionaries(
    {"message": st.builds(lambda a, b: a | b, unknown, messages)},
    optional={
        "finish_reason": st.none() | st.just("stop"),
        "logprobs": st.none() | unknown,
        "text": st.text(),
    },
)
heads = st.fixed_dictionaries(
    {"object": st.just("chat.completion")},
    optional={"id": texts, "created": st.integers(), "model": texts, "usage": values, "service_tier": values},
)
answers = st.builds(
    lambda head, rest, listed: (
        head | rest | {"choices": [one | {"index": i} for i, one in enumerate(listed)]}
    ),
    heads,
    unknown,
    st.lists(st.builds(lambda a, b: a | b, unknown, choices), max_size=3),
)


@given(answers)
@settings(max_examples=300, deadline=None)
def test_any_answer_survives_unfold_and_fold(answer: Any):
    """Whatever the members are and hold, folding the unfolded answer gives it back."""
    assert answer == there_and_back(answer)


@given(answers)
@settings(max_examples=100, deadline=None)
def test_without_include_usage_only_usage_is_missing(answer: Any):
    """A client that did not ask for usage gets everything else."""
    frames = unfold(answer, include_usage=False)

    assert {k: v for k, v in answer.items() if k != "usage"} == json.loads(CHAT.fold(frames))


def test_unfolded_chunks_come_in_openais_order():
    """Role, reasoning, content, call head, arguments, finish reason, usage, `[DONE]`."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "hi", "refusal": None, "reasoning": "hm", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "logprobs": {"content": [1]}, "finish_reason": "tool_calls"}
    frames = unfold(
        {"id": "c", "object": "chat.completion", "choices": [choice], "usage": {"a": 1}, "note": 1}
    )
    chunks = [json.loads(frame[6:]) for frame in frames[:-1]]
    steps = [one for each in chunks for one in each["choices"]]

    assert frames[-1] == DONE
    assert {"chat.completion.chunk"} == {each["object"] for each in chunks}
    assert [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning": "hm"},
        {"content": "hi"},
        {"tool_calls": [{"index": 0, **call, "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ] == [step["delta"] for step in steps]
    assert [step["logprobs"] for step in steps] == [None, None, {"content": [1]}, None, None, None]
    assert [step["finish_reason"] for step in steps] == [None] * 5 + ["tool_calls"]
    assert [each["usage"] for each in chunks] == [None] * 6 + [{"a": 1}]
    assert [each.get("note") for each in chunks] == [1] + [None] * 6


def test_choices_without_usable_indices_are_numbered():
    """Several choices need an index each in a stream; a lone one may do without."""
    message = {"role": "assistant"}
    lone = {"object": "chat.completion", "choices": [{"message": message}]}

    assert lone == there_and_back(lone)
    assert [one["index"] for one in there_and_back({"choices": [{"message": message}] * 2})["choices"]] == [
        0,
        1,
    ]


# -------------------------------------------------------------------------------------------- the rest


def test_a_broken_stream_ends_with_an_error_and_without_done():
    """The frame is an error that client libraries raise, and that our own watcher takes for one."""
    frames = CHAT.break_off('it "broke"', "upstream_gone", [chunk()])

    assert [json.loads(frame.removeprefix(b"data: "))["error"] for frame in frames] == [
        {"message": 'it "broke"', "type": "server_error", "param": None, "code": "upstream_gone"}
    ]
    assert verdict(*frames) == BROKEN


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n', True),
        (b'data:{"choices": [ ], "usage": {}}\r\n\r\n', True),
        (b'data: {"choices":[],"usage":null}\n\n', False),
        (b'data: {"choices":[],"prompt_filter_results":[]}\n\n', False),
        (b'data: {"usage":{}}\n\n', False),
        (chunk(usage={"total_tokens": 1}), False),
        (DONE, False),
        (b": ping\n\n", False),
        (b"data: {oops\n\n", False),
    ],
)
def test_the_usage_chunk_is_recognised(frame: bytes, expected: bool):
    """Only a chunk with no choices and a usage object is one."""
    assert expected is is_usage_only(frame)
