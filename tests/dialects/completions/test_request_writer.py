"""Hub requests, written for upstreams that have nothing but text completions."""

from typing import Any

import pytest

from antiphon.turn.compaction import shown_summary
from antiphon.wire.errors import ClientFault
from translated import Structured, write

TIME = {"type": "function", "name": "time", "parameters": {"type": "object", "properties": {}}}


def written(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return write("completions", {"input": "Hi", **body}, "openai-completions", **changes)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {}),
        ({"max_output_tokens": 16}, {"max_tokens": 16}),
        ({"temperature": 0, "top_p": 1, "seed": 3}, {"temperature": 0, "top_p": 1, "seed": 3}),
        ({"stop": ["a"]}, {"stop": ["a"]}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": 0}),
        ({"top_logprobs": 4}, {"logprobs": 4}),
        ({"reasoning": {"effort": "high"}, "metadata": {"a": "b"}, "store": True}, {}),
        ({"tools": [TIME], "tool_choice": "none"}, {}),
        ({"text": {"format": {"type": "text"}}}, {}),
    ],
)
def test_one_message_of_a_user_is_the_prompt(body: dict[str, Any], expected: dict[str, Any]):
    """As it stands, with the settings that completions have."""
    assert written(body) == {"model": "m", "prompt": "Hi", **expected}


def test_json_is_asked_for_in_words():
    """There is nothing else; an answer that is to have a schema is checked later."""
    form = {"type": "json_schema", "name": "n", "schema": {"type": "integer"}}
    any_object = written({"text": {"format": {"type": "json_object"}}})
    of_schema = written({"text": {"format": form}}, structured=Structured.JSON)

    assert any_object["prompt"].splitlines()[1:] == [
        "system: When you answer with text, it is nothing but one JSON object.",
        "assistant:",
    ]
    assert '{"type":"integer"}' in of_schema["prompt"]


def test_streams_are_asked_for_usage():
    """As in chat."""
    assert written({}, stream=True) == {
        "model": "m",
        "prompt": "Hi",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_conversation_is_a_transcript_that_goes_on():
    """Who says what, line by line, and then it is the assistant's turn."""
    body = written(
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": "Is it raining?"},
                {"type": "reasoning", "summary": []},
                {"role": "assistant", "content": "It is."},
                {"type": "web_search_call", "id": "w"},
                {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
                {"type": "compaction", "encrypted_content": 'sealed:{"text": "Before."}'},
                {"role": "user", "content": [{"type": "input_text", "text": "Still?"}]},
            ],
        }
    )

    assert body["prompt"] == (
        "system: Be brief.\n"
        "system: Be kind.\n"
        "user: Is it raining?\n"
        "assistant: It is.\n"
        "assistant: No.\n"
        f"system: {shown_summary('Before.')}\n"
        "user: Still?\n"
        "assistant:"
    )
    assert body["stop"] == ["\nuser:"]


def test_instructions_may_be_items():
    """They come first."""
    body = written({"instructions": [{"role": "system", "content": "A"}]})

    assert body["prompt"] == "system: A\nuser: Hi\nassistant:"


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        ("x", ["x", "\nuser:"]),
        (["a", "b", "c"], ["a", "b", "c", "\nuser:"]),
        (["a", "b", "c", "d"], ["a", "b", "c", "d"]),
    ],
)
def test_a_transcript_stops_before_the_user_where_there_is_room(stop: Any, told: list[str]):
    """Upstreams take four; those of the client come first."""
    assert written({"instructions": "A", "stop": stop})["stop"] == told


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [TIME]}, "tools"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"n": 2}, "n"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}]},
            "input[0].type",
        ),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "other"}]}, "input[0].encrypted_content"),
    ],
)
def test_what_text_cannot_carry_is_refused_by_its_path(body: dict[str, Any], param: str):
    """The answer would depend on it."""
    with pytest.raises(ClientFault) as caught:
        written(body)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
