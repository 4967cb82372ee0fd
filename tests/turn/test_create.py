"""What a create request may say, and what is told to who says something else."""

from typing import Any

import pytest

from antiphon.turn.create import read_create, refuse_elsewhere
from antiphon.wire.errors import ClientFault

SAID = {"type": "message", "role": "user", "content": "Hi"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}


def fault_of(body: dict[str, Any]) -> ClientFault:
    with pytest.raises(ClientFault) as raised:
        read_create(body)
    return raised.value


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": []}, "missing_required_parameter", "input"),
        ({"input": 7}, "invalid_type", "input"),
        ({"input": ["Hi"]}, "invalid_type", "input[0]"),
        ({"input": [SAID, {"type": "wish"}]}, "invalid_value", "input[1].type"),
        ({"input": [{"type": ["message"]}]}, "invalid_value", "input[0].type"),
        ({"input": [{"role": "king", "content": "Hi"}]}, "invalid_value", "input[0].role"),
        ({"input": [{"role": {}, "content": "Hi"}]}, "invalid_value", "input[0].role"),
        ({"input": [{"role": "user"}]}, "missing_required_parameter", "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "wish"}]}]}, "invalid_value", "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": {}}]}]}, "invalid_value", "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "invalid_type",
            "input[0].content[0].text",
        ),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "missing_required_parameter", "input[0].call_id"),
        ({"input": [CALL | {"arguments": {}}]}, "invalid_type", "input[0].arguments"),
        ({"input": [OUTPUT, CALL]}, None, "input"),
        ({"input": [CALL, OUTPUT | {"call_id": "call_2"}]}, None, "input"),
        ({"input": [CALL, OUTPUT | {"call_id": ["call_1"]}]}, "invalid_type", "input[1].call_id"),
        ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
        ({"max_output_tokens": 16.5}, "invalid_type", "max_output_tokens"),
        ({"max_output_tokens": True}, "invalid_type", "max_output_tokens"),
        ({"max_tool_calls": 0}, "integer_below_min_value", "max_tool_calls"),
        ({"top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
        ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ({"temperature": -1}, "decimal_below_min_value", "temperature"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"top_p": 1.1}, "decimal_above_max_value", "top_p"),
        ({"presence_penalty": 3}, "decimal_above_max_value", "presence_penalty"),
        ({"frequency_penalty": -3}, "decimal_below_min_value", "frequency_penalty"),
        ({"truncation": "some"}, "invalid_value", "truncation"),
        ({"parallel_tool_calls": "yes"}, "invalid_type", "parallel_tool_calls"),
        ({"service_tier": 1}, "invalid_type", "service_tier"),
        ({"text": "json"}, "invalid_type", "text"),
        ({"text": {"format": "json"}}, "invalid_type", "text.format"),
        ({"text": {"format": {"type": "yaml"}}}, "invalid_value", "text.format.type"),
        ({"text": {"verbosity": "huge"}}, "invalid_value", "text.verbosity"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "missing_required_parameter", "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "missing_required_parameter", "text.format.name"),
        ({"reasoning": "much"}, "invalid_type", "reasoning"),
        ({"reasoning": {"effort": 3}}, "invalid_type", "reasoning.effort"),
        ({"tools": {}}, "invalid_type", "tools"),
        ({"tools": ["f"]}, "invalid_type", "tools[0]"),
        ({"tools": [{"name": "f"}]}, "missing_required_parameter", "tools[0].type"),
        ({"prompt_cache_key": "k" * 65}, "string_above_max_length", "prompt_cache_key"),
        ({"safety_identifier": "k" * 129}, "string_above_max_length", "safety_identifier"),
        ({"metadata": {str(n): "" for n in range(17)}}, "object_above_max_properties", "metadata"),
        ({"metadata": {"k" * 65: ""}}, "string_above_max_length", "metadata"),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata.k"),
        ({"metadata": {"k": 1}}, "invalid_type", "metadata.k"),
        ({"metadata": "k"}, "invalid_type", "metadata"),
        ({"input": [SAID], "instructions": 5}, "invalid_type", "instructions"),
        ({"include": "logprobs"}, "invalid_type", "include"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_path(changes, code, param):
    """A 400 with a code that says how, and a param that says where."""
    fault = fault_of({"model": "m", "input": "Hi"} | changes)

    assert (fault.status, fault.code, fault.param) == (400, code, param)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_output_tokens": 16, "temperature": 2, "top_p": 0, "top_logprobs": 20, "max_tool_calls": 1},
        {"metadata": {"k" * 64: "v" * 512}, "prompt_cache_key": "k" * 64, "safety_identifier": "k" * 128},
        {"temperature": None, "metadata": None, "text": None, "reasoning": {"effort": None}, "tools": None},
        {"text": {"format": None, "verbosity": None}, "truncation": "auto", "service_tier": "flex"},
        {"client_metadata": {"from": "a client"}, "access_programs": {}, "stream_options": {}},
        {"input": [CALL, OUTPUT]},
        {"input": [{"type": "compaction", "encrypted_content": "of a call"}, OUTPUT]},
    ],
)
def test_what_is_within_bounds_is_taken(changes):
    """Bounds are among what may be said, nulls say nothing, and what nobody knows does no harm."""
    assert read_create({"model": "m", "input": "Hi"} | changes)["model"] == "m"


@pytest.mark.parametrize("name", ["prompt", "moderation", "multi_agent"])
def test_what_only_openai_can_do_is_refused_elsewhere(name):
    """The answer would be another one without it."""
    request = read_create({"model": "m", "input": "Hi", name: {"id": "x"}})

    with pytest.raises(ClientFault) as raised:
        refuse_elsewhere(request, "this chat provider")
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", name)
