"""Finished responses told as streams."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.turn.grammar import violations
from antiphon.turn.unfold import ending_of, opened, unfold

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}],
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Think about it"}],
    "encrypted_content": "gAAA",
}


def response(*output, **members):
    return {
        "id": "resp_cached",
        "object": "response",
        "created_at": 1764967971,
        "status": "completed",
        "model": "m",
        "output": list(output),
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        **members,
    }


def types(events):
    return [event["type"].removeprefix("response.") for event in events]


def test_a9_a_cached_answer_is_replayed_as_events():
    """Row A9: a message is told from `created` to `completed`, whose response has the cached id and text."""
    events = unfold(response(MESSAGE))
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert "".join(event["delta"] for event in events if "delta" in event) == "Hello there"
    assert events[-1]["response"]["id"] == "resp_cached"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello there"
    assert violations(events) == []


def test_a10_a_reasoning_item_is_replayed_with_its_summary():
    """Row A10: the summary's deltas and done events carry `summary_index` 0 and the whole text."""
    events = unfold(response(REASONING))
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "completed",
    ]
    about_summary = [event for event in events if "reasoning_summary" in event["type"]]
    assert {event["summary_index"] for event in about_summary} == {0}
    assert [event["delta"] for event in events if "delta" in event] == ["Think about it"]
    assert about_summary[2]["text"] == about_summary[3]["part"]["text"] == "Think about it"
    assert violations(events) == []


def test_an_item_is_opened_with_zero_values():
    """Rule 6: what will be streamed is empty at first; what identifies the item is there."""
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "n", "arguments": "{}", "extra": 1}
    assert opened(call) == {**call, "arguments": "", "status": "in_progress"}
    assert opened(REASONING) == {"id": "rs_1", "type": "reasoning", "summary": []}
    assert opened(MESSAGE)["content"] == []


def test_annotations_and_logprobs_are_told():
    """Nothing of a text part is lost on the way: citations have events, log probabilities go with the text."""
    part = {
        "type": "output_text",
        "text": "x",
        "annotations": [{"type": "url_citation", "url": "u"}, {"type": "file_path", "file_id": "f"}],
        "logprobs": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}],
    }
    events = unfold(response({**MESSAGE, "content": [part, {"type": "refusal", "refusal": "No."}]}))
    assert [event["annotation"] for event in events if "annotation" in event] == part["annotations"]
    assert [event["logprobs"] for event in events if "logprobs" in event] == [part["logprobs"]] * 2
    assert violations(events) == []


@pytest.mark.parametrize(
    ("item", "body"),
    [
        (
            {"type": "web_search_call", "action": {"type": "search"}},
            ["in_progress", "searching", "completed"],
        ),
        ({"type": "web_search_call", "status": "failed"}, ["in_progress", "searching"]),
        ({"type": "mcp_list_tools", "tools": [{"name": "t"}]}, ["in_progress", "completed"]),
        ({"type": "mcp_list_tools", "tools": [], "error": {"code": 1}}, ["in_progress", "failed"]),
        (
            {"type": "mcp_call", "arguments": "{}", "status": "failed"},
            ["in_progress", "delta", "done", "failed"],
        ),
        (
            {"type": "shell_call", "action": {"commands": ["ls", ""]}},
            ["added", "delta", "done", "added", "done"],
        ),
        (
            {"type": "code_interpreter_call", "code": None},
            ["in_progress", "done", "interpreting", "completed"],
        ),
        ({"type": "x_search_call"}, []),
    ],
)
def test_hosted_calls_go_through_their_phases(item, body):
    """Each kind of call has its own events; a call that failed is not called completed."""
    events = unfold(response({"id": "i", "call_id": "c", **item}))
    assert [event["type"].rpartition(".")[2] for event in events[3:-2]] == body
    assert violations(events) == []


def test_responses_of_strange_shape_are_told_all_the_same():
    """What is not understood is not streamed, and stands in the finished item."""
    strange = [
        "text",
        {"type": ["list"], "content": 5},
        {"type": "message", "content": "text"},
        {"type": "message", "content": [{"type": "output_audio"}, {"type": 1, "text": None}]},
        {"type": "shell_call", "action": None},
    ]
    for item in strange:
        events = unfold(response(item))
        assert events[-2]["item"] == item
    assert types(unfold({"output": None}))[-1] == "completed"


