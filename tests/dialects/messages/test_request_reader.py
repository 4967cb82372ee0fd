"""Requests of Anthropic's clients in the terms of the hub, and back again."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.translation import Structured
from antiphon.turn.request import normalized
from antiphon.wire.errors import ClientFault
from recorded import exchanges, needs_recordings
from translated import asking, seal

RECORDINGS = [
    pytest.param(exchange.request, id=exchange.id)
    for mode in ("stream", "plain")
    for exchange in exchanges("anthropic.messages", mode)
    if exchange.request
]
HI = [{"role": "user", "content": "Hi"}]


def read(**body: Any) -> dict[str, Any]:
    return CLIENTS["messages"].read({"model": "m", "max_tokens": 9, "messages": HI, **body})


def items(*messages: Any) -> list[dict[str, Any]]:
    return read(messages=list(messages))["input"]


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(content: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **members}


def settings_of(**body: Any) -> dict[str, Any]:
    usual = {"model", "input", "max_output_tokens"}
    return {name: value for name, value in read(**body).items() if name not in usual}


def read_or_fault(body: dict[str, Any]) -> tuple[dict[str, Any], ClientFault | None]:
    try:
        return CLIENTS["messages"].read(body), None
    except ClientFault as fault:
        return {}, fault


# There and back.


TOOLS_OF_ANTHROPIC_ALONE = ("tool_search", "web_fetch", "advisor")
NOT_CARRIED = {
    "cache_control": "other upstreams keep what they like; on parts that the user sends it is carried",
    "context_management": "it only spares room",
    "caller": "who called a tool is its upstream's business",
    "defer_loading": "tools are told from where they are referred to",
    "citations": "other upstreams cite by themselves",
    "allowed_callers": "without code execution there is but one",
}


@needs_recordings
@pytest.mark.parametrize("body", RECORDINGS)
def test_what_is_read_and_written_again_asks_the_same(body):
    """Every recorded request that needs nothing which only Anthropic has."""
    body = sealed(body)
    request, fault = read_or_fault(body)
    if fault is not None:
        assert is_of_anthropic_alone(body, fault)
        return
    structured = Structured.NATIVE if "text" in request else None
    told = asking(
        request, "anthropic", model=body["model"], structured=structured, stream=bool(body.get("stream"))
    )
    if not any(message["content"] for message in body["messages"]):
        return  # the provider had refused it too
    again = UPSTREAMS["messages"].write(request, told)

    assert comparable(again) == comparable(body)


def is_of_anthropic_alone(body: dict[str, Any], fault: ClientFault) -> bool:
    """Whether a recorded request needs what only Anthropic has, or was never one."""
    path = str(fault.param)
    if path.startswith("tools."):
        return body["tools"][int(path.split(".")[1])]["type"].startswith(TOOLS_OF_ANTHROPIC_ALONE)
    return not isinstance(body["messages"][0], dict)


def sealed(body: Any) -> Any:
    """A request whose thinking came out of this gateway: signatures are envelopes."""
    body = copy.deepcopy(body)
    for block in (
        block
        for message in body["messages"]
        if isinstance(message, dict) and isinstance(message["content"], list)
        for block in message["content"]
    ):
        if block["type"] == "thinking":
            kept = {"thinking": block["thinking"], "signature": block["signature"]}
            block["signature"] = seal(kept)
        elif block["type"] == "redacted_thinking":
            block["data"] = seal({"redacted": block["data"]})
    return body


def comparable(body: dict[str, Any]) -> Any:
    """A request in one spelling, without what is not carried (`NOT_CARRIED`)."""
    body = without_foreign(body)
    if isinstance(body.get("system"), str):
        body["system"] = [text(body["system"])]
    body["messages"] = [
        {**message, "content": [block for block in blocks(message["content"]) if block is not None]}
        for message in body["messages"]
    ]
    if "output_format" in body:
        body.setdefault("output_config", {})["format"] = body.pop("output_format")
    for tool in body.get("tools", []):
        if str(tool.get("type")).startswith(("web_search", "code_execution")):
            tool["type"] = tool["name"]
        if not tool.get("strict"):
            tool.pop("strict", None)
    if body.get("tool_choice") == {"type": "auto"}:
        del body["tool_choice"]
    thinking = body.get("thinking", {}).get("type")
    if thinking in {"enabled", "adaptive"}:
        body.pop("temperature", None)  # it could only be 1
    if thinking == "enabled" and "4-6" in body["model"]:
        # Told by an effort, as Anthropic wants it of this model.
        body["thinking"], body["output_config"] = (
            {"type": "adaptive", "display": "summarized"},
            {"effort": "medium"},
        )
    return body


def without_foreign(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_foreign(each)
            for name, each in value.items()
            if each is not None and each != [] and each is not False and name not in NOT_CARRIED
        }
    return [without_foreign(each) for each in value] if isinstance(value, list) else value


def blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [text(content)]
    return [comparable_block(block) for block in content]


def comparable_block(block: dict[str, Any]) -> Any:
    match block["type"]:
        case "thinking" if block["signature"].startswith("sealed:"):
            return block | {"signature": json.loads(block["signature"][7:])["signature"]}
        case "redacted_thinking" if block["data"].startswith("sealed:"):
            return block | {"data": json.loads(block["data"][7:])["redacted"]}
        case "tool_result" if isinstance(block.get("content"), list):
            return block | {"content": blocks(block["content"])}
        case "server_tool_use" | "web_search_tool_result" | "tool_addition" | "tool_removal":
            return None
        case "tool_reference":
            return text(f"The tool {block['tool_name']} can be called now.")
        case "document" if block["source"]["type"] == "text":
            return text("\n\n".join(filter(None, [block.get("title"), block["source"]["data"]])))
        case "search_result":
            said = [block["title"], block["source"], *(part["text"] for part in block["content"])]
            return text("\n\n".join(said))
        case _:
            return block


@needs_recordings
@pytest.mark.parametrize("body", RECORDINGS)
def test_what_is_read_is_in_the_hubs_one_way_of_writing(body):
    """The writers of all upstreams count on it."""
    request, fault = read_or_fault(body)

    assert fault or normalized(request) == request


# Messages.


def test_system_prompts_are_instructions_or_parts():
    """Parts only where the cache tells them apart."""
    cached = text("B", cache_control={"type": "ephemeral", "ttl": "1h"})

    assert read(system="A")["instructions"] == "A"
    assert read(system=[text("A"), text("B")])["instructions"] == "A\n\nB"
    request = read(system=[text("A"), cached])
    assert "instructions" not in request
    assert request["input"][0] == {
        "type": "message",
        "role": "developer",
        "content": [
            {"type": "input_text", "text": "A"},
            {
                "type": "input_text",
                "text": "B",
                "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"},
            },
        ],
    }


def test_a_turn_of_the_assistant_becomes_items_in_their_order():
    """Thinking carries its signature as it stands; what hosted tools did is left out."""
    turn = assistant(
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "redacted_thinking", "data": "blob"},
        text("A"),
        text("B"),
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"b": 1.0, "a": [2]}},
    )

    assert items(turn) == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "sig",
        },
        {"type": "reasoning", "summary": []},
        {"type": "reasoning", "summary": [], "encrypted_content": "blob"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "A"}, {"type": "output_text", "text": "B"}],
        },
        {"type": "function_call", "call_id": "t", "name": "f", "arguments": '{"b":1.0,"a":[2]}'},
    ]


def test_results_are_outputs_and_say_whether_they_failed():
    """Whatever they hold."""
    turn = user(
        {"type": "tool_result", "tool_use_id": "a", "content": "3"},
        {"type": "tool_result", "tool_use_id": "b", "content": [text("x")], "is_error": True},
        {"type": "tool_result", "tool_use_id": "c"},
        text("So?"),
    )

    assert items(turn) == [
        {"type": "function_call_output", "call_id": "a", "output": "3"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [{"type": "input_text", "text": "x"}],
            "status": "incomplete",
        },
        {"type": "function_call_output", "call_id": "c", "output": ""},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "So?"}]},
    ]


def test_the_system_may_speak_in_the_middle():
    """Recent models know that."""
    assert items(*HI, {"role": "system", "content": "Be brief"})[1] == {
        "type": "message",
        "role": "system",
        "content": [{"type": "input_text", "text": "Be brief"}],
    }


def source(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": kind, **members}


CONTENT = [
    (
        {"type": "image", "source": source("base64", media_type="image/png", data="AA==")},
        [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}],
    ),
    (
        {"type": "image", "source": source("url", url="http://a"), "cache_control": {"type": "ephemeral"}},
        [{"type": "input_image", "image_url": "http://a", "prompt_cache_breakpoint": {"mode": "explicit"}}],
    ),
    (
        {"type": "image", "source": source("file", file_id="f")},
        [{"type": "input_image", "file_id": "f"}],
    ),
    (
        {"type": "document", "source": source("base64", media_type="application/pdf", data="AA==")},
        [
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,AA==",
                "filename": "document.pdf",
            }
        ],
    ),
    (
        {"type": "document", "source": source("url", url="http://a"), "title": "T"},
        [{"type": "input_file", "file_url": "http://a", "filename": "T"}],
    ),
    (
        {"type": "document", "source": source("file", file_id="f")},
        [{"type": "input_file", "file_id": "f"}],
    ),
    (
        {"type": "document", "source": source("text", data="D"), "title": "T", "context": "C"},
        [{"type": "input_text", "text": "T\n\nC\n\nD"}],
    ),
    (
        {"type": "document", "source": source("content", content="D")},
        [{"type": "input_text", "text": "D"}],
    ),
    (
        {
            "type": "document",
            "title": "T",
            "source": source(
                "content", content=[text("A"), {"type": "image", "source": source("url", url="u")}]
            ),
        },
        [
            {"type": "input_text", "text": "T"},
            {"type": "input_text", "text": "A"},
            {"type": "input_image", "image_url": "u"},
        ],
    ),
    (
        {"type": "search_result", "title": "T", "source": "S", "content": [text("A")]},
        [{"type": "input_text", "text": "T\n\nS\n\nA"}],
    ),
]


@pytest.mark.parametrize(("block", "parts"), CONTENT)
def test_each_block_of_the_user_has_its_parts(block, parts):
    """Plain text is told as text: files are not everybody's."""
    assert items(user(block))[0]["content"] == parts


