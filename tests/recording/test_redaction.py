import json
import re

import pytest

from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.recording.cassette import Exchange, is_agreed
from antiphon.recording.faults import Kind, PlannedFault, fault_for, parse_fault
from antiphon.recording.redaction import Redaction
from antiphon.wire.difference import ABSENT

BODY = {
    "user": "ann",
    "metadata": {"email": "ann@example.org", "plan": "free"},
    "messages": [{"name": "ann", "content": "Hi"}, {"name": "bob", "content": [{"text": "Ho"}]}],
}


def redacted(*fields, texts=(), secrets=(), frames=(), body=BODY):
    recording = Recording("r", "chat", Mode.STREAM, "p", "m", 1.0, head=Head())
    recording.extend(list(frames), 0)
    recording.outcome = Outcome(State.COMPLETED)
    exchange = Redaction(fields, texts, secrets).apply(Exchange("/x", body, recording))
    assert exchange.recording.size == sum(map(len, exchange.recording.frames))
    return exchange.body, exchange.recording.frames


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("user", ["user"]),
        ("metadata.email", ["ann@example.org"]),
        ("metadata", ["ann@example.org", "free"]),
        ("messages[*].name", ["bob"]),
        ("messages[1].content[*].text", ["Ho"]),
        ("messages[0].*", ["Hi"]),
        ("*.email", ["ann@example.org"]),
        ("absent.x[3]", []),
        ("user.x", []),
    ],
)
def test_what_stands_at_a_path_is_gone_and_the_rest_stays(path, gone):
    """And what was given is not changed itself."""
    before = json.dumps(BODY)
    body, _ = redacted(path)
    for text in ("ann@example.org", "free", "bob", "Hi", "Ho"):
        assert (json.dumps(text) in json.dumps(body)) is (text not in gone)
    assert json.dumps(BODY) == before


def test_what_is_gone_from_the_request_is_gone_from_the_answer():
    """In any spelling of JSON; what is too short stays."""
    body = {"user": 'Müller "ann"', "n": "of"}
    frames = [
        json.dumps({"a": body["user"], "of": 1}).encode(),
        json.dumps(body["user"], ensure_ascii=False).encode(),
    ]
    _, after = redacted("user", "n", frames=frames, body=body)
    assert after == [b'{"a": "[redacted]", "of": 1}', b'"[redacted]"']


def test_patterns_and_secrets_are_looked_for_everywhere():
    """In texts of requests and in frames, also where a frame is not text."""
    body, frames = redacted(
        texts=[r"\d{4}-\d{4}"],
        secrets=[b"hush"],
        frames=[b"12: 1234-5678", b"\xff hush"],
        body={"a": ["0000-1111", {"b": "hush!"}], "c": 7},
    )
    assert body == {"a": ["[redacted]", {"b": "[redacted]!"}], "c": 7}
    assert frames == [b"12: [redacted]", b"\xff [redacted]"]


SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz"
STREAMS = {
    "chat": lambda piece, _: {"choices": [{"index": 0, "delta": {"content": piece}}]},
    "tools": lambda piece, first: {
        "choices": [
            {"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"arguments": piece}} | first]}}
        ]
    },
    "responses": lambda piece, _: {"type": "response.output_text.delta", "item_id": "m", "delta": piece},
    "messages": lambda piece, _: {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": piece},
    },
    "gemini": lambda piece, _: {"candidates": [{"content": {"parts": [{"text": piece}]}}]},
    "ollama": lambda piece, _: {"message": {"content": piece}, "done": False},
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("cut", [1, 3, 7, 50])
@pytest.mark.parametrize("found_by", ["its look", "a field", "a pattern", "the settings"])
def test_what_a_stream_says_piece_by_piece_is_found_too(kind, cut, found_by):
    """However it is cut; the words around it stay, and so do frames that have none of it."""
    secret = SECRET if found_by == "its look" else "Ann Müller 1234"
    text = f"Yes: {secret}, indeed. {secret}!"
    pieces = [text[at : at + cut] for at in range(0, len(text), cut)]
    told = [
        STREAMS[kind](piece, {} if at else {"type": "function", "id": "c"}) for at, piece in enumerate(pieces)
    ]
    lines = [json.dumps(each).encode() for each in told]
    frames = [line + b"\n" if kind == "ollama" else b"data: %b\n\n" % line for line in lines]
    unrelated = b"data: [DONE]\n\n"
    _, after = redacted(
        *(["user"] if found_by == "a field" else []),
        texts=[r"Ann \w+ \d{4}"] if found_by == "a pattern" else [],
        secrets=[secret.encode("latin-1")] if found_by == "the settings" else [],
        frames=[*frames, unrelated],
        body={"user": secret},
    )
    said = "".join(re.findall(r'"(?:content|arguments|delta|text)": ?"([^"]*)"', b"".join(after).decode()))
    assert said == "Yes: [redacted], indeed. [redacted]!"
    assert len(after) == len(frames) + 1
    assert after[-1] == unrelated
    if cut == 1:
        assert after[0] == frames[0]


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a[", "a[x]", "a]", "a[0]b"])
def test_what_is_no_path_is_refused(path):
    """With an example of one."""
    with pytest.raises(ValueError, match="path"):
        Redaction([path])


@pytest.mark.parametrize(
    ("recorded", "asked", "agreed"),
    [
        ("[redacted]", {"any": "thing"}, True),
        ("[redacted]", ABSENT, False),
        ("I am [redacted].\nBye", "I am 7\nyears old.\nBye", True),
        ("I am [redacted].", "You are 7.", False),
        ("I am [redacted].", 7, False),
        ("same", "same", False),
    ],
)
def test_what_was_redacted_stands_for_anything(recorded, asked, agreed):
    """What was not is for others to compare."""
    assert is_agreed(recorded, asked) is agreed


def test_faults_are_read_and_found_for_their_requests():
    """One with a number goes before one for all."""
    faults = [parse_fault(text) for text in ("break@3", "2:429", " 3:stall@0 ")]
    assert [fault_for(number, faults) for number in (1, 2, 3)] == [
        PlannedFault(Kind.BREAK, 3),
        PlannedFault(Kind.STATUS, status=429, request=2),
        PlannedFault(Kind.STALL, request=3),
    ]
    assert fault_for(1, faults[1:]) is None
    assert json.loads(faults[1].body())["error"]["code"] == "rate_limit_exceeded"
    assert faults[1].headers() == ((b"retry-after", b"0"),)


@pytest.mark.parametrize("text", ["", "break", "break@", "@3", "200", "x:503", "break@-1", "2:2:503"])
def test_what_is_no_fault_is_refused(text):
    """With an example of one."""
    with pytest.raises(ValueError, match="break@3"):
        parse_fault(text)
