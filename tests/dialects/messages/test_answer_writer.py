"""Events of the hub as Anthropic's clients read them."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.registry import CLIENTS
from antiphon.dialects.translation import Framing, Translation
from antiphon.recording import Mode, State
from antiphon.turn.making import EventMaker
from antiphon.turn.response import usage_of
from antiphon.turn.unfold import unfold
from antiphon.wire.sse import parse_frame
from official_anthropic import assembled
from recorded import exchanges, needs_recordings
from translated import LARGEST_FRAME, read_recording, telling, whole


def write(events: Sequence[dict[str, Any]]) -> list[bytes]:
    return CLIENTS["messages"].writer(telling("messages")).feed(events)


def data(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """The events of a stream, which must be named as their data says."""
    parsed = [parse_frame(frame) for frame in frames]
    told = [json.loads(event.data) for event in parsed if event]
    assert [event.type for event in parsed if event] == [event["type"] for event in told]
    return told


def making() -> EventMaker:
    told = telling("messages")
    maker = EventMaker(told.response, told.make_id)
    maker.begin()
    return maker


def finished(maker: EventMaker, status: str = "completed", reason: str | None = None) -> list[dict[str, Any]]:
    usage = usage_of(
        input_tokens=10, output_tokens=4, cached_tokens=3, cache_write_tokens=2, reasoning_tokens=1
    )
    maker.finish(status, reason=reason, usage=usage, completed_at=1)
    return json.loads(json.dumps(maker.drain()))


def message_of(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The message as the official library assembles it; our fold must say the same."""
    frames = write(events)
    message = json.loads(MESSAGES.fold(frames))
    official = assembled(frames)
    assert official["content"] == message["content"]
    return message


def unfolded(*output: dict[str, Any], status: str = "completed") -> list[dict[str, Any]]:
    """The events of a response that came whole."""
    response = {"id": "resp_1", "model": "m", "status": status, "output": list(output), "usage": None}
    return json.loads(json.dumps(unfold(response)))


def said(text: str, **members: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], **members}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


# The stream.


def test_a_stream_has_the_order_that_clients_expect():
    """One block after the other; usage at the end, the cache's share beside the input."""
    maker = making()
    for piece in ("Hel", "lo"):
        maker.text(piece)
    events = data(write(finished(maker)))

    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"] == {
        "id": "msg_own",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    assert events[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 2,
            "cache_read_input_tokens": 3,
            "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 1},
        },
    }


def test_text_is_told_as_it_comes():
    """Nothing waits for the end of a block that is open."""
    writer = CLIENTS["messages"].writer(telling("messages"))
    maker = making()
    writer.feed(maker.drain())
    maker.text("a")
    first = data(writer.feed(maker.drain()))
    maker.text("b")

    assert [event["type"] for event in first] == ["content_block_start", "content_block_delta"]
    assert data(writer.feed(maker.drain()))[0]["delta"] == {"type": "text_delta", "text": "b"}


def test_thinking_ends_with_its_envelope_as_the_signature():
    """Clients give it back; without a text it is `redacted_thinking`, without an envelope unsigned."""
    maker = making()
    maker.summary("Hm")
    maker.next_part()
    maker.summary("Ah")
    maker.seal("envelope")
    maker.close_item()
    maker.seal("blob")
    maker.close_item()
    maker.reasoning("raw")
    maker.text("Yes")

    assert message_of(finished(maker))["content"] == [
        {"type": "thinking", "thinking": "Hm\n\nAh", "signature": "envelope"},
        {"type": "redacted_thinking", "data": "blob"},
        {"type": "thinking", "thinking": "raw", "signature": ""},
        {"type": "text", "text": "Yes"},
    ]


def test_calls_that_interleave_are_told_one_after_the_other():
    """Clients know one open block at a time."""
    maker = making()
    first = maker.call("function_call", "call_1", "f")
    second = maker.call("function_call", "call_2", "g")
    for call, piece in ((first, '{"a"'), (second, '{"b"'), (first, ":1}"), (second, ":2}")):
        maker.arguments(call, piece)
    maker.end_call(second)
    maker.end_call(first)
    events = finished(maker)
    message = message_of(events)
    indexes = [event["index"] for event in data(write(events)) if "index" in event]

    assert message["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "call_2", "name": "g", "input": {"b": 2}},
    ]
    assert message["stop_reason"] == "tool_use"
    assert indexes == sorted(indexes)


def test_a_custom_call_is_a_call_with_its_text_in_an_object():
    """In pieces, and escaped."""
    maker = making()
    call = maker.call("custom_tool_call", "call_1", "f")
    for piece in ('a"', "\n", "é"):
        maker.arguments(call, piece)
    maker.end_call(call)
    empty = maker.call("custom_tool_call", "call_2", "f")
    maker.end_call(empty)

    assert [block["input"] for block in message_of(finished(maker))["content"]] == [
        {"input": 'a"\né'},
        {"input": ""},
    ]


