"""Requests with something wrong in them, for every upstream: a clear refusal, never a fault of our own."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.registry import UPSTREAMS
from antiphon.turn.create import read_create
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import write_object
from conformance.upstreams import PROVIDER_TYPES
from translated import asking

REQUEST: dict[str, Any] = {
    "model": "m",
    "instructions": "Be kind.",
    "input": [
        {"type": "message", "role": "developer", "content": "Be short."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "a"}],
            "content": [{"type": "reasoning_text", "text": "b"}],
            "encrypted_content": "opaque",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hm", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No"},
            ],
            "phase": "commentary",
        },
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "g", "input": "x"},
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "1"}],
        },
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
        {"type": "message", "role": "user", "content": "Go on."},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "h", "parameters": {}}]},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "parallel_tool_calls": False,
    "max_output_tokens": 100,
    "temperature": 1,
    "top_p": 1,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {
        "format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}},
        "verbosity": "low",
    },
    "metadata": {"a": "b"},
    "include": ["reasoning.encrypted_content"],
    "truncation": "auto",
    "service_tier": "auto",
    "user": "u",
    "prompt_cache_key": "k",
    "stop": ["x"],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))][not path :]


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    """`value` with another one in the place `path`, or without what is there where `to` is GONE."""
    key, *rest = path
    copy = value.copy()
    if rest:
        copy[key] = changed(value[key], tuple(rest), to)
    elif to is GONE:
        del copy[key]
    else:
        copy[key] = to
    return copy


GONE = object()
WRONG = st.sampled_from(
    [GONE, None, True, 0, -1, 1e9, "", "none", "x" * 70, [], [None], [[]], {}, {"type": "x"}, [{}]]
)


@pytest.mark.parametrize("dialect", [*PROVIDER_TYPES, "completions"])
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_wrong_is_refused_or_taken(dialect: str, data: st.DataObject):
    """Any value in any place of a request: what cannot be told is refused with a fault of the client's."""
    body = changed(REQUEST, data.draw(st.sampled_from(places(REQUEST))), data.draw(WRONG))
    provider = PROVIDER_TYPES.get(dialect, "openai-completions")
    try:
        request = read_create(body)
        written = UPSTREAMS[dialect].write(request, asking(request, provider))
    except ClientFault as fault:
        refused = fault
    else:
        refused, written = None, write_object(written)
    assert 400 <= refused.status < 500 if refused else written
