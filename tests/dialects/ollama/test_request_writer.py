"""Hub requests, written for Ollama's own API."""

import base64
import json
from typing import Any

import pytest

from antiphon.dialects.translation import Download
from antiphon.turn.compaction import shown_summary
from antiphon.wire.errors import ClientFault
from translated import Structured, write

PIXEL = base64.b64encode(b"\x89PNG pixel").decode()
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells it.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    "strict": True,
}
TIME = {"type": "function", "name": "time", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


def written(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return write("ollama", {"input": "Hi", **body}, "ollama", **changes)


def messages(*items: Any, **body: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = written({"input": list(items), **body})["messages"]
    return told


def refused(body: dict[str, Any], **changes: Any) -> ClientFault:
    with pytest.raises(ClientFault) as caught:
        written(body, **changes)
    return caught.value


def user(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(parts)}


def image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {}),
        (
            {"max_output_tokens": 64, "temperature": 0, "top_p": 0.5, "seed": 7, "top_k": 3, "min_p": 0.1},
            {
                "options": {
                    "num_predict": 64,
                    "temperature": 0,
                    "top_p": 0.5,
                    "seed": 7,
                    "top_k": 3,
                    "min_p": 0.1,
                }
            },
        ),
        (
            {"presence_penalty": 1, "frequency_penalty": 0.5},
            {"options": {"presence_penalty": 1, "frequency_penalty": 0.5}},
        ),
        ({"stop": "END"}, {"options": {"stop": ["END"]}}),
        ({"stop": ["a", "b"]}, {"options": {"stop": ["a", "b"]}}),
        (
            {"options": {"num_ctx": 8192, "temperature": 1}, "temperature": 0.2},
            {"options": {"num_ctx": 8192, "temperature": 0.2}},
        ),
        ({"keep_alive": "1m"}, {"keep_alive": "1m"}),
        ({"truncation": "auto"}, {"truncate": True}),
        ({"truncation": "disabled"}, {"truncate": False}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"reasoning": {"effort": "none"}}, {"think": False}),
        ({"reasoning": {"effort": "minimal"}}, {"think": True}),
        ({"reasoning": {"effort": "high"}}, {"think": True}),
        ({"reasoning": {"summary": "auto"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"format": "json"}),
        ({"text": {"format": {"type": "text"}}}, {}),
        ({"metadata": {"a": "b"}, "user": "me", "service_tier": "flex", "store": False, "n": 1}, {}),
    ],
)
def test_settings_have_their_places(body: dict[str, Any], expected: dict[str, Any]):
    """What Ollama calls otherwise is renamed; what only says how OpenAI keeps an answer is left out."""
    plain = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": False}

    assert written(body) == plain | expected


@pytest.mark.parametrize(
    ("effort", "level"),
    [
        ("none", "low"),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "high"),
    ],
)
def test_gpt_oss_has_three_levels_of_thinking(effort: str, level: str):
    """And cannot be told not to think."""
    assert written({"reasoning": {"effort": effort}}, model="gpt-oss:20b")["think"] == level


def test_a_stream_is_asked_for_and_refused_in_so_many_words():
    """Ollama streams unless it is told not to."""
    assert written({}, stream=True)["stream"] is True
    assert written({})["stream"] is False


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"n": 2}, "n"),
        ({"input": [user({"type": "input_file", "file_id": "f"})]}, "input[0].content[0].type"),
        (
            {"input": [user({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}})]},
            "input[0].content[0].type",
        ),
        (
            {"input": [user({"type": "input_text", "text": "a"}, image("https://x/y.png"))]},
            "input[0].content[1].image_url",
        ),
        ({"input": [user({"type": "input_image", "file_id": "f"})]}, "input[0].content[0].file_id"),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "other"}]}, "input[0].encrypted_content"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
