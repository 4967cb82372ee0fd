"""The last user text of a request, in each dialect, and which requests have none."""

import json

import pytest

from antiphon.dialects.last_text import NoLastText, last_text
from antiphon.wire.json import canonical, read_members

TEXT = "What is it?"


def read(dialect, body, *, max_turns=1, max_characters=100):
    return last_text(
        dialect, read_members(json.dumps(body).encode()), max_turns=max_turns, max_characters=max_characters
    )


def why_not(dialect, body, **bounds):
    with pytest.raises(NoLastText) as refused:
        read(dialect, body, **bounds)
    return str(refused.value)


def user(content):
    return {"role": "user", "content": content}


BODIES = {
    "chat": lambda text: {"model": "m", "messages": [{"role": "system", "content": "Be kind"}, user(text)]},
    "chat parts": lambda text: {"model": "m", "messages": [user([{"type": "text", "text": text}])]},
    "completions": lambda text: {"model": "m", "prompt": text},
    "messages": lambda text: {"model": "m", "system": "Be kind", "messages": [user(text)]},
    "messages parts": lambda text: {
        "model": "m",
        "messages": [user([{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}])],
    },
    "responses": lambda text: {"model": "m", "instructions": "Be kind", "input": text},
    "responses items": lambda text: {"model": "m", "input": [user([{"type": "input_text", "text": text}])]},
}


@pytest.mark.parametrize("form", BODIES)
def test_the_text_is_found_and_all_else_is_the_rest(form):
    dialect = form.split()[0]
    found = read(dialect, BODIES[form](TEXT))
    assert found.text == TEXT
    assert canonical(found.rest) == canonical(read(dialect, BODIES[form]("Something else")).rest)
    other = {**BODIES[form](TEXT), "temperature": 1}
    assert canonical(found.rest) != canonical(read(dialect, other).rest)
    assert TEXT.encode() not in canonical(found.rest)


def test_what_stands_before_the_text_belongs_to_the_rest():
    def chat(system):
        return {"model": "m", "messages": [{"role": "system", "content": system}, user(TEXT)]}

    assert canonical(read("chat", chat("a")).rest) != canonical(read("chat", chat("b")).rest)


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CALL = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}


@pytest.mark.parametrize(
    ("dialect", "body", "reason"),
    [
        ("embeddings", {"input": TEXT}, "dialect"),
        ("chat", {}, "no text"),
        ("chat", {"messages": []}, "no text"),
        ("chat", {"messages": [user("  ")]}, "no text"),
        ("chat", {"messages": [user("x" * 101)]}, "long"),
        ("chat", {"messages": [user(TEXT), {"role": "assistant", "content": "That"}]}, "no text"),
        ("chat", {"messages": [user(TEXT), {"role": "assistant", "content": "That"}, user("And?")]}, "turns"),
        ("chat", {"messages": [user(TEXT), CALL, {"role": "tool", "content": "7"}]}, "tools"),
        ("chat", {"messages": [CALL, user(TEXT)]}, "tools"),
        ("chat", {"messages": [user([{"type": "text", "text": TEXT}, IMAGE])]}, "several"),
        ("chat", {"messages": [user([IMAGE])]}, "no text"),
        ("chat", {"messages": "hello"}, "no text"),
        ("chat", {"messages": ["hello"]}, "tools"),
        ("completions", {"prompt": [TEXT, TEXT]}, "several"),
        ("messages", {"messages": [user([{"type": "tool_result", "tool_use_id": "1"}])]}, "tools"),
        ("messages", {"messages": [user(TEXT)], "container": "c"}, "continued"),
        ("responses", {"input": TEXT, "previous_response_id": "resp_1"}, "continued"),
        ("responses", {"input": TEXT, "conversation": "conv_1"}, "continued"),
        ("responses", {"input": TEXT, "prompt": {"id": "p"}}, "continued"),
        ("responses", {"input": [{"type": "function_call_output", "output": "7"}, user(TEXT)]}, "tools"),
        ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}, user(TEXT)]}, "tools"),
        ("responses", {"input": [{"type": "reasoning", "summary": []}, user(TEXT)]}, "tools"),
    ],
)
def test_some_requests_have_no_such_text(dialect, body, reason):
    assert why_not(dialect, {"model": "m", **body}) == reason


def test_more_turns_may_be_allowed():
    body = {"model": "m", "messages": [user("Hi"), {"role": "assistant", "content": "Hello"}, user(TEXT)]}
    assert read("chat", body, max_turns=2).text == TEXT
