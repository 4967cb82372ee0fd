"""Anthropic Messages: the watcher's verdicts, the fold against the official library, the unfold and its way back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.messages.dialect import COUNT_TOKENS, MESSAGES
from antiphon.recording import Mode, Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.errors import ClientFault, UpstreamFault
from antiphon.wire.sse import FrameReader, write_frame
from official_anthropic import assembled, comparable, events_of, messages_in
from official_library import frames_of
from recorded import exchanges, needs_recordings

STREAMS = [
    pytest.param(frames_of(body), id=f"{exchange.id}-{number}")
    for exchange in exchanges("anthropic.messages", "stream")
    for number, body in enumerate(messages_in(exchange.body))
]
PLAIN = [pytest.param(exchange.body, id=exchange.id) for exchange in exchanges("anthropic.messages", "plain")]


def event(kind: str, **members: Any) -> bytes:
    return write_frame(json.dumps({"type": kind, **members}).encode(), kind)


def start(**members: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    return event("message_start", message={**message, "stop_reason": None, **members})


def block(index: int, content: Any, *deltas: Any) -> list[bytes]:
    return [
        event("content_block_start", index=index, content_block=content),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def delta(reason: str | None = "end_turn", **members: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, **members)


STOP = event("message_stop")
PING = event("ping")


def judge(*frames: bytes, clean: bool = True) -> Outcome:
    watcher = MESSAGES.watch(Mode.STREAM)
    watcher.feed(frames)
    return watcher.close(clean=clean)


def verdict(*frames: bytes, clean: bool = True) -> tuple[State, str | None]:
    outcome = judge(*frames, clean=clean)
    return outcome.state, outcome.reason


def judge_json(body: bytes, *, clean: bool = True) -> Outcome:
    watcher = MESSAGES.watch(Mode.JSON)
    watcher.feed([body])
    return watcher.close(clean=clean)


def fold(*frames: bytes) -> Any:
    return json.loads(MESSAGES.fold([*frames, STOP]))


def folded_block(content: Any, *deltas: Any) -> Any:
    return fold(start(), *block(0, content, *deltas))["content"][0]


def unfold(message: Any) -> list[bytes]:
    return MESSAGES.unfold(json.dumps(message).encode(), include_usage=False)


def there_and_back(message: Any) -> Any:
    return json.loads(MESSAGES.fold(unfold(message)))


# ---------------------------------------------------------------------------------------------- the watcher

COMPLETED = (State.COMPLETED, None)
BROKEN = (State.FAILED, "upstream_error")
STOPPED = (State.FAILED, "no_terminal_event")
UNREADABLE = (State.FAILED, "invalid_json")
REASONS = {
    "end_turn": COMPLETED,
    "stop_sequence": COMPLETED,
    "tool_use": COMPLETED,
    "pause_turn": COMPLETED,
    "something_new": COMPLETED,
    "max_tokens": (State.INCOMPLETE, "max_output_tokens"),
    "model_context_window_exceeded": (State.INCOMPLETE, "model_context_window_exceeded"),
    "refusal": (State.INCOMPLETE, "content_filter"),
    None: (State.INCOMPLETE, "no_stop_reason"),
}


@pytest.mark.parametrize(("reason", "expected"), REASONS.items())
def test_the_stop_reason_says_how_a_message_ended(reason: str | None, expected: tuple[State, str | None]):
    """In a stream and in JSON alike."""
    answer = {"type": "message", "content": [], "stop_reason": reason}

    assert expected == verdict(start(), delta(reason), STOP)
    outcome = judge_json(json.dumps(answer).encode())
    assert expected == (outcome.state, outcome.reason)


ENDS = {
    "no message_stop": ((start(), delta()), True, STOPPED),
    "cut": ((start(),), False, STOPPED),
    "nothing": ((), True, STOPPED),
    "message_stop, then cut": ((start(), delta(), STOP), False, COMPLETED),
    "the reason at the start": ((start(stop_reason="tool_use"), STOP), True, COMPLETED),
    "an error": ((start(), event("error", error={"type": "overloaded_error"})), True, BROKEN),
    "an error, then the rest": ((start(), event("error", error={}), delta(), STOP), True, BROKEN),
    "an error only by name": ((start(), b"event: error\ndata: {}\n\n"), True, BROKEN),
    "an error that is text": ((start(), b"event: error\ndata: busy\n\n"), True, BROKEN),
    "an error without a name": ((start(), b'data: {"type":"error","error":{}}\n\n'), True, BROKEN),
    "OpenAI's error": ((start(), b'data: {"error":{"message":"no"}}\n\n'), True, BROKEN),
    "llama.cpp's error": ((start(), b'error: {"message":"no"}\n\n'), True, BROKEN),
    "what comes after the end": ((start(), delta(), STOP, b"data: [DONE]\n\n"), True, COMPLETED),
    "half an event": ((start(), b'event: message_delta\ndata: {"type":"mess\n\n', STOP), True, UNREADABLE),
    "no JSON": ((start(), b"event: x\ndata: hello\n\n"), True, UNREADABLE),
    "no object": ((start(), b"event: x\ndata: []\n\n"), True, UNREADABLE),
    "pings and comments": ((PING, start(), b": hello\n\n", PING, delta(), PING, STOP), True, COMPLETED),
    "names without events": ((start().split(b"\n", 1)[1], delta().split(b"\n", 1)[1], STOP), True, COMPLETED),
    "carriage returns": (tuple(f.replace(b"\n", b"\r\n") for f in (start(), delta(), STOP)), True, COMPLETED),
    "data in two lines": (
        (start(), delta(), b'event: message_stop\ndata: {"type":\ndata: "message_stop"}\n\n'),
        True,
        COMPLETED,
    ),
    "wrong types": (
        (event("message_start", message={"id": 1, "usage": 2}), delta(usage=[]), event("x", delta=3), STOP),
        True,
        COMPLETED,
    ),
}


@pytest.mark.parametrize(("frames", "clean", "expected"), ENDS.values(), ids=ENDS)
def test_streams_end_as_the_table_says(
    frames: tuple[bytes, ...], clean: bool, expected: tuple[State, str | None]
):
    """Only `message_stop` makes a message whole, and an error outweighs it."""
    assert expected == verdict(*frames, clean=clean)


JSON_ENDS = {
    "error": (b'{"type":"error","error":{"type":"api_error","message":"no"}}', True, BROKEN),
    "OpenAI's error": (b'{"error":{"message":"no"}}', True, BROKEN),
    "no content": (b'{"detail":"no"}', True, (State.FAILED, "no_content")),
    "content that is none": (b'{"content":"x","stop_reason":"end_turn"}', True, (State.FAILED, "no_content")),
    "wrong types": (b'{"id":1,"content":[],"stop_reason":"end_turn"}', True, COMPLETED),
    "not JSON": (b"<html>", True, UNREADABLE),
    "not an object": (b"[]", True, UNREADABLE),
    "empty": (b"", True, UNREADABLE),
    "torn": (b'{"content":[', False, (State.FAILED, "truncated")),
}


@pytest.mark.parametrize(("body", "clean", "expected"), JSON_ENDS.values(), ids=JSON_ENDS)
def test_json_answers_end_as_the_table_says(body: bytes, clean: bool, expected: tuple[State, str | None]):
    """A message has content and no error."""
    outcome = judge_json(body, clean=clean)

    assert expected == (outcome.state, outcome.reason)


@needs_recordings
@pytest.mark.parametrize("frames", STREAMS)
def test_recorded_streams_are_judged_as_their_last_events_say(frames: list[bytes]):
    """State, model, id and usage come from the events, and nothing is known before them."""
    events = events_of(frames)
    message = events[0]["message"]
    last = next((each for each in events if each["type"] == "message_delta"), {"usage": {}, "delta": message})
    watcher = MESSAGES.watch(Mode.STREAM)
    assert (watcher.response_id, watcher.failure, watcher.ended) == (None, None, False)
    watcher.feed(frames)
    outcome = watcher.close(clean=False)

    assert watcher.ended
    assert REASONS[last["delta"]["stop_reason"]] == (outcome.state, outcome.reason)
    assert (message["id"], message["model"]) == (outcome.response_id, outcome.model)
    usage = message["usage"] | last["usage"]
    cached, written = (usage.get(f"cache_{name}_input_tokens") or 0 for name in ("read", "creation"))
    assert usage["input_tokens"] + cached + written == outcome.usage.input_tokens
    assert usage["output_tokens"] == outcome.usage.output_tokens
    assert (cached, written) == (outcome.usage.cached_tokens, outcome.usage.cache_write_tokens)


def test_usage_is_the_latest_that_was_told():
    """Counts are totals: they replace those before, and what is told once stays."""
    first = {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 5}
    last = {
        "input_tokens": 12,
        "output_tokens": 30,
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 20},
    }

    outcome = judge(start(usage=first), delta(None, usage={"output_tokens": 9}), delta(usage=last), STOP)

    assert outcome.usage == Usage(24, 30, 54, cached_tokens=7, cache_write_tokens=5, reasoning_tokens=20)


@pytest.mark.parametrize("usage", [None, 3, [], {}, {"input_tokens": "1"}, {"input_tokens": -1}])
def test_usage_that_makes_no_sense_counts_nothing(usage: Any):
    """The answer is none the worse for it."""
    outcome = judge(start(usage=usage), delta(), STOP)

    assert (outcome.state, outcome.usage) == (State.COMPLETED, NO_USAGE)


@needs_recordings
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_however_a_stream_is_split_it_ends_the_same(data: st.DataObject):
    """Bytes arrive in any pieces; frames and verdict do not depend on them."""
    frames = data.draw(st.sampled_from(STREAMS)).values[0]
    body = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    reader, watcher = FrameReader(1 << 24), MESSAGES.watch(Mode.STREAM)
    read = []
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        read.append(reader.feed(body[begin:end]))
        watcher.feed(read[-1])
    rest = reader.close()
    if rest:
        read.append([rest])
        watcher.feed([rest])

    assert frames == [frame for each in read for frame in each]
    assert judge(*frames) == watcher.close(clean=True)


# ------------------------------------------------------------------------- the fold, and the official library


@needs_recordings
@pytest.mark.parametrize("frames", STREAMS)
def test_fold_equals_what_the_official_library_assembles(frames: list[bytes]):
    """Text, thinking, calls, results, citations, container, usage: as anthropic-sdk-python puts them together."""
    assert comparable(assembled(frames)) == comparable(json.loads(MESSAGES.fold(frames)))


@needs_recordings
@pytest.mark.parametrize("frames", STREAMS)
def test_a_folded_stream_comes_back_from_its_unfold(frames: list[bytes]):
    """Folding, unfolding and folding again changes nothing."""
    folded = json.loads(MESSAGES.fold(frames))

    assert folded == there_and_back(folded)


def test_blocks_grow_by_their_deltas():
    """Each kind as Anthropic streams it."""
    text = {"type": "text", "text": ""}
    said = [{"type": "text_delta", "text": each} for each in ("a", "b")]
    cited = [{"type": "citations_delta", "citation": {"n": each}} for each in (1, 2)]
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    thought = [{"type": "thinking_delta", "thinking": each} for each in ("a", "b")]
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    asked = [{"type": "input_json_delta", "partial_json": each} for each in ("", '{"a":', "[1]}")]

    assert folded_block(text, *said) == text | {"text": "ab"}
    assert folded_block(text, *cited, *said) == text | {"text": "ab", "citations": [{"n": 1}, {"n": 2}]}
    assert folded_block(thinking, *thought, {"type": "signature_delta", "signature": "s"}) == {
        "type": "thinking",
        "thinking": "ab",
        "signature": "s",
    }
    assert folded_block(call, *asked) == call | {"input": {"a": [1]}}
    assert folded_block(call, asked[0]) == call
    assert folded_block(call | {"type": "server_tool_use"}, *asked[:2])["input"] == {}


def test_what_nobody_knows_survives():
    """Blocks, members and deltas of tomorrow."""
    odd = {"type": "odd", "x": [1], "y": None, "z": "a"}
    deltas = [
        {"type": "odd_delta", "x": [2], "y": "b", "z": "c", "n": 1},
        {"type": "odd_delta", "x": None, "y": "d", "n": 2},
    ]
    message = fold(
        start(a=1, usage={"output_tokens": 1, "odd": 1}),
        *block(0, odd, *deltas),
        event("odd_event"),
        event(
            "message_delta",
            delta={"stop_reason": "end_turn", "b": 2},
            usage={"output_tokens": 5, "odd": None},
            c=3,
        ),
    )

    assert message["content"] == [{"type": "odd", "x": [1, 2], "y": "bd", "z": "ac", "n": 2}]
    assert (message["a"], message["b"], message["c"]) == (1, 2, 3)
    assert message["usage"] == {"output_tokens": 5, "odd": 1}


def test_open_blocks_may_take_turns():
    """Deltas go where their index says, and content stands in the order of the index."""
    frames = [
        event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=1, delta={"type": "text_delta", "text": "b"}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),
        event("content_block_delta", index=7, delta={"type": "text_delta", "text": "lost"}),
    ]

    assert [each["text"] for each in fold(start(), *frames)["content"]] == ["a", "b"]


def test_an_emoji_cut_in_two_joins_again():
    """Halves of a surrogate pair in two deltas are one character in the answer."""
    halves = [{"type": "text_delta", "text": each} for each in ("\ud83d", "\ude00")]

    assert folded_block({"type": "text", "text": ""}, *halves)["text"] == "\U0001f600"


@pytest.mark.parametrize("frames", [[b"data: {oops}\n\n"], [STOP], [delta(), STOP]])
def test_folding_what_is_no_stream_is_the_upstreams_fault(frames: list[bytes]):
    """It is refused, not repaired."""
    with pytest.raises(UpstreamFault):
        MESSAGES.fold(frames)
    with pytest.raises(UpstreamFault):
        MESSAGES.unfold(b"<html>", include_usage=False)


# ------------------------------------------------------------------------------------ the unfold and the way back


@needs_recordings
@pytest.mark.parametrize("body", PLAIN)
def test_recorded_json_answers_survive_unfold_and_fold(body: bytes):
    """A recorded answer is the same after it was streamed and put together again."""
    assert json.loads(body) == there_and_back(json.loads(body))


@needs_recordings
@pytest.mark.parametrize("body", PLAIN)
def test_the_official_library_reads_unfolded_answers(body: bytes):
    """anthropic-sdk-python assembles from the unfolded stream what the JSON answer said; the watcher says the same."""
    frames = MESSAGES.unfold(body, include_usage=False)

    assert comparable(json.loads(body)) == comparable(assembled(frames))
    assert judge_json(body) == judge(*frames)


names = st.text(min_size=1, max_size=6)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
unknown = st.dictionaries(names.filter(lambda name: name != "type"), values, max_size=3)
blocks = st.builds(
    lambda kind, rest, known: {**rest, **known, "type": kind},
    st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "compaction", "odd"]),
    unknown,
    st.fixed_dictionaries(
        {},
        optional={
            "text": values,
            "thinking": values,
            "signature": values,
            "citations": values,
            "input": values,
            "content": values,
            "encrypted_content": values,
        },
    ),
)
messages = st.builds(
    lambda rest, known: {**rest, **known, "type": "message"},
    unknown,
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(),
            "content": st.lists(blocks | values, max_size=4) | values,
            "stop_reason": st.none() | st.just("end_turn"),
            "stop_sequence": values,
            "stop_details": values,
            "container": values,
            "context_management": values,
            "usage": values
            | st.fixed_dictionaries(
                {"output_tokens": values}, optional={"iterations": values, "odd": values}
            ),
        },
    ),
)


@given(messages)
@settings(max_examples=300, deadline=None)
def test_any_message_survives_unfold_and_fold(message: Any):
    """Whatever the members are and hold, folding the unfolded message gives it back."""
    assert message == there_and_back(message)


def test_unfolded_events_come_in_anthropics_order():
    """An empty message, its blocks one by one, why it stopped and what it used, the end; each under its name."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "hi", "citations": [{"n": 1}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "u", "name": "g", "input": {}},
            {"type": "redacted_thinking", "data": "x"},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "container": {"id": "c"},
        "usage": {"input_tokens": 1, "output_tokens": 2, "service_tier": "standard"},
    }
    frames = unfold(message)
    events = events_of(frames)
    starts = [each["content_block"] for each in events if each["type"] == "content_block_start"]
    deltas = [each["delta"] for each in events if each["type"] == "content_block_delta"]

    assert [f"event: {each['type']}\n".encode() for each in events] == [
        frame[: frame.index(b"\n") + 1] for frame in frames
    ]
    assert events[0]["message"] == {
        **{name: message[name] for name in ("id", "type", "role", "model", "usage")},
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    assert starts == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": "", "citations": []},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "tool_use", "id": "u", "name": "g", "input": {}},
        {"type": "redacted_thinking", "data": "x"},
    ]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s"},
        {"type": "citations_delta", "citation": {"n": 1}},
        {"type": "text_delta", "text": "hi"},
        {"type": "input_json_delta", "partial_json": '{"a":1}'},
    ]
    assert events[-2:] == [
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "c"}},
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        {"type": "message_stop"},
    ]