def test_what_ollama_has_no_form_for_is_refused_by_its_path(body: dict[str, Any], param: str):
    """It would change the answer if it were dropped."""
    fault = refused(body)

    assert (fault.status, fault.code, fault.param) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"options": [1]}, "options", "invalid_type"),
        ({"reasoning": {"effort": ["low"]}}, "reasoning.effort", "invalid_type"),
        (
            {"input": [user(image("data:image/png;base64,a*b"))]},
            "input[0].content[0].image_url",
            "invalid_value",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_path(body: dict[str, Any], param: str, code: str):
    """Before Ollama would say something less clear."""
    fault = refused(body)

    assert (fault.param, fault.code) == (param, code)


# Messages.


def test_roles_and_texts():
    """Developers are the system; parts are lines of one text."""
    told = messages(
        {"role": "developer", "content": "Be kind."},
        user({"type": "input_text", "text": "One"}, {"type": "input_text", "text": "Two"}),
        {"role": "assistant", "content": "Three"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Four"},
        instructions="Be brief.",
    )

    assert told == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "One\nTwo"},
        {"role": "assistant", "content": "Three\n\nNo."},
        {"role": "user", "content": "Four"},
    ]


def test_instructions_may_be_items():
    """They come first."""
    told = messages({"role": "user", "content": "Hi"}, instructions=[{"role": "system", "content": "A"}])

    assert [message["content"] for message in told] == ["A", "Hi"]


def test_images_stand_beside_the_text_as_plain_base64():
    """From data URLs, with base64 or without, and from what was downloaded."""
    body = {
        "input": [
            user(
                {"type": "input_text", "text": "Which?"},
                image(f"data:image/png;base64,{PIXEL}"),
                image("data:image/svg+xml,%3Csvg/%3E"),
                image("https://x/y.png"),
            )
        ]
    }
    told = written(body, downloads={"https://x/y.png": Download("image/png", b"fetched")})["messages"]

    images = [PIXEL, base64.b64encode(b"<svg/>").decode(), base64.b64encode(b"fetched").decode()]
    assert told == [{"role": "user", "content": "Which?", "images": images}]


