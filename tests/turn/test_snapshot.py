"""The response in the middle of its stream: what a poll is told."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.turn.snapshot import Snapshot
from antiphon.turn.unfold import unfold
from official_library import events_of, first_answer
from recorded import exchanges, needs_recordings
from said_recorded import body_of

TEXTS = st.text(min_size=1, max_size=12)
RECORDED = [pytest.param(each, id=each.id) for each in exchanges("openai.responses", "stream")]


def part(kind, member):
    return TEXTS.map(lambda text: {"type": kind, member: text, "annotations": []})


ITEMS = st.one_of(
    st.builds(
        lambda parts: {"type": "message", "role": "assistant", "status": "completed", "content": parts},
        st.lists(st.one_of(part("output_text", "text"), part("refusal", "refusal")), min_size=1, max_size=3),
    ),
    st.builds(
        lambda texts: {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text} for text in texts],
        },
        st.lists(TEXTS, max_size=3),
    ),
    TEXTS.map(lambda text: {"type": "function_call", "call_id": "c", "name": "n", "arguments": text}),
    TEXTS.map(lambda text: {"type": "custom_tool_call", "call_id": "c", "name": "n", "input": text}),
)


@st.composite
def responses(draw):
    output = [
        item | {"id": f"item_{number}"} for number, item in enumerate(draw(st.lists(ITEMS, max_size=4)))
    ]
    return {"id": "resp_1", "object": "response", "status": "completed", "usage": {}, "output": output}


def split(events, draw):
    """Tell each delta in two."""
    for event in events:
        text = event.get("delta")
        if not isinstance(text, str):
            yield event
            continue
        at = draw(st.integers(0, len(text)))
        yield event | {"delta": text[:at]}
        yield event | {"delta": text[at:]}


def snapshot_of(events):
    snapshot = Snapshot()
    for event in copy.deepcopy(events):
        snapshot.feed(event)
    return snapshot.response


def texts_in(item):
    """Return what grows in an item, by its place."""
    found = {name: item[name] for name in ("arguments", "input", "code") if isinstance(item.get(name), str)}
    for name in ("content", "summary"):
        for number, each in enumerate(item.get(name) or ()):
            text = each.get("text", each.get("refusal"))
            if isinstance(text, str):
                found[name, number] = text
    return found


def assert_is_legal(told, whole):
    """A partial response has items of the whole, in their order, and of their texts the beginnings."""
    assert told["status"] in {"queued", "in_progress", whole["status"]}
    assert len(told["output"]) <= len(whole["output"])
    for item, last in zip(told["output"], whole["output"], strict=False):
        assert (item["type"], item["id"]) == (last["type"], last["id"])
        texts = texts_in(last)
        for place, text in texts_in(item).items():
            assert texts[place].startswith(text)


@given(responses(), st.data())
def test_any_prefix_is_a_legal_response_and_the_whole_is_the_terminal_one(response, data):
    """Without its terminal event a stream has told all of the output as well."""
    events = list(split(unfold(response), data.draw))
    snapshot = Snapshot()
    for number, event in enumerate(events):
        snapshot.feed(copy.deepcopy(event))
        assert_is_legal(snapshot.response, response)
        if number == len(events) - 2:
            assert snapshot.output == response["output"]
    assert snapshot.response == response


@given(responses(), st.data())
def test_ids_or_indexes_alone_are_enough(response, data):
    """Real upstreams leave either out, and some give an item another id with each event."""
    events = list(split(unfold(response), data.draw))
    without = data.draw(st.sampled_from(["output_index", "item_id", "both"]))
    for number, event in enumerate(events):
        if without in {"output_index", "both"}:
            event.pop("output_index", None)
        if without in {"item_id", "both"}:
            event.pop("item_id", None)
        elif "item_id" in event and without == "item_id":
            event["item_id"] = f"changed_{number}"
    assert snapshot_of(events[:-1])["output"] == response["output"]


@needs_recordings
@pytest.mark.parametrize("exchange", RECORDED)
def test_recorded_streams_are_told_as_their_terminal_event_does(exchange):
    """And on the way there as much as has come."""
    events = events_of(first_answer(body_of(exchange)))
    whole = next((event["response"] for event in reversed(events) if event.get("response")), None)
    if whole is None or not whole.get("output"):
        pytest.skip("its terminal event tells no output")
    snapshot = Snapshot()
    for event in events:
        snapshot.feed(copy.deepcopy(event))
        if snapshot.response is not None and event is not events[-1]:
            assert len(snapshot.output) <= len(whole["output"])
    assert snapshot.response == whole


def test_interleaved_items_grow_apart():
    """Text belongs to its item and part, in whatever order deltas come."""
    snapshot = Snapshot()
    for number in (0, 1):
        item = {"type": "message", "id": f"m{number}", "content": []}
        snapshot.feed({"type": "response.output_item.added", "output_index": number, "item": item})
    for item_id, index, text in (
        ("m1", 0, "a"),
        ("m0", 1, "b"),
        ("m1", 0, "c"),
        ("m0", 0, "d"),
        ("m0", 1, "e"),
    ):
        snapshot.feed(
            {
                "type": "response.output_text.delta",
                "item_id": item_id,
                "output_index": 0,
                "content_index": index,
                "delta": text,
            }
        )
    assert [[each["text"] for each in item["content"]] for item in snapshot.output] == [["d", "be"], ["ac"]]


def test_a_closing_event_mends_what_was_lost():
    """It brings the text whole."""
    snapshot = Snapshot()
    snapshot.feed(
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}}
    )
    at = {"item_id": "m", "output_index": 0, "content_index": 0}
    snapshot.feed({"type": "response.output_text.delta", **at, "delta": "Hel"})
    snapshot.feed({"type": "response.output_text.done", **at, "text": "Hello"})
    assert snapshot.output[0]["content"][0]["text"] == "Hello"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                ["type", "item_id", "output_index", "content_index", "delta", "item", "part", "response"]
            ),
            st.one_of(
                st.none(),
                st.integers(-2, 3),
                st.sampled_from(
                    [
                        "response.output_item.added",
                        "response.output_item.done",
                        "response.output_text.delta",
                        "response.content_part.added",
                        "response.completed",
                        "response.created",
                        "x",
                    ]
                ),
                st.just({"id": "x", "content": [1, {}]}),
                st.just({"output": [3, {"id": "x"}]}),
            ),
        )
    )
)
def test_nothing_that_an_upstream_tells_breaks_it(events):
    """What makes no sense changes nothing."""
    snapshot = Snapshot()
    for event in events:
        snapshot.feed(event)
        assert isinstance(snapshot.output, list)
