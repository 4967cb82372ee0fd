"""Anthropic's answers as events of the hub: recordings, and what they do not hold."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.translation import Structured
from antiphon.turn.grammar import violations
from official_library import frames_of
from recorded import Exchange, exchanges, needs_recordings
from translated import events_in, read_answer, read_recording, telling, unseal, whole

RECORDINGS = [
    pytest.param(exchange, id=exchange.id)
    for mode in ("stream", "plain")
    for exchange in exchanges("anthropic.messages", mode)
]
CLIENT_BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use")
STATUSES = {"max_tokens": "incomplete", "refusal": "incomplete"}


def recorded_message(exchange: Exchange) -> dict[str, Any]:
    """The message of a recording, whichever way it came."""
    body = exchange.body if exchange.mode == "plain" else MESSAGES.fold(frames_of(exchange.body))
    return json.loads(body)


def blocks(message: dict[str, Any], *kinds: str) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] in kinds]


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def streamed(*content: dict[str, Any], stop: str = "end_turn", **delta: Any) -> bytes:
    """A stream of blocks, each given as its `content_block_start` and its deltas."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 3}}}
    ]
    for index, block in enumerate(content):
        deltas = block.pop("deltas", [])
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": each} for each in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, **delta},
            "usage": {"output_tokens": 5},
        }
    )
    return sse(*events, {"type": "message_stop"})


def read(data: bytes, body: dict[str, Any] | None = None, **changes: Any) -> list[dict[str, Any]]:
    events = read_answer("messages", telling(body=body, provider="anthropic", **changes), data, stream=True)
    assert violations(events) == []
    return events


def text_block(*texts: str, **members: Any) -> dict[str, Any]:
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    return {"type": "text", "text": "", "deltas": deltas, **members}


def call_block(*fragments: str, name: str = "f", call_id: str = "toolu_1") -> dict[str, Any]:
    deltas = [{"type": "input_json_delta", "partial_json": fragment} for fragment in fragments]
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}, "deltas": deltas}


# Recordings.


@needs_recordings
@pytest.mark.parametrize("exchange", RECORDINGS)
def test_everything_that_was_recorded_stands_in_the_response(exchange):
    """Text, calls, thinking with its signatures, citations, usage and the status."""
    message = recorded_message(exchange)
    response = whole(read_recording("messages", exchange, telling(provider="anthropic")))
    output = response["output"]
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    texts = [part for part in parts if part["type"] == "output_text"]
    usage = message["usage"]
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0

    assert [part["text"] for part in texts] == [
        block["text"] for block in blocks(message, "text") if block["text"]
    ]
    assert [
        (item["call_id"], item["name"], json.loads(item["arguments"]))
        for item in output
        if item["type"] == "function_call"
    ] == [(block["id"], block["name"], block["input"]) for block in blocks(message, "tool_use")]
    assert [
        (item["summary"][0]["text"] if item["summary"] else "", unseal(item.get("encrypted_content", "")))
        for item in output
        if item["type"] == "reasoning"
    ] == [sealed(block) for block in blocks(message, "thinking", "redacted_thinking")]
    assert [
        (each.get("url") or each["filename"], each.get("cited_text"), each.get("end_index") or each["index"])
        for part in texts
        for each in part["annotations"]
    ] == [
        (
            each.get("url") or each.get("document_title") or each.get("title"),
            each["cited_text"],
            len(block["text"]),
        )
        for block in blocks(message, "text")
        for each in block.get("citations") or []
    ]
    assert response["usage"]["input_tokens"] == usage["input_tokens"] + cached + written
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == cached
    assert response["usage"]["input_tokens_details"]["cache_write_tokens"] == written
    assert response["usage"]["output_tokens"] == usage["output_tokens"]
    assert response["status"] == STATUSES.get(message["stop_reason"], "completed")


def sealed(block: dict[str, Any]) -> tuple[str, Any]:
    if block["type"] == "redacted_thinking":
        return "", {"redacted": block["data"]}
    kept = {"thinking": block["thinking"], "signature": block["signature"]}
    return block["thinking"], kept if block["signature"] else None


OTHER_STOP_REASONS = {"stop_sequence": "end_turn", "pause_turn": "end_turn"}
"""What the hub has no word for."""
CALLS_AND_ENDS_ITS_TURN = "anthropic-anthropic-messages-p-e4eb8d175e"
FALLS_BACK = "anthropic-anthropic-messages-s-4ef6c43a00"
"""Another model went on: a stream has begun under the first one's name, and a client is told of no other."""