# Settings.


SETTINGS = [
    ({"temperature": 0.5, "top_p": 1, "top_k": 3}, {"temperature": 0.5, "top_p": 1, "top_k": 3}),
    ({"stop_sequences": ["A"]}, {"stop": ["A"]}),
    ({"metadata": {"user_id": "u"}}, {"safety_identifier": "u"}),
    ({"metadata": {}}, {}),
    ({"service_tier": "standard_only"}, {"service_tier": "default"}),
    ({"service_tier": "auto"}, {"service_tier": "auto"}),
    ({"thinking": {"type": "disabled"}}, {"reasoning": {"effort": "none"}}),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking_budget": 1024, "reasoning": {"effort": "low", "summary": "auto"}},
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 31_999}},
        {"thinking_budget": 31_999, "reasoning": {"effort": "xhigh", "summary": "auto"}},
    ),
    ({"thinking": {"type": "adaptive"}}, {"reasoning": {"summary": "auto"}}),
    (
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
        {"reasoning": {"effort": "max"}},
    ),
    ({"output_config": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}}},
    ),
    (
        {"output_format": {"type": "json_schema", "schema": {}}},
        {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {}}}},
    ),
    ({"stream": True}, {"stream": True}),
    ({"container": None, "mcp_servers": [], "context_management": {"edits": []}, "speed": "fast"}, {}),
    (
        {"tools": [{"name": "f", "description": "D", "input_schema": {"type": "object"}}]},
        {
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "description": "D",
                    "parameters": {"type": "object"},
                    "strict": False,
                }
            ]
        },
    ),
    (
        {
            "tools": [
                {
                    "type": "web_search_20250305",
                    "name": "web_search",
                    "max_uses": 2,
                    "allowed_domains": ["a"],
                    "user_location": {"type": "approximate", "city": "Oslo"},
                }
            ],
            "tool_choice": {"type": "tool", "name": "web_search"},
        },
        {
            "tools": [
                {
                    "type": "web_search",
                    "filters": {"allowed_domains": ["a"]},
                    "user_location": {"type": "approximate", "city": "Oslo"},
                }
            ],
            "max_tool_calls": 2,
            "include": ["web_search_call.action.sources"],
            "tool_choice": {"type": "web_search"},
        },
    ),
    (
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ),
    ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
    ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
    (
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tool_choice": "auto", "parallel_tool_calls": False},
    ),
    ({"tool_choice": {"type": "tool", "name": "f"}}, {"tool_choice": {"type": "function", "name": "f"}}),
]


