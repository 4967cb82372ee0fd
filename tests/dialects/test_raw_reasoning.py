"""Reasoning that upstreams show as it was written, for clients that give back nothing but sealed envelopes."""

import json
from typing import Any

import pytest

from translated import read_answer, telling, unseal, whole, write

ASKED = {"input": "Hi", "include": ["reasoning.encrypted_content"]}
ANSWERS: dict[str, Any] = {
    "chat": {
        "choices": [{"message": {"reasoning_content": "Hm.", "content": "Hello"}, "finish_reason": "stop"}]
    },
    "ollama": {"message": {"role": "assistant", "thinking": "Hm.", "content": "Hello"}, "done": True},
}
PROVIDERS = {"chat": "deepseek", "ollama": "ollama"}
MEMBERS = {"chat": "reasoning_content", "ollama": "thinking"}


def reasoning_of(dialect: str, body: dict[str, Any], client: str = "responses") -> Any:
    told = telling(client, body, PROVIDERS[dialect])
    answer = whole(read_answer(dialect, told, json.dumps(ANSWERS[dialect]).encode(), stream=False))
    return answer["output"][0]


@pytest.mark.parametrize("dialect", ANSWERS)
def test_it_is_sealed_for_who_asks(dialect: str):
    """And its envelope alone brings it back."""
    item = reasoning_of(dialect, ASKED)
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": item["encrypted_content"]}
    later = ASKED | {
        "input": [sealed, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "?"}]
    }

    written = write(dialect, later, PROVIDERS[dialect], unseal=unseal)

    assert item["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert written["messages"][0][MEMBERS[dialect]] == "Hm."


@pytest.mark.parametrize("dialect", ANSWERS)
def test_it_is_sealed_for_clients_of_messages(dialect: str):
    """These may drop thinking that nobody has signed."""
    assert "encrypted_content" in reasoning_of(dialect, {"input": "Hi"}, "messages")


@pytest.mark.parametrize("dialect", ANSWERS)
def test_it_is_not_sealed_for_others(dialect: str):
    """The text alone will do."""
    assert "encrypted_content" not in reasoning_of(dialect, {"input": "Hi"})
