"""Translating to the hub and back to the same dialect changes nothing, neither in requests nor in answers."""

import json
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
from dialects.there_and_back import there_and_back
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
