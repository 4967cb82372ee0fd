import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.recording.cassette import (
    REDACTED,
    Exchange,
    UnreadableCassetteError,
    comparable,
    from_json,
    redacted,
    to_json,
)
from recording.samples import recordings

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def exchange(*frames, body=None, headers=()):
    recording = Recording(
        "r", "chat", Mode.STREAM, "p", "m", 1.5, head=Head(200, b"text/event-stream", headers)
    )
    for index, frame in enumerate(frames):
        recording.extend([frame], index * 1000)
    recording.outcome = Outcome(State.COMPLETED)
    return Exchange("/chat/completions", body or {"model": "m"}, recording)


@given(recordings(), json_values)
def test_reading_gives_back_what_was_written(recording, body):
    """Every field of the recording, and the request, survive, whatever the frames are."""
    written = Exchange("/chat/completions", body, recording)
    assert from_json(to_json(written)) == written


def test_a_frame_is_one_line():
    """So that a difference between two recordings is a difference of lines."""
    lines = to_json(exchange(b'data: {"a":1}\n\n', b"data: [DONE]\n\n")).decode().splitlines()
    assert lines[-4:] == [r'    [0, "data: {\"a\":1}\n\n"],', r'    [1000, "data: [DONE]\n\n"]', "  ]", "}"]


def test_a_file_is_json_and_one_line_of_it_is_too():
    """A file can be read by any JSON reader; on one line it is an entry of a .jsonl cassette."""
    whole = to_json(exchange(b"data: 1\n\n"))
    assert from_json(msgspec.json.encode(msgspec.json.decode(whole))) == exchange(b"data: 1\n\n")


def test_frames_that_are_not_text_are_base64():
    """Bytes that are not UTF-8 survive, and the others stay readable."""
    taped = exchange(b"\xff\x00", b"text")
    assert b'{"base64": "/wA="}' in to_json(taped)
    assert from_json(to_json(taped)) == taped


@pytest.mark.parametrize("frames", [(), (b"",)])
def test_an_answer_without_bytes_is_still_an_answer(frames):
    """No frames, or an empty one."""
    assert from_json(to_json(exchange(*frames))) == exchange(*frames)


def test_no_secret_is_written():
    """Keys do not reach the file, wherever they stand."""
    taped = exchange(
        b'data: {"error":"Incorrect API key provided: %b"}\n\n' % KEY.encode(),
        body={
            "model": "m",
            "tools": [
                {"type": "mcp", "authorization": "very-private", "headers": {"X-Api-Key": "quite-private"}}
            ],
            "input": f"my key is {KEY}, and Bearer abcdefghijklmnop.qrstuv",
        },
        headers=((b"set-cookie", b"private-cookie"), (b"x-request-id", b"r1"), (b"x-api-key", b"another")),
    )
    written = to_json(taped).decode()
    for secret in (
        KEY,
        "very-private",
        "quite-private",
        "private-cookie",
        "another",
        "abcdefghijklmnop.qrstuv",
    ):
        assert secret not in written
    assert "r1" in written
    assert REDACTED in written


@given(json_values)
def test_redacting_twice_is_redacting_once(value):
    """What is redacted is found again by the redacted request."""
    assert redacted(redacted(value)) == redacted(value)


@pytest.mark.parametrize(
    "text",
    [
        "task-force-of-many-words-in-a-row",
        "sk-short",
        "Bearer of bad news",
        "gAAAA-sk-abcdefghijklmnopqrstuvwxyz",
    ],
)
def test_ordinary_text_is_not_redacted(text):
    """Only what looks like a key."""
    assert redacted(text) == text


def test_requests_compare_by_what_changes_the_answer():
    """Model, mode and labels do not count; order and number forms neither; the rest does."""
    one = {
        "model": "a",
        "input": "x",
        "temperature": 0,
        "stream": True,
        "metadata": {"n": "1"},
        "store": False,
    }
    other = {"temperature": 0.0, "input": "x", "model": "b", "user": "u", "stream_options": {}}
    assert comparable(one) == comparable(other)
    assert comparable(one) != comparable(one | {"input": "y"})
    assert comparable("text") == comparable("text") != comparable("other")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"{}", "missing"),
        (b"\xff", "malformed"),
        (to_json(exchange(b"x"))[:-9], "truncated"),
        (to_json(exchange(b"x")).replace(b'"antiphon_cassette": 1', b'"antiphon_cassette": 2'), "version 2"),
        (to_json(exchange(b"x")).replace(b'"state": "completed"', b'"state": "lost"'), "lost"),
        (to_json(exchange(b"\xff")).replace(b"/w==", b"/?=="), "base64"),
    ],
)
def test_what_is_no_exchange_is_refused(data, why):
    """One exception, which says what is wrong."""
    with pytest.raises(UnreadableCassetteError, match=why):
        from_json(data)


@given(st.binary(max_size=60))
def test_no_other_exception_comes_out(data):
    """Arbitrary bytes raise the one exception."""
    with pytest.raises(UnreadableCassetteError):
        from_json(data)
