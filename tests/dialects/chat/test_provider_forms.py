"""What providers of chat completions write in ways of their own."""

from typing import Any

import pytest

from translated import Structured, write

TIME = {"type": "function", "name": "time", "parameters": {"type": "object"}}
DATE = {"type": "function", "name": "date", "parameters": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORM = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
LONG_ID = "call_hoMp933t07H4yr0OXsK23088"
REASONED = [
    {"role": "user", "content": "5 + 3?"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A sum."}]},
    {"role": "assistant", "content": "8"},
    {"role": "user", "content": "And 4?"},
]


def written(provider: str, model: str = "m", **body: Any) -> dict[str, Any]:
    changes = {name: body.pop(name) for name in ("structured", "answer_tool", "stream") if name in body}
    return write("chat", {"input": "Hi", **body}, provider, model=model, **changes)


def beside(provider: str, model: str = "m", **body: Any) -> dict[str, Any]:
    """Return the members beside the messages."""
    return {k: v for k, v in written(provider, model, **body).items() if k not in {"model", "messages"}}


@pytest.mark.parametrize(
    ("provider", "model", "effort", "expected"),
    [
        ("vllm", "m", "low", {"reasoning_effort": "low"}),
        ("openrouter", "m", "low", {"reasoning": {"effort": "low"}}),
        ("deepseek", "m", "max", {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ("deepseek", "m", "none", {"thinking": {"type": "disabled"}}),
        ("mistral", "mistral-small-latest", "none", {"reasoning_effort": "none"}),
        ("mistral", "mistral-small-2603", "low", {"reasoning_effort": "high"}),
        ("mistral", "mistral-medium-3-5", "max", {"reasoning_effort": "high"}),
        ("mistral", "mistral-medium-3-5", "odd", {"reasoning_effort": "odd"}),
        ("mistral", "mistral-large-2512", "high", {}),
    ],
)
def test_an_effort_is_told_as_the_provider_knows_it(provider, model, effort, expected):
    """By one member, by an object, beside a switch; the nearest that is not weaker; not to who refuses it."""
    assert beside(provider, model, reasoning={"effort": effort}) == expected


def test_deepseek_does_not_think_where_a_tool_must_be_called():
    """It refuses both together, and it thinks unless it is told not to."""
    forced = beside("deepseek", tools=[TIME], tool_choice="required", reasoning={"effort": "high"})
    answer = beside("deepseek", text=FORM, structured=Structured.TOOL, answer_tool="answer")
    free = beside("deepseek", tools=[TIME])

    assert forced["thinking"] == answer["thinking"] == {"type": "disabled"}
    assert forced["tool_choice"] == "required"
    assert "reasoning_effort" not in forced
    assert "thinking" not in free


@pytest.mark.parametrize(
    ("provider", "choice", "names"),
    [
        ("vllm", {"type": "function", "function": {"name": "time"}}, ["time", "date"]),
        ("llamacpp", "required", ["time"]),
        ("lmstudio", "required", ["time"]),
    ],
)
def test_a_tool_is_forced_by_its_name_or_by_being_the_only_one(provider, choice, names):
    """Some take no name, and one of them without a word."""
    told = beside(provider, tools=[TIME, DATE], tool_choice={"type": "function", "name": "time"})

    assert told["tool_choice"] == choice
    assert [tool["function"]["name"] for tool in told["tools"]] == names


def test_json_without_a_schema_is_that_of_any_object_where_there_is_no_other_way():
    """LM Studio refuses `json_object`."""
    form = {"format": {"type": "json_object"}}

    assert beside("vllm", text=form) == {"response_format": {"type": "json_object"}}
    assert beside("lmstudio", text=form)["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize("instructions", [None, "Be brief.", [{"role": "system", "content": []}]])
def test_a_schema_that_no_setting_tells_is_told_in_words(instructions):
    """At the end of what the system says; the setting beside it holds the answer to some JSON."""
    body = written("deepseek", text=FORM, structured=Structured.JSON, tools=[TIME], instructions=instructions)
    content = body["messages"][0]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]

    assert body["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert text.startswith("Be brief.\n\n" if instructions == "Be brief." else "When you answer")
    assert text.endswith('{"type":"object","properties":{"n":{"type":"integer"}}}')


def test_mistral_has_names_and_streams_of_its_own():
    """`random_seed`, and usage that comes unasked."""
    assert beside("mistral", seed=7, stream=True) == {"random_seed": 7, "stream": True}
    assert beside("vllm", seed=7, stream=True)["stream_options"] == {"include_usage": True}


def test_mistral_takes_thinking_back_as_a_part():
    """Before the text of the same message, as in its own answers."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "A sum."}]}

    assert written("mistral", input=REASONED)["messages"][1] == {
        "role": "assistant",
        "content": [thinking, {"type": "text", "text": "8"}],
    }
    assert written("deepseek", input=REASONED)["messages"][1]["reasoning_content"] == "A sum."
    assert written("openai-chat", input=REASONED)["messages"][1] == {"role": "assistant", "content": "8"}


@pytest.mark.parametrize(
    ("provider", "given", "told"),
    [("vllm", LONG_ID, LONG_ID), ("mistral", "Nr1uNItcS", "Nr1uNItcS"), ("mistral", LONG_ID, "ba2104e7a")],
)
def test_ids_of_calls_are_as_short_as_they_must_be(provider, given, told):
    """A call and its output still go together."""
    call = {"type": "function_call", "call_id": given, "name": "time", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": given, "output": "noon"}
    messages = written(provider, input=[call, output], tools=[TIME])["messages"]

    assert [messages[0]["tool_calls"][0]["id"], messages[1]["tool_call_id"]] == [told, told]