def test_citations_are_told_with_what_they_cite():
    """The text itself where nobody quotes the source; what has no place there is left out."""
    maker = making()
    maker.text("Rain today")
    place = {"start_index": 0, "end_index": 4}
    maker.annotate({"type": "url_citation", "url": "http://a", "title": "A", **place})
    maker.annotate({"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 4})
    maker.annotate({"type": "container_file_citation", "file_id": "c", "filename": "b.png", **place})
    maker.annotate({"type": "file_path", "file_id": "f", "index": 0})
    block = message_of(finished(maker))["content"][0]

    assert block["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "http://a",
            "title": "A",
            "cited_text": "Rain",
            "encrypted_index": "",
        },
        {
            "type": "char_location",
            "document_index": 0,
            "document_title": "a.pdf",
            "file_id": "f",
            "cited_text": "",
            "start_char_index": 0,
            "end_char_index": 0,
        },
        {
            "type": "char_location",
            "document_index": 0,
            "document_title": "b.png",
            "file_id": "c",
            "cited_text": "",
            "start_char_index": 0,
            "end_char_index": 0,
        },
    ]


SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "rain", "sources": [{"type": "url", "url": "http://a"}]},
}
CODE = {
    "id": "ci_1",
    "type": "code_interpreter_call",
    "status": "completed",
    "code": "print(1)",
    "container_id": "c",
    "outputs": [{"type": "logs", "logs": "1\n"}],
}
MCP = {
    "id": "mcp_1",
    "type": "mcp_call",
    "status": "completed",
    "server_label": "s",
    "name": "f",
    "arguments": '{"a":1}',
    "output": "out",
    "error": None,
}


def test_what_hosted_tools_did_is_a_call_and_its_result():
    """In two blocks each."""
    found = {
        "type": "web_search_result",
        "url": "http://a",
        "title": "http://a",
        "encrypted_content": "",
        "page_age": None,
    }
    result = {
        "type": "code_execution_result",
        "stdout": "1\n",
        "stderr": "",
        "return_code": 0,
        "content": [],
    }

    assert message_of(unfolded(SEARCH, CODE, MCP))["content"] == [
        {
            "type": "server_tool_use",
            "id": "srvtoolu_ws_1",
            "name": "web_search",
            "input": {"query": "rain"},
        },
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_ws_1", "content": [found]},
        {
            "type": "server_tool_use",
            "id": "srvtoolu_ci_1",
            "name": "code_execution",
            "input": {"code": "print(1)"},
        },
        {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_ci_1", "content": result},
        {
            "type": "mcp_tool_use",
            "id": "mcptoolu_mcp_1",
            "name": "f",
            "server_name": "s",
            "input": {"a": 1},
        },
        {
            "type": "mcp_tool_result",
            "tool_use_id": "mcptoolu_mcp_1",
            "is_error": False,
            "content": [{"type": "text", "text": "out"}],
        },
    ]


def test_hosted_tools_that_failed_say_so():
    """In Anthropic's words."""
    failed = {"status": "failed", "error": {"type": "http_error", "message": "no"}}
    content = message_of(unfolded(SEARCH | failed, CODE | failed, MCP | failed))["content"]

    assert [block["content"]["type"] for block in content[1:4:2]] == [
        "web_search_tool_result_error",
        "code_execution_tool_result_error",
    ]
    assert content[5]["is_error"] is True


def test_items_that_anthropic_does_not_know_are_left_out():
    """The message goes on without them."""
    image = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "AAAA"}

    assert message_of(unfolded(image, said("Hi")))["content"] == [{"type": "text", "text": "Hi"}]


# How it ends.


def test_each_end_has_its_stop_reason():
    """Limits, filters, and refusals with their text and explanation."""
    cut, filtered, refused = making(), making(), making()
    cut.text("Hal")
    filtered.text("Hal")
    refused.refusal("I can't")

    assert message_of(finished(cut, "incomplete", "max_output_tokens"))["stop_reason"] == "max_tokens"
    assert message_of(finished(filtered, "incomplete", "content_filter"))["stop_details"] == {
        "type": "refusal",
        "category": None,
        "explanation": None,
    }
    message = message_of(finished(refused))
    assert (message["stop_reason"], message["content"]) == ("refusal", [{"type": "text", "text": "I can't"}])
    assert message["stop_details"]["explanation"] == "I can't"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", "api_error"),
        ("rate_limit_exceeded", "rate_limit_error"),
        ("slow_down", "overloaded_error"),
    ],
)
def test_a_failure_is_one_error_event(code, kind):
    """After which nothing comes: the client raises."""
    maker = making()
    maker.text("Hal")
    maker.fail(code, "It broke")
    events = data(write(maker.drain()))

    assert [event["type"] for event in events[-2:]] == ["content_block_stop", "error"]
    assert events[-1]["error"] == {"type": kind, "message": "It broke", "details": {"error_code": code}}


