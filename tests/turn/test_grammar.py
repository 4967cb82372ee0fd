"""The oracle itself: streams that break the grammar are found out."""

import copy

import pytest

from antiphon.turn.events import CATALOGUE
from antiphon.turn.grammar import STREAM, violations
from antiphon.turn.item_grammar import ITEMS
from antiphon.turn.unfold import unfold

ANSWER = {
    "id": "resp_1",
    "status": "completed",
    "usage": {},
    "output": [
        {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {
            "id": "msg",
            "type": "message",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": [{"type": "file_path"}]}],
        },
        {"id": "fc", "type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
        {"id": "sh", "type": "shell_call", "action": {"commands": ["ls"]}},
    ],
}


@pytest.fixture
def events():
    return copy.deepcopy(unfold(ANSWER))


def renumbered(events):
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def find(events, kind):
    return next(number for number, event in enumerate(events) if event["type"] == f"response.{kind}")


def test_a_legal_stream_has_no_violations(events):
    """The oracle is silent where nothing is wrong."""
    assert violations(events) == []


def test_dropping_any_event_is_a_violation(events):
    """Each event is needed, but for those that the grammar makes optional."""
    optional = {"response.in_progress", "response.output_text.annotation.added"}
    for number, event in enumerate(events):
        rest = renumbered(events[:number] + events[number + 1 :])
        assert bool(violations(rest)) is (event["type"] not in optional), event["type"]


def test_exchanging_any_two_neighbours_is_a_violation(events):
    """Order counts, but for an annotation and its text, and for items that may overlap."""
    free = (
        {"response.output_text.delta", "response.output_text.annotation.added"},
        {"response.output_item.added", "response.output_item.done"},
    )
    for number in range(len(events) - 1):
        swapped = list(events)
        swapped[number : number + 2] = swapped[number + 1], swapped[number]
        kinds = {swapped[number]["type"], swapped[number + 1]["type"]}
        if kinds not in free:
            assert violations(renumbered(swapped)), kinds


def test_repeating_any_event_is_a_violation(events):
    """No event may be told twice."""
    for number, event in enumerate(events):
        assert violations(renumbered([*events[: number + 1], event, *events[number + 1 :]])), event["type"]


@pytest.mark.parametrize(
    ("kind", "change", "complaint"),
    [
        ("created", {"sequence_number": 7}, "sequence_number"),
        ("created", {"type": "response.begun"}, "no such event"),
        ("in_progress", {"response": {"id": "resp_2", "status": "in_progress"}}, "id has changed"),
        ("created", {"response": {"id": "resp_1", "status": "in_progress", "output": [1]}}, "not empty"),
        ("created", {"response": {"id": "resp_1", "status": "in_progress", "usage": {}}}, "not null"),
        ("created", {"response": {"id": "resp_1", "status": "completed"}}, "status is completed"),
        ("completed", {"response": {**ANSWER, "status": "failed"}}, "status is failed"),
        ("completed", {"response": {**ANSWER, "output": ANSWER["output"][:2]}}, "lacks an item"),
        ("completed", {"response": {**ANSWER, "output": [*ANSWER["output"], {}]}}, "never streamed"),
        ("completed", {"response": {**ANSWER, "output": [{}] * 4}}, "not what output_item.done said"),
        ("output_item.added", {"output_index": 1}, "output_index is not 0"),
        ("output_item.added", {"item": {"id": "rs", "type": "reasoning"}}, "summary is missing"),
        ("output_item.added", {"item": {"id": "rs", "type": "reasoning", "summary": [1]}}, "summary is not"),
        (
            "output_item.added",
            {"item": {"id": "rs", "type": "reasoning", "summary": [], "status": "completed"}},
            "item.status",
        ),
        (
            "output_item.added",
            {"item": {"id": "other", "type": "reasoning", "summary": []}},
            "id has changed",
        ),
        (
            "output_item.done",
            {"item": {"id": "rs", "type": "reasoning", "summary": []}},
            "not what was streamed",
        ),
        ("content_part.added", {"content_index": 1}, "content_index is not 0"),
        ("content_part.added", {"part": {"type": "output_text", "text": "H"}}, "text is not empty"),
        ("output_text.delta", {"delta": "Ho"}, "the deltas say"),
        ("output_text.delta", {"item_id": "fc"}, "item_id"),
        ("output_text.annotation.added", {"annotation_index": 3}, "annotation_index is not 0"),
        ("output_text.annotation.added", {"annotation": {}}, "annotations are not those"),
        ("content_part.done", {"part": {"type": "output_text", "text": "Ho"}}, "not what was said"),
        ("reasoning_summary_text.delta", {"delta": ""}, "no delta"),
        ("function_call_arguments.done", {"output_index": 9}, "item 9 was not added"),
        ("shell_call_command.done", {"command": "l"}, "the deltas say"),
    ],
)
def test_false_content_is_a_violation(events, kind, change, complaint):
    """Deltas, closing events, items and the terminal response must say the same."""
    events[find(events, kind)] |= change
    assert any(complaint in violation for violation in violations(events))


def test_a_member_that_is_missing_is_a_violation(events):
    """Each event carries the members of its kind."""
    del events[find(events, "output_text.delta")]["logprobs"]
    assert any("without logprobs" in violation for violation in violations(events))


def test_a_failed_stream_may_leave_items_open(events):
    """After `error` only `response.failed` may come; what is finished so far stands in its output."""
    number = find(events, "output_text.delta") + 1
    failed = {"id": "resp_1", "status": "failed", "output": ANSWER["output"][:1]}
    error = {"type": "error", "message": "m"}
    begun = events[:number]
    assert violations(renumbered([*begun, error, {"type": "response.failed", "response": failed}])) == []
    assert violations(renumbered([*begun, {"type": "response.failed", "response": failed}])) == []
    assert violations(renumbered([*begun, error]))
    assert violations(renumbered([*begun, {"type": "response.completed", "response": ANSWER}]))


def test_items_may_overlap_in_time():
    """Rule 3: parallel hosted calls are told apart by their index."""
    calls = [{"id": name, "type": "web_search_call", "status": "completed"} for name in "ab"]
    events = unfold({"id": "r", "status": "completed", "output": calls})
    order = [0, 1, 2, 7, 3, 8, 4, 9, 5, 10, 6, 11, 12]
    assert violations(renumbered([events[number] for number in order])) == []


def test_tables_name_only_events_that_there_are():
    """A transition on a misspelt event could never be taken."""
    edges = {edge.partition(":")[0] for table in ITEMS.values() for state in table.values() for edge in state}
    assert {f"response.{edge}" for edge in edges} <= set(CATALOGUE)
    states = {
        after for table in (STREAM, *ITEMS.values()) for edges in table.values() for after in edges.values()
    }
    known = {state for table in (STREAM, *ITEMS.values()) for state in table} | {"closed"}
    assert states <= known
