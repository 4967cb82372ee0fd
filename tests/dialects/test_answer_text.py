"""The text of an answer, where it is nothing but text."""

import json

import pytest

from antiphon.dialects.answer_text import answer_text


@pytest.mark.parametrize(
    ("dialect", "answer", "expected"),
    [
        ("chat", {"choices": [{"message": {"content": "Yes"}}]}, "Yes"),
        ("chat", {"choices": [{"message": {"content": "Yes", "tool_calls": [{}]}}]}, None),
        ("chat", {"choices": [{"message": {"content": None, "refusal": "No"}}]}, None),
        ("chat", {"choices": [{"message": {"content": " "}}]}, None),
        ("chat", {"choices": []}, None),
        ("completions", {"choices": [{"text": "Yes"}, {"text": "No"}]}, "Yes\nNo"),
        ("messages", {"content": [{"type": "thinking"}, {"type": "text", "text": "Yes"}]}, "Yes"),
        ("messages", {"content": [{"type": "text", "text": "Yes"}, {"type": "tool_use"}]}, None),
        (
            "responses",
            {
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "Yes"}]},
                ]
            },
            "Yes",
        ),
        ("responses", {"output": [{"type": "function_call"}]}, None),
        ("responses", {"output": [{"type": "message", "content": [{"type": "refusal"}]}]}, None),
        ("embeddings", {"data": []}, None),
        ("chat", [], None),
        ("chat", {"choices": [7]}, None),
    ],
)
def test_text_and_nothing_else(dialect, answer, expected):
    assert answer_text(dialect, json.dumps(answer).encode()) == expected


def test_what_is_no_json_has_no_text():
    assert answer_text("chat", b"{") is None