def test_an_upstreams_error_may_be_flat_or_missing():
    """The Responses API writes it in two ways, or only in the response that failed."""
    flat = {"type": "error", "code": "server_error", "message": "flat"}
    failed = {"type": "response.failed", "response": {"error": {"code": "x", "message": "failed"}}}

    assert [event["error"]["message"] for event in data(write([flat, failed]))] == ["flat"]
    assert [event["error"]["message"] for event in data(write([failed]))] == ["failed"]


# What was not told in deltas.


def test_what_the_end_holds_beyond_the_deltas_is_told_then():
    """Some upstreams leave events out: the finished response is the truth."""
    call = {
        "id": "fc_1",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "f",
        "arguments": '{"a":1}',
    }
    thought = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm"}],
        "encrypted_content": "blob",
    }
    citation = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    whole_events = unfolded(thought, said("Hello", annotations=[citation]), call, SEARCH)
    only_ends = [whole_events[0], whole_events[-1]]
    only_items = [e for e in whole_events if "delta" not in e["type"] and "part" not in e["type"]]

    assert (
        message_of(only_ends)["content"]
        == message_of(only_items)["content"]
        == message_of(whole_events)["content"]
    )


def test_what_stands_in_deltas_and_at_the_end_is_told_once():
    """Half a text, then the whole."""
    events = unfolded(said("Hello"))
    half = [event | {"delta": "Hel"} if event["type"].endswith("text.delta") else event for event in events]

    assert message_of(half)["content"] == [{"type": "text", "text": "Hello"}]


@needs_recordings
@pytest.mark.parametrize(
    "exchange",
    [
        pytest.param(each, id=each.id)
        for mode in ("stream", "plain")
        for each in exchanges("openai.responses", mode)
        if each.status == 200
    ],
)
def test_answers_of_the_responses_api_become_whole_messages(exchange):
    """Every recording: text, refusals, calls and how it ended."""
    try:
        events = read_recording("responses", exchange)
    except AssertionError:
        pytest.skip("the upstream's own stream breaks the grammar")
    response = whole(events)
    frames = write(events)
    if response["status"] == "failed":
        assert data(frames)[-1]["type"] == "error"
        return
    message = json.loads(MESSAGES.fold(frames))
    watcher = MESSAGES.watch(Mode.STREAM)
    watcher.feed(frames)
    outcome = watcher.close(clean=True)
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    kinds = ("function_call", "custom_tool_call")
    calls = [item["call_id"] for item in response["output"] if item["type"] in kinds]

    assert [block["text"] for block in message["content"] if block["type"] == "text"] == [
        text for part in parts if (text := part.get("text") or part.get("refusal"))
    ]
    assert [block["id"] for block in message["content"] if block["type"] == "tool_use"] == calls
    assert outcome.state is (
        State.COMPLETED if message["stop_reason"] in {"end_turn", "tool_use"} else State.INCOMPLETE
    )
    assert outcome.usage.input_tokens == (response["usage"] or {}).get("input_tokens", 0)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6))
def test_any_course_of_an_answer_is_one_message(seed):
    """Whatever the machine of events tells, blocks come whole and one after the other."""
    choose = random.Random(seed)
    maker = making()
    open_calls = []
    for _ in range(choose.randrange(12)):
        match choose.randrange(8):
            case 0:
                maker.text("t")
            case 1:
                maker.summary("s")
            case 2:
                maker.reasoning("r")
            case 3:
                maker.refusal("n")
            case 4:
                open_calls.append(maker.call("function_call", f"call_{len(open_calls)}", "f"))
            case 5:
                maker.item(dict(SEARCH))
                open_calls.clear()
            case 6:
                maker.seal("e")
            case _:
                for call in open_calls:
                    maker.end_call(call)
    frames = write(finished(maker))
    events = data(frames)
    blocks = [
        (event["type"], event["index"]) for event in events if event["type"].startswith("content_block_")
    ]
    state, index = "closed", -1
    for kind, at in blocks:
        if kind == "content_block_start":
            assert (state, at) == ("closed", index + 1)
            state, index = "open", at
        else:
            assert (state, at) == ("open", index)
            state = "closed" if kind == "content_block_stop" else state

    assert state == "closed"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]


def test_a_sign_of_life_is_an_event_that_clients_skip():
    """Where the upstream sends a comment or a ping."""
    told = telling("messages")
    reader = CLIENTS["messages"].writer(told)
    translation = Translation(_Silent(), reader, Framing.SSE, LARGEST_FRAME, MESSAGES.keep_alive)

    assert translation.feed(b": still there\n\nevent: ping\ndata: {}\n\n") == [MESSAGES.keep_alive] * 2
    assert data([MESSAGES.keep_alive]) == [{"type": "ping"}]


class _Silent:
    """A reader that is never asked."""

    def feed(self, data: bytes, event_type: str) -> None:
        raise AssertionError(data, event_type)

    def close(self, *, clean: bool) -> None:
        raise AssertionError(clean)

    def fail(self, code: str, message: str) -> None:
        raise AssertionError(code, message)

    def drain(self) -> list[dict[str, Any]]:
        return []