@needs_recordings
@pytest.mark.parametrize("exchange", RECORDINGS)
def test_what_was_read_and_written_again_is_the_message_that_was_recorded(exchange):
    """All but what hosted tools did, stop reasons that the hub does not have, and refusals: those have text now."""
    message = recorded_message(exchange)
    told = telling("messages", provider="anthropic")
    data, is_stream = exchange.body, exchange.mode == "stream"
    events = read_answer("messages", told, data, stream=is_stream)
    again = json.loads(MESSAGES.fold(CLIENTS["messages"].writer(told).feed(events)))
    stop = OTHER_STOP_REASONS.get(message["stop_reason"], message["stop_reason"])
    if exchange.id == CALLS_AND_ENDS_ITS_TURN:
        stop = "tool_use"

    if message["stop_reason"] != "refusal":
        assert comparable(again) == comparable(message)
    assert again["stop_reason"] == stop
    assert exchange.id == FALLS_BACK or again["model"] == message["model"]
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert [again["usage"].get(name) or 0 for name in names] == [
        message["usage"].get(name) or 0 for name in names
    ]


def comparable(message: dict[str, Any]) -> list[Any]:
    """The blocks of a message with envelopes opened, and of citations what annotations hold."""
    return [told for block in blocks(message, *CLIENT_BLOCKS) if (told := comparable_block(block))]


def comparable_block(block: dict[str, Any]) -> Any:
    match block["type"]:
        case "text":
            cited = [
                (each.get("url") or each.get("document_title") or each.get("title"), each["cited_text"])
                for each in block.get("citations") or []
            ]
            return block["text"] and (block["text"], cited)
        case "thinking":
            return "thinking", block["thinking"], opened(block["signature"])
        case "redacted_thinking":
            kept = opened(block["data"])
            if isinstance(kept, dict) and "signature" in kept:  # it had no text
                return "thinking", kept["thinking"], kept["signature"]
            return "redacted", kept["redacted"] if isinstance(kept, dict) else kept
        case _:
            return block["id"], block["name"], block["input"]


def opened(text: str) -> Any:
    kept = unseal(text) or text
    return kept["signature"] if isinstance(kept, dict) and kept.get("thinking") else kept


# Content.


def test_the_answer_bears_the_name_of_the_model_that_ended_it():
    """Anthropic may go on with another model in the middle."""
    served = {"type": "fallback", "from": {"model": "claude"}, "to": {"model": "claude-opus-4-8"}}

    assert whole(read(streamed(served, text_block("Hi"))))["model"] == "claude-opus-4-8"


def test_blocks_of_text_that_follow_one_another_are_parts_of_one_message():
    """A citation holds for its block, so each block is a part."""
    cited = {"type": "web_search_result_location", "url": "http://a", "title": "A", "cited_text": "q"}
    block = text_block("wor", "ld", deltas=[{"type": "citations_delta", "citation": cited}])
    block["deltas"] += text_block("wor", "ld")["deltas"]
    response = whole(read(streamed(text_block("Hello "), block)))

    assert [item["type"] for item in response["output"]] == ["message"]
    first, second = response["output"][0]["content"]
    assert (first["text"], first["annotations"]) == ("Hello ", [])
    assert second["annotations"] == [
        {
            "type": "url_citation",
            "url": "http://a",
            "title": "A",
            "start_index": 0,
            "end_index": 5,
            "cited_text": "q",
        }
    ]
    assert response["output_text"] == "Hello world"


def test_thinking_and_calls_come_in_their_order_with_envelopes():
    """Each block of thinking is an item, and its envelope is there when the item is done."""
    thinking = {
        "type": "thinking",
        "thinking": "",
        "signature": "",
        "deltas": [
            {"type": "thinking_delta", "thinking": "Let "},
            {"type": "thinking_delta", "thinking": "me"},
            {"type": "signature_delta", "signature": "sig"},
        ],
    }
    redacted = {"type": "redacted_thinking", "data": "blob"}
    events = read(streamed(thinking, redacted, call_block('{"a":', "1}"), stop="tool_use"))
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]

    assert [item["type"] for item in done] == ["reasoning", "reasoning", "function_call"]
    assert done[0]["summary"] == [{"type": "summary_text", "text": "Let me"}]
    assert unseal(done[0]["encrypted_content"]) == {"thinking": "Let me", "signature": "sig"}
    assert done[1]["summary"] == []
    assert unseal(done[1]["encrypted_content"]) == {"redacted": "blob"}
    assert (done[2]["arguments"], done[2]["status"]) == ('{"a":1}', "completed")
    assert whole(events)["status"] == "completed"


def test_a_call_without_arguments_has_an_empty_object():
    """Anthropic sends no fragment for it."""
    response = whole(read(streamed(call_block(), stop="tool_use")))

    assert [item["arguments"] for item in response["output"]] == ["{}"]