# -------------------------------------------------------------------------------------------- the rest


def test_a_broken_stream_ends_with_one_error_event():
    """Unless the upstream has told one that clients see, which is one with its name."""
    own = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    (frame,) = MESSAGES.break_off('it "broke"', "upstream_gone", [start()])

    assert frame.startswith(b"event: error\n")
    (told,) = events_of([frame])
    assert told == {
        "type": "error",
        "error": {
            "type": "api_error",
            "message": 'it "broke"',
            "details": {"error_code": "upstream_gone"},
        },
    }
    assert verdict(start(), frame) == BROKEN
    assert MESSAGES.break_off("", "", [start(), own, PING]) == []
    assert len(MESSAGES.break_off("", "", [start(), own.split(b"\n", 1)[1]])) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"input_tokens":671}', COMPLETED),
        (b'{"input_tokens":"671"}', (State.FAILED, "no_input_tokens")),
        (b'{"error":{}}', (State.FAILED, "no_input_tokens")),
        (b"<html>", UNREADABLE),
    ],
)
def test_a_count_is_a_number(body: bytes, expected: tuple[State, str | None]):
    """Anything else is no answer."""
    watcher = COUNT_TOKENS.watch(Mode.JSON)
    watcher.feed([body])
    outcome = watcher.close(clean=True)

    assert expected == (outcome.state, outcome.reason)
    assert outcome.usage == NO_USAGE


def test_counts_do_not_stream():
    """There is nothing to fold, unfold or break off."""
    for use in (
        lambda: COUNT_TOKENS.fold([]),
        lambda: COUNT_TOKENS.unfold(b"", include_usage=False),
        lambda: COUNT_TOKENS.break_off("", "", []),
    ):
        with pytest.raises(ClientFault):
            use()