def test_a_tool_loop_goes_back_with_its_thoughts():
    """Thinking, text and calls are one message; outputs name their tool."""
    told = messages(
        {"role": "user", "content": "Rain?"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Look."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"at": "Bonn"}'},
        {"type": "function_call", "call_id": "c2", "name": "time", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "Rain."},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "Noon."}],
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So."}]},
        {"role": "assistant", "content": "Yes."},
        tools=[WEATHER, TIME],
    )

    assert told[1:] == [
        {
            "role": "assistant",
            "content": "One moment.",
            "thinking": "Look.",
            "tool_calls": [
                {"id": "c1", "function": {"name": "weather", "arguments": {"at": "Bonn"}}},
                {"id": "c2", "function": {"name": "time", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "Rain.", "tool_name": "weather", "tool_call_id": "c1"},
        {"role": "tool", "content": "Noon.", "tool_name": "time", "tool_call_id": "c2"},
        {"role": "assistant", "content": "Yes.", "thinking": "So."},
    ]


def test_reasoning_that_was_kept_for_this_model_goes_back():
    """From the envelope; what somebody else sealed is left out."""
    told = messages(
        {"type": "reasoning", "summary": [], "encrypted_content": 'sealed:{"text": "Mine."}'},
        {"type": "reasoning", "summary": [], "encrypted_content": "other"},
        {"role": "assistant", "content": "Yes."},
    )

    assert told == [{"role": "assistant", "content": "Yes.", "thinking": "Mine."}]


@pytest.mark.parametrize("arguments", ["{not", "[1]", "nan"])
def test_arguments_that_are_no_object_are_told_as_they_stand(arguments: str):
    """Another model made them; the conversation goes on all the same."""
    told = messages({"type": "function_call", "call_id": "c", "name": "weather", "arguments": arguments})

    assert told[0]["tool_calls"][0]["function"]["arguments"] == {"input": arguments}


def test_custom_tools_are_functions_with_one_text():
    """In the tools, and in earlier calls."""
    body = written(
        {
            "input": [
                {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": "1+1"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "2"},
            ],
            "tools": [{"type": "custom", "name": "run", "description": "Runs."}],
        }
    )

    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "run", "arguments": {"input": "1+1"}}
    assert body["messages"][1]["tool_name"] == "run"
    assert body["tools"][0]["function"]["parameters"]["required"] == ["input"]


def test_images_of_tools_come_from_the_user_after_the_outputs():
    """Tool messages are text."""
    told = messages(
        {"type": "function_call", "call_id": "c", "name": "shot", "arguments": "{}"},
        {"type": "function_call", "call_id": "d", "name": "shot", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [image(f"data:image/png;base64,{PIXEL}")]},
        {"type": "function_call_output", "call_id": "d", "output": "ok"},
    )

    assert [message["role"] for message in told] == ["assistant", "tool", "tool", "user"]
    assert told[1]["content"] == "(see the attachment in the next message)"
    assert told[3]["images"] == [PIXEL]


def test_what_hosted_tools_did_is_left_out():
    """Nobody else could read it."""
    told = messages({"type": "web_search_call", "id": "w"}, {"role": "user", "content": "Hi"})

    assert told == [{"role": "user", "content": "Hi"}]


def test_a_compaction_of_ours_is_what_the_system_says():
    """The summary that it holds."""
    told = messages({"type": "compaction", "encrypted_content": 'sealed:{"text": "Before."}'})

    assert told == [{"role": "system", "content": shown_summary("Before.")}]


# Tools and JSON.


def names(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", ())]


def test_tools_are_functions():
    """With their description and schema; Ollama knows no `strict`."""
    assert written({"tools": [WEATHER]})["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells it.",
                "parameters": WEATHER["parameters"],
            },
        }
    ]


@pytest.mark.parametrize(
    ("choice", "offered", "told"),
    [
        ("auto", ["weather", "time"], None),
        ("none", [], None),
        ("required", ["weather", "time"], "Answer by calling one of the tools, not with text."),
        (
            {"type": "function", "name": "time"},
            ["time"],
            "Answer by calling the tool `time`, not with text.",
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "time"}]},
            ["time"],
            None,
        ),
    ],
)
def test_a_choice_of_tools_is_told_in_words(choice: Any, offered: list[str], told: str | None):
    """Ollama knows none: the model sees only what it may call, and is asked where it must."""
    body = written({"tools": [WEATHER, TIME], "tool_choice": choice})
    system = [message["content"] for message in body["messages"] if message["role"] == "system"]

    assert names(body) == offered
    assert system == ([told] if told else [])


def test_words_to_the_model_stand_at_the_end_of_the_systems_first_message():
    """Many templates take only one."""
    body = written({"tools": [TIME], "tool_choice": "required", "instructions": "Be brief."})

    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nAnswer by calling the tool `time`, not with text."},
        {"role": "user", "content": "Hi"},
    ]


def test_a_schema_is_the_format():
    """Without its name and description."""
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}

    assert written({"text": {"format": form}}, structured=Structured.NATIVE)["format"] == SCHEMA


def test_beside_tools_a_schema_is_told_in_words():
    """Held to a format, the model could not call anything."""
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA}
    body = written({"text": {"format": form}, "tools": [TIME]}, structured=Structured.JSON)

    assert "format" not in body
    assert json.dumps(SCHEMA, separators=(",", ":")) in body["messages"][0]["content"]


def test_beside_tools_json_is_asked_for_in_words():
    """For the same reason."""
    body = written({"text": {"format": {"type": "json_object"}}, "tools": [TIME]})

    assert "format" not in body
    assert body["messages"][0] == {
        "role": "system",
        "content": "When you answer with text, it is nothing but one JSON object.",
    }


@pytest.mark.parametrize("structured", [Structured.NATIVE, Structured.JSON])
def test_a_format_without_its_schema_is_refused(structured: Structured):
    """There is nothing to hold the answer to."""
    fault = refused({"text": {"format": {"type": "json_schema", "name": "n"}}}, structured=structured)

    assert (fault.code, fault.param) == ("missing_required_parameter", "text.format.schema")
