"""The machine that makes events: whatever is said, in whatever order, the stream obeys the grammar."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.turn.grammar import violations
from antiphon.turn.making import EventMaker
from antiphon.turn.response import begun
from antiphon.turn.unfold import unfold
from said import said_response

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("text", "refusal", "reasoning", "summary")), TEXT),
        st.tuples(st.just("annotate"), st.just({"type": "url_citation", "url": "https://a"})),
        st.tuples(st.sampled_from(("next_part", "close_item")), st.none()),
        st.tuples(st.just("seal"), TEXT),
        st.tuples(st.sampled_from(("function_call", "custom_tool_call")), TEXT),
        st.tuples(st.sampled_from(("arguments", "end_call")), st.tuples(st.integers(0, 3), TEXT)),
        st.tuples(
            st.just("item"),
            st.just({"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {}}),
        ),
    ),
    max_size=20,
)


def maker() -> EventMaker:
    numbers = itertools.count()
    response = begun({"input": []}, response_id="resp_1", created_at=1, model="m")
    made = EventMaker(response, lambda prefix: f"{prefix}{next(numbers)}")
    made.begin()
    return made


def play(made: EventMaker, steps) -> None:
    calls = []
    for name, value in steps:
        if name in {"function_call", "custom_tool_call"}:
            calls.append(made.call(name, f"call_{len(calls)}", value))
        elif name in {"arguments", "end_call"}:
            place, text = value
            if place < len(calls) and calls[place] in made._calls:
                made.arguments(calls[place], text) if name == "arguments" else made.end_call(calls[place])
        elif value is None:
            getattr(made, name)()
        else:
            getattr(made, name)(value)


def events_of(made: EventMaker):
    return json.loads(json.dumps(made.drain()))


@given(STEPS, st.sampled_from(("completed", "incomplete")))
def test_whatever_is_said_obeys_the_grammar(steps, status):
    """Deltas add up to what the closing events and the response say; every item is closed once."""
    made = maker()
    play(made, steps)
    reason = "max_output_tokens" if status == "incomplete" else None
    made.finish(status, reason=reason, usage={}, completed_at=2)
    assert violations(events_of(made)) == []


@given(STEPS)
def test_a_failure_obeys_the_grammar_wherever_it_comes(steps):
    """An error event and the failed response end the stream, with what there was of it."""
    made = maker()
    play(made, steps)
    made.fail("server_error", "It broke.")
    events = events_of(made)
    assert violations(events) == []
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]


@given(STEPS)
def test_the_response_says_the_same_when_it_is_unfolded(steps):
    """Whoever is answered from the cache in the other mode is told the same."""
    made = maker()
    play(made, steps)
    made.finish("completed", usage={}, completed_at=2)
    response = events_of(made)[-1]["response"]
    assert violations(unfold(response)) == []
    assert said_response(unfold(response)[-1]["response"]) == said_response(response)


def test_only_the_last_item_of_a_cut_answer_is_incomplete():
    """What came after an item had ended it (Open Responses: a completed item is immutable)."""
    made = maker()
    made.text("Let me look.")
    first = made.call("function_call", "call_1", "look")
    made.arguments(first, '{"a":')
    made.finish("incomplete", reason="max_output_tokens", usage={}, completed_at=2)
    output = events_of(made)[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["completed", "incomplete"]
    assert output[1]["arguments"] == '{"a":'


def test_calls_may_be_open_at_the_same_time():
    """Fragments of several calls that interleave reach the call that each belongs to."""
    made = maker()
    one, two = made.call("function_call", "call_1", "a"), made.call("function_call", "call_2", "b")
    for call, text in ((one, "{"), (two, "["), (one, "}"), (two, "]")):
        made.arguments(call, text)
    made.finish("completed", usage={}, completed_at=2)
    events = events_of(made)
    assert violations(events) == []
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ["{}", "[]"]


def test_what_later_turns_need_stands_in_the_reasoning_item():
    """In the item that is open, or in one of its own where there was no reasoning to be shown."""
    made = maker()
    made.summary("Thinking")
    made.seal("blob")
    made.text("Hi")
    made.seal("alone")
    made.finish("completed", usage={}, completed_at=2)
    output = events_of(made)[-1]["response"]["output"]
    assert [(item["type"], item.get("encrypted_content")) for item in output] == [
        ("reasoning", "blob"),
        ("message", None),
        ("reasoning", "alone"),
    ]
    assert output[2]["summary"] == []


def test_nothing_is_said_after_the_end():
    """The first verdict stands."""
    made = maker()
    made.finish("completed", usage={}, completed_at=2)
    made.fail("server_error", "Too late")
    made.finish("incomplete", reason="content_filter", usage={}, completed_at=3)
    assert [event["type"] for event in events_of(made)][-1] == "response.completed"


def test_a_translated_answer_carries_its_text_for_convenience():
    """`output_text`, which the official clients compute for themselves."""
    made = maker()
    made.text("A")
    made.item({"id": "x", "type": "web_search_call", "status": "completed"})
    made.text("B")
    made.finish("completed", usage={}, completed_at=2)
    assert events_of(made)[-1]["response"]["output_text"] == "AB"


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_times_and_reasons_stand_where_the_status_wants_them(status):
    """`completed_at` only for what is completed, details only for what is not."""
    made = maker()
    made.finish(status, reason="content_filter", usage={"input_tokens": 1}, completed_at=2)
    response = events_of(made)[-1]["response"]
    details = None if status == "completed" else {"reason": "content_filter"}
    assert (response["completed_at"], response["incomplete_details"]) == (
        2 if status == "completed" else None,
        details,
    )
    assert response["usage"] == {"input_tokens": 1}