def test_a_call_that_was_cut_off_is_incomplete():
    """Its block ended all the same."""
    response = whole(read(streamed(call_block('{"a": "b'), stop="max_tokens")))

    assert [(item["arguments"], item["status"]) for item in response["output"]] == [
        ('{"a": "b', "incomplete")
    ]
    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )


def test_a_custom_tool_is_called_with_its_text():
    """What wraps it for Anthropic is taken off."""
    body = {"input": "Hi", "tools": [{"type": "custom", "name": "f"}]}
    response = whole(read(streamed(call_block('{"input": "a', '\\nb"}'), stop="tool_use"), body))

    assert [(item["type"], item["input"]) for item in response["output"]] == [("custom_tool_call", "a\nb")]


def test_the_arguments_of_the_answer_tool_are_the_text():
    """For models without structured output."""
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    body = {"input": "Hi", "text": {"format": schema}}
    data = streamed(call_block('{"a"', ":1}", name="answer"), stop="tool_use")
    response = whole(read(data, body, answer_tool="answer", structured=Structured.TOOL))

    assert response["output_text"] == '{"a":1}'
    assert [item["type"] for item in response["output"]] == ["message"]


def test_surplus_calls_are_dropped_where_one_was_asked_for():
    """Models make several all the same."""
    body = {"input": "Hi", "parallel_tool_calls": False, "tools": [{"type": "function", "name": "f"}]}
    calls = call_block("{}"), call_block("{}", call_id="toolu_2")
    response = whole(read(streamed(*calls, stop="tool_use"), body))

    assert [item["call_id"] for item in response["output"]] == ["toolu_1"]


def test_a_web_search_is_one_item_with_its_sources():
    """The call and the result are two blocks; errors are no sources."""
    query = [{"type": "input_json_delta", "partial_json": '{"query":"rain"}'}]
    call = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}, "deltas": query}
    found = [{"type": "web_search_result", "url": "http://a", "title": "A", "encrypted_content": "x"}]
    result = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": found}
    failure = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    second = call | {"id": "srv_2", "deltas": list(query)}
    error = {"type": "web_search_tool_result", "tool_use_id": "srv_2", "content": failure}
    response = whole(read(streamed(text_block("Look:"), call, result, second, error, text_block("Yes."))))

    assert [(item["type"], item["status"]) for item in response["output"]] == [
        ("message", "completed"),
        ("web_search_call", "completed"),
        ("web_search_call", "failed"),
        ("message", "completed"),
    ]
    assert response["output"][1]["action"] == {
        "type": "search",
        "query": "rain",
        "queries": ["rain"],
        "sources": [{"type": "url", "url": "http://a", "title": "A"}],
    }


@pytest.mark.parametrize(
    ("name", "given_input", "kind", "code"),
    [
        ("code_execution", {"code": "print(1)"}, "code_execution_tool_result", "print(1)"),
        ("bash_code_execution", {"command": "ls"}, "bash_code_execution_tool_result", "ls"),
        (
            "text_editor_code_execution",
            {"command": "create", "path": "a"},
            "text_editor_code_execution_tool_result",
            '{"command":"create","path":"a"}',
        ),
    ],
)
def test_code_that_ran_at_anthropic_is_an_item_with_its_logs(name, given_input, kind, code):
    """Whichever of its tools ran it."""
    call = {"type": "server_tool_use", "id": "s", "name": name, "input": given_input}
    content = {"type": "x_result", "stdout": "1\n", "stderr": "!", "return_code": 0}
    result = {"type": kind, "tool_use_id": "s", "content": content}
    item = whole(read(streamed(call, result)))["output"][0]

    assert (item["type"], item["code"], item["outputs"]) == (
        "code_interpreter_call",
        code,
        [{"type": "logs", "logs": "1\n!"}],
    )


def test_a_call_of_an_mcp_server_is_an_item():
    """With its output, or its error."""
    call = {"type": "mcp_tool_use", "id": "m", "name": "f", "server_name": "s", "input": {"a": 1}}
    result = {"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "out"}]}
    good = whole(read(streamed(dict(call), dict(result))))["output"][0]
    bad = whole(read(streamed(dict(call), result | {"is_error": True})))["output"][0]

    assert (good["server_label"], good["arguments"], good["output"], good["error"]) == (
        "s",
        '{"a":1}',
        "out",
        None,
    )
    assert (bad["status"], bad["output"], bad["error"]["content"][0]["text"]) == ("failed", None, "out")


def test_a_paused_turn_is_completed_with_what_it_has():
    """A hosted call without its result was cut off."""
    call = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    response = whole(read(streamed(call, stop="pause_turn")))

    assert (response["status"], response["output"][0]["status"]) == ("completed", "incomplete")


def test_blocks_that_nobody_knows_are_left_out():
    """Nothing that was asked for makes them."""
    response = whole(read(streamed({"type": "compaction", "content": None}, text_block("Hi"))))

    assert response["output_text"] == "Hi"
    assert len(response["output"]) == 1


# How it ends.


def test_a_refusal_is_filtered_content_with_its_explanation():
    """Never completed, or it would be served from the cache."""
    details = {"type": "refusal", "explanation": "No."}
    response = whole(read(streamed(text_block("Well"), stop="refusal", stop_details=details)))

    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "content_filter"},
    )
    assert response["output"][0]["content"][-1] == {"type": "refusal", "refusal": "No."}