def test_the_ending_follows_the_status_or_what_stands_for_it():
    """An unfinished or cancelled response has no stream."""
    assert ending_of({"status": "incomplete"}) == "incomplete"
    assert ending_of({"error": {"code": "x"}}) == "failed"
    assert ending_of({"incomplete_details": {"reason": "max_output_tokens"}}) == "incomplete"
    for status in ("queued", "in_progress", "cancelled", "complete", 5):
        with pytest.raises(ValueError, match="no stream"):
            ending_of({"status": status})


TEXT = st.text(max_size=12)
PARTS = st.fixed_dictionaries(
    {"type": st.just("output_text"), "text": TEXT},
    optional={
        "annotations": st.lists(st.fixed_dictionaries({"type": TEXT}), max_size=2),
        "logprobs": st.lists(st.fixed_dictionaries({"token": TEXT}), max_size=2),
        "unknown": TEXT,
    },
) | st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXT})
REASONS = st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": TEXT})
SUMMARIES = st.fixed_dictionaries({"type": st.just("summary_text"), "text": TEXT})
STATUS = st.sampled_from(["completed", "incomplete"])


def items(kind, required=None, optional=None):
    return st.fixed_dictionaries(
        {"type": st.just(kind), "id": st.uuids().map(str), **(required or {})},
        optional={"unknown_member": TEXT, **(optional or {})},
    )


CALL = {"call_id": TEXT.filter(bool), "name": TEXT.filter(bool)}
HOSTED = STATUS | st.just("failed")
ERROR = st.none() | st.fixed_dictionaries({"code": TEXT})
ITEMS = st.one_of(
    items(
        "message", {"content": st.lists(PARTS, max_size=3), "status": STATUS}, {"role": st.just("assistant")}
    ),
    items(
        "reasoning", {"summary": st.lists(SUMMARIES, max_size=3)}, {"content": st.lists(REASONS, max_size=2)}
    ),
    items("function_call", {**CALL, "arguments": TEXT}, {"status": STATUS}),
    items("custom_tool_call", {**CALL, "input": TEXT}, {"status": STATUS}),
    items("web_search_call", {"status": HOSTED}, {"action": st.dictionaries(TEXT, TEXT, max_size=2)}),
    items(
        "file_search_call", {"queries": st.lists(TEXT, max_size=2), "status": HOSTED}, {"results": st.none()}
    ),
    items("code_interpreter_call", {"code": st.none() | TEXT, "status": HOSTED}, {"outputs": st.none()}),
    items("image_generation_call", {"result": TEXT, "status": HOSTED}),
    items("mcp_list_tools", {"tools": st.lists(st.dictionaries(TEXT, TEXT), max_size=2)}, {"error": ERROR}),
    items("mcp_call", {"arguments": TEXT, "status": HOSTED}, {"output": TEXT, "error": ERROR}),
    items("shell_call", {"action": st.fixed_dictionaries({"commands": st.lists(TEXT, max_size=3)})}),
    items("compaction", {"encrypted_content": TEXT}),
    items("somebody:extension", {}, {"status": STATUS}),
)
RESPONSES = st.builds(
    lambda output, status, extra: {**extra, **response(*output, status=status)},
    st.lists(ITEMS, max_size=5),
    st.sampled_from(["completed", "incomplete", "failed"]),
    st.dictionaries(TEXT, st.none() | TEXT | st.integers() | st.floats(allow_nan=False), max_size=3),
)


@given(RESPONSES)
def test_every_stream_keeps_the_grammar_and_loses_nothing(answer):
    """Whatever a response holds: legal order, one terminal event, contiguous numbers, the response as it is."""
    before = copy.deepcopy(answer)
    events = unfold(answer)
    assert violations(events) == []
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == before
    assert [event["item"] for event in events if event["type"].endswith("output_item.done")] == before[
        "output"
    ]
    assert (
        sum(
            event["type"].rpartition(".")[2] in ("completed", "incomplete", "failed")
            for event in events
            if "response" in event
        )
        == 1
    )