@pytest.mark.parametrize(("body", "request_members"), SETTINGS)
def test_each_setting(body, request_members):
    """In the hub's words."""
    assert settings_of(**body) == request_members


def test_a_long_name_of_the_user_is_told_by_its_digest():
    """Others take 64 characters; it stays the same for the same user."""
    first, again, other = (
        settings_of(metadata={"user_id": name * 65})["safety_identifier"] for name in ("a", "a", "b")
    )

    assert first == again != other
    assert len(first) == 64


FAULTS = [
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"max_tokens": None}, "max_tokens", "missing_required_parameter"),
    ({"max_tokens": "9"}, "max_tokens", "invalid_type"),
    ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": ["Hi"]}, "messages.0", "invalid_type"),
    ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages.0.role", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages.0.content", "invalid_type"),
    ({"messages": [user("Hi")]}, "messages.0.content.0", "invalid_type"),
    ({"messages": [user({})]}, "messages.0.content.0.type", "missing_required_parameter"),
    ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text", "missing_required_parameter"),
    (
        {"messages": [*HI, assistant(text("A"), {"type": "container_upload"})]},
        "messages.1.content.1.type",
        "unsupported_parameter",
    ),
    (
        {"messages": [user({"type": "container_upload"})]},
        "messages.0.content.0.type",
        "unsupported_parameter",
    ),
    (
        {"messages": [user({"type": "image", "source": {"type": "odd"}})]},
        "messages.0.content.0.source.type",
        "unsupported_parameter",
    ),
    (
        {"messages": [user({"type": "document", "source": {"type": "odd"}})]},
        "messages.0.content.0.source.type",
        "unsupported_parameter",
    ),
    (
        {
            "messages": [
                user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference"}]})
            ]
        },
        "messages.0.content.0.content.0.tool_name",
        "missing_required_parameter",
    ),
    (
        {"messages": [assistant({"type": "tool_use", "id": "t", "name": "f", "input": []})]},
        "messages.0.content.0.input",
        "invalid_type",
    ),
    ({"system": 3}, "system", "invalid_type"),
    ({"system": [{"type": "image"}]}, "system.0.type", "unsupported_parameter"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"stop_sequences": [1]}, "stop_sequences.0", "invalid_type"),
    ({"tools": [{"name": "f"}]}, "tools.0.input_schema", "missing_required_parameter"),
    ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0.type", "unsupported_parameter"),
    (
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["a"]}]},
        "tools.0.blocked_domains",
        "unsupported_parameter",
    ),
    ({"tool_choice": {"type": "odd"}}, "tool_choice.type", "unsupported_parameter"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "missing_required_parameter"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "missing_required_parameter"),
    ({"output_config": {"format": {"type": "odd"}}}, "output_config.format.type", "unsupported_parameter"),
    ({"mcp_servers": [{}]}, "mcp_servers", "unsupported_parameter"),
    ({"container": "c"}, "container", "unsupported_parameter"),
    ({"inference_geo": "us"}, "inference_geo", "unsupported_parameter"),
    ({"thread": {"type": "create"}}, "thread", "thread_unsupported_request"),
]


@pytest.mark.parametrize(("body", "param", "code"), FAULTS)
def test_each_fault_has_its_path(body, param, code):
    """As Anthropic writes paths."""
    with pytest.raises(ClientFault) as raised:
        read(**body)
    assert (raised.value.status, raised.value.param, raised.value.code) == (400, param, code)


NAMES = st.sampled_from(
    (
        *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config"),
        *(
            "output_format",
            "metadata",
            "stop_sequences",
            "role",
            "content",
            "type",
            "text",
            "source",
            "title",
        ),
        *("thinking", "signature", "input", "id", "name", "tool_use_id", "is_error", "cache_control", "data"),
    )
)
WORDS = st.sampled_from(
    (
        *("user", "assistant", "system", "text", "image", "document", "tool_use", "tool_result", "thinking"),
        *("redacted_thinking", "search_result", "base64", "url", "content", "custom", "web_search_20250305"),
        *("enabled", "tool", "any", "json_schema"),
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, VALUES))
def test_no_shape_of_a_request_is_more_than_a_fault_of_the_client(body):
    """It is read, or refused with the place that is wrong."""
    request, fault = read_or_fault({"model": "m", "max_tokens": 9, "messages": HI, **body})

    assert fault.param if fault else isinstance(request["input"], list)