def test_a_refusal_without_explanation_has_no_text():
    """There is nothing to tell."""
    response = whole(read(streamed(stop="refusal")))

    assert (response["status"], response["output"]) == ("incomplete", [])


def test_an_error_in_the_stream_fails_the_response_in_anthropics_words():
    """What came before stays."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    data = streamed(text_block("Hal")).partition(b"event: message_delta")[0] + sse(error)
    response = whole(read(data))

    assert response["status"] == "failed"
    assert response["error"] == {"code": "overloaded_error", "message": "Overloaded"}
    assert response["output"][0]["content"][0]["text"] == "Hal"


@pytest.mark.parametrize("error", [None, "gone", {}, {"type": 3}])
def test_an_error_of_any_shape_fails_the_response(error):
    """It is an error by its type."""
    assert whole(read(sse({"type": "error", "error": error})))["status"] == "failed"


def test_without_message_stop_nothing_ends():
    """The engine ends it as broken."""
    data = streamed(text_block("Hi")).partition(b"event: message_stop")[0]
    events = read_answer("messages", telling(provider="anthropic"), data, stream=True)

    assert events[-1]["type"] == "response.output_text.done" or events[-1]["type"].endswith("part.done")


def test_without_a_stop_reason_the_end_is_none():
    """A message that stopped for no reason is not presented as whole."""
    data = sse({"type": "message_start", "message": {}}, {"type": "message_stop"})

    assert whole(read(data))["error"]["code"] == "upstream_truncated"


def test_nothing_is_told_after_the_end():
    """A stream that goes on after it had ended."""
    told = telling(provider="anthropic")
    reader = UPSTREAMS["messages"].reader(told)
    for frame in (b'{"type":"message_start","message":{}}', b'{"type":"error"}', b'{"type":"message_stop"}'):
        reader.feed(frame, "")
    events = reader.drain()

    assert [event["type"] for event in events][-2:] == ["error", "response.failed"]


def test_usage_that_is_not_told_is_counted_here():
    """Imitations of Anthropic leave it out."""
    data = sse(
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )
    usage = whole(read(data))["usage"]

    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] == 2


def test_the_model_and_the_tier_are_those_that_answered():
    """The latest word counts."""
    message = {"model": "claude-x", "usage": {"input_tokens": 1, "service_tier": "priority"}}
    data = sse(
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    )
    response = whole(read(data))

    assert (response["model"], response["service_tier"]) == ("claude-x", "priority")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
MEMBERS = st.sampled_from(
    (
        *("message", "content_block", "delta", "usage", "index", "text", "thinking", "signature", "type"),
        *("id", "name", "input", "citations", "citation", "content", "tool_use_id", "stop_reason", "model"),
    )
)
KINDS = st.sampled_from(
    (
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "message", "text", "thinking", "tool_use", "redacted_thinking"),
        *("server_tool_use", "web_search_tool_result", "mcp_tool_use", "mcp_tool_result", "citations_delta"),
    )
)
ODD = st.recursive(
    JSON_VALUES,
    lambda inner: st.builds(
        lambda kind, members: members | {"type": kind}, KINDS, st.dictionaries(MEMBERS, inner, max_size=4)
    ),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(lambda kind, rest: rest | {"type": kind}, KINDS, st.dictionaries(MEMBERS, ODD, max_size=4)),
        max_size=8,
    )
)
def test_no_shape_of_an_event_breaks_the_reader(events):
    """What is not as it should be costs no more than itself; what is told keeps the grammar."""
    told = read_answer(
        "messages",
        telling(provider="anthropic"),
        sse(*events) + sse({"type": "error", "error": {"message": "enough"}}),
        stream=True,
    )

    assert violations(told) == []


def test_events_are_framed_for_clients_of_the_responses_api():
    """The reader's events go through the writer of the other dialect."""
    told = telling(provider="anthropic")
    events = read_answer("messages", told, streamed(text_block("Hi")), stream=True)
    frames = CLIENTS["responses"].writer(told).feed(events)

    assert events_in(frames) == events
