"""However an answer's bytes arrive, its events are the same: for every dialect that upstreams stream in.

The recordings are few and short, and hold what is easily torn: letters of several bytes, calls, line ends of two
characters, comments, frames without names.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.registry import UPSTREAMS
from recorded import Exchange, exchanges, needs_recordings
from said_recorded import body_of
from translated import read_answer, telling

APIS = {
    "chat": ("openai.chat", "openai-chat"),
    "responses": ("openai.responses", "openai"),
    "completions": ("openai.completions", "openai-completions"),
    "messages": ("anthropic.messages", "anthropic"),
    "gemini": ("gemini.generateContent", "gemini"),
    "ollama": ("ollama.chat", "ollama"),
}
TORN = {
    "chat": ("s-eece7a44c8", "s-413aa05342", "s-ec3aaa642e", "s-8756b61aec", "s-2ea4f31fcc", "s-a80edcc441"),
    "responses": ("s-9683cd1e13", "s-c55c0d7a4c", "s-dd5f56a203", "s-4e46e3d00a", "s-b09e01bc3b"),
    "completions": ("s-0c4597b641", "s-40f308fdf4", "s-0c09119920"),
    "messages": ("s-7016605b84", "s-aba700d63f", "s-6c0a457f02", "s-f99b748acd", "s-a8ce95c18c"),
    "gemini": ("s-9049f68295", "s-04d0922764", "s-6441d3e1b2", "s-116d9d7025", "s-37746f12e5"),
    "ollama": ("s-9a8b048414",),
}
ENCODED = "Größe \N{SMILING FACE WITH OPEN MOUTH} \N{HIRAGANA LETTER A}"
SPOKEN = {
    "completions": f'data: {{"choices":[{{"text":"{ENCODED}","finish_reason":"stop"}}]}}\r\n\r\ndata: [DONE]\n\n',
    "ollama": f'{{"message":{{"thinking":"{ENCODED}"}},"done":false}}\r\n{{"message":{{"content":"\\n"}},"done":false}}\n'
    f'{{"message":{{"content":"{ENCODED}","tool_calls":[{{"function":{{"name":"f","arguments":{{"at":"Köln"}}}}}}]}},'
    '"done":false}\r\n{"done":true,"done_reason":"stop"}\n',
}
"""Streams of the dialects whose recordings hold little that is easily torn."""


def streams() -> list[object]:
    found = [pytest.param(name, body.encode(), id=f"{name} spoken") for name, body in SPOKEN.items()]
    for dialect, (api, _) in APIS.items():
        found += [pytest.param(dialect, body_of(each), id=each.id) for each in chosen(api, TORN[dialect])]
    return found


def chosen(api: str, names: tuple[str, ...]) -> list[Exchange]:
    return [each for each in exchanges(api, "stream") if each.id.endswith(names)]


def events_of(dialect: str, body: bytes, cuts: object = ()) -> object:
    return read_answer(dialect, telling(provider=APIS[dialect][1]), body, stream=True, cuts=cuts)


def test_every_dialect_is_here():
    """Whoever adds one adds its recordings."""
    assert set(APIS) == set(UPSTREAMS) == set(TORN)


@needs_recordings
def test_every_recording_that_is_named_is_there():
    """And is played below."""
    for dialect, (api, _) in APIS.items():
        assert len(chosen(api, TORN[dialect])) == len(TORN[dialect])


@pytest.mark.parametrize(("dialect", "body"), streams())
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_where_the_bytes_are_cut_makes_no_difference(dialect: str, body: bytes, data: st.DataObject):
    """Inside a letter, a line end, a frame, anywhere."""
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))

    assert events_of(dialect, body, cuts) == events_of(dialect, body)


@pytest.mark.parametrize(("dialect", "body"), streams())
def test_a_byte_at_a_time_says_the_same(dialect: str, body: bytes):
    """As slowly as it gets."""
    assert events_of(dialect, body, range(1, len(body))) == events_of(dialect, body)
