"""Translating to the hub and back to the same dialect changes nothing, neither in requests nor in answers.

The blocks of messages are compared to the letter in `messages/test_answer_reader.py`, recorded requests in
`test_recorded_requests.py`.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.requests_to_draw import (
    chat_requests,
    completion_requests,
    messages_requests,
    reasoning_chat_requests,
)
from dialects.there_and_back import APIS, answer_and_back, folded, there_and_back
from recorded import Exchange, exchanges, needs_recordings
from said import Said, said_chat, said_completion, said_message
from said_recorded import said_in
from translated import unseal

# Requests.


@given(chat_requests())
@settings(max_examples=200, deadline=None)
def test_any_chat_request_comes_back_as_it_was(body: dict[str, Any]):
    """Messages, calls, tools, formats, settings."""
    assert there_and_back("chat", body) == body


@pytest.mark.parametrize(("provider", "member"), [("vllm", "reasoning"), ("llamacpp", "reasoning_content")])
@given(st.data())
@settings(max_examples=50, deadline=None)
def test_earlier_reasoning_comes_back_where_it_is_taken(provider: str, member: str, data: st.DataObject):
    """Under the name that the provider has for it."""
    body = data.draw(reasoning_chat_requests(member))

    assert there_and_back("chat", body, provider) == body


@given(completion_requests())
@settings(max_examples=100, deadline=None)
def test_any_request_for_a_completion_comes_back_as_it_was(body: dict[str, Any]):
    """The prompt of one user is the prompt."""
    assert there_and_back("completions", body) == body


@given(messages_requests())
@settings(max_examples=200, deadline=None)
def test_any_messages_request_comes_back_as_it_was(body: dict[str, Any]):
    """But for the signatures of thinking: this gateway had sealed them, and its upstream gets its own."""
    assert there_and_back("messages", body) == opened(body)


def opened(body: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(body))
    for block in (block for message in copy["messages"] for block in message["content"]):
        if block["type"] == "thinking":
            block["signature"] = unseal(block["signature"])["signature"]
    return copy


# Answers.

SAID = {"chat": said_chat, "messages": said_message, "completions": said_completion}


def answers(*dialects: str) -> list[Any]:
    """Return the recordings that are answers."""
    return [
        pytest.param(dialect, exchange, id=exchange.id)
        for dialect in dialects
        for mode in ("stream", "plain")
        for exchange in exchanges(APIS[dialect], mode)
        if said_in(exchange).finish != "error"
    ]


def meant(said: Said) -> Said:
    """Return what was said, less what the upstream leaves out: the hub counts tokens, and names calls as the reason."""
    finish = "calls" if said.calls and said.finish == "stop" else said.finish
    return replace(said, finish=finish)


@needs_recordings
@pytest.mark.parametrize(("dialect", "exchange"), answers("chat", "messages", "completions"))
def test_a_recorded_answer_says_the_same_afterwards(dialect: str, exchange: Exchange):
    """Text, refusal, reasoning, calls, citations, log probabilities, reason, and usage where it is told."""
    before, after = said_in(exchange), SAID[dialect](answer_and_back(dialect, exchange))
    if before.input_tokens is None:
        after = replace(after, input_tokens=None)
    if before.output_tokens is None:
        after = replace(after, output_tokens=None)
    if dialect == "messages":
        # A refusal is told as text too, and a page that was fetched as a search for its address.
        before = replace(before, text=before.text + before.refusal, searches=after.searches)

    assert after == meant(before)


def calls_of(message: dict[str, Any]) -> list[Any]:
    """Return the calls as written; a `function_call` of old has no id to compare."""
    return [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]


@needs_recordings
@pytest.mark.parametrize(("dialect", "exchange"), answers("chat"))
def test_a_recorded_chat_message_has_the_same_members_afterwards(dialect: str, exchange: Exchange):
    """Those that the hub holds, to the letter: arguments, annotations, bytes and alternatives of tokens."""
    before, after = folded(dialect, exchange), answer_and_back(dialect, exchange)
    (choice, *_), (told,) = before["choices"], after["choices"]
    said, message = choice["message"], told["message"]

    assert message["role"] == "assistant"
    if not isinstance(said.get("content"), list):
        assert (message.get("content") or "") == (said.get("content") or "")
    assert (message.get("refusal") or "") == (said.get("refusal") or "")
    if not said.get("function_call") or said.get("tool_calls"):
        assert calls_of(message) == calls_of(said)
    assert (message.get("annotations") or []) == (said.get("annotations") or [])
    assert ((told["logprobs"] or {}).get("content") or []) == (
        (choice.get("logprobs") or {}).get("content") or []
    )
    assert after["model"] == (before["model"] or "m")
