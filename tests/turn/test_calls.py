"""Calls as upstreams tell them, in fragments, and what the client is told of them."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.turn.calls import Calls
from antiphon.turn.grammar import violations
from antiphon.turn.making import EventMaker
from antiphon.turn.response import begun
from antiphon.turn.tools import read_tools
from antiphon.wire.errors import UpstreamFault

TOOLS = [
    {"type": "function", "name": "look"},
    {"type": "custom", "name": "write"},
    {"type": "namespace", "name": "files", "tools": [{"type": "function", "name": "open"}]},
]


class Stage:
    """Calls, and what was made of them."""

    def __init__(self, answer_tool=None, **request):
        numbers = itertools.count()
        response = begun({"input": []}, response_id="resp_1", created_at=1, model="m")
        self.maker = EventMaker(response, lambda prefix: f"{prefix}{next(numbers)}")
        self.maker.begin()
        toolset = read_tools({"tools": TOOLS, **request}, hosted=(), upstream="the upstream")
        self.events = []
        self.calls = Calls(self.maker, toolset, lambda prefix: f"{prefix}made", answer_tool)

    def told(self):
        self.events += json.loads(json.dumps(self.maker.drain()))
        return self.events

    def output(self):
        self.maker.finish("completed", usage={}, completed_at=1)
        events = self.told()
        assert violations(events) == []
        return events[-1]["response"]["output"]


def test_a_call_is_told_under_the_client_s_own_name():
    """The upstream knows a namespace's tool by a flat name."""
    at = Stage()
    at.calls.start(0, "files__open", "call_1")
    at.calls.add(0, "{}")
    (item,) = at.output()
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "files", "open")


def test_a_call_without_an_id_gets_one():
    """Clients answer by it."""
    at = Stage()
    at.calls.start(0, "look")
    assert at.output()[0]["call_id"] == "call_made"


def test_a_name_that_nobody_defined_is_told_as_it_is():
    """A model's mistake is the client's to see."""
    at = Stage()
    at.calls.start(0, "dream", "call_1")
    assert at.output()[0]["name"] == "dream"


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), st.data())
def test_a_wrapped_input_is_unwrapped_however_it_is_cut(text, data):
    """Escapes and surrogate pairs too; spelled with and without escapes."""
    wrapped = json.dumps({"input": text}, ensure_ascii=data.draw(st.booleans()))
    cuts = data.draw(st.lists(st.integers(0, len(wrapped)), max_size=6).map(sorted))
    at = Stage()
    at.calls.start(0, "write", "call_1")
    for start, stop in itertools.pairwise([0, *cuts, len(wrapped)]):
        at.calls.add(0, wrapped[start:stop])
    at.calls.end_all()
    (item,) = at.output()
    assert (item["type"], item["input"]) == ("custom_tool_call", text)


def test_an_input_that_ignores_its_schema_is_told_as_it_came():
    """Nothing that the model said is lost."""
    at = Stage()
    at.calls.start(0, "write", "call_1")
    at.calls.add(0, '{"text": "x"}')
    at.calls.end_all()
    assert at.output()[0]["input"] == '{"text": "x"}'


def test_whole_calls_end_when_another_begins_and_others_stay_open():
    """So that clients may act early, and fragments that interleave are not lost."""
    at = Stage()
    at.calls.start(0, "look", "call_1")
    at.calls.add(0, "{}")
    at.calls.start(1, "look", "call_2")
    at.calls.add(1, '{"a":')
    at.calls.start(2, "look", "call_3")
    at.calls.add(1, "1}")
    done = [event for event in at.told() if event["type"] == "response.output_item.done"]
    assert [event["item"]["call_id"] for event in done] == ["call_1"]
    assert [item["arguments"] for item in at.output()] == ["{}", '{"a":1}', ""]


def test_more_of_a_call_that_had_ended_is_a_fault():
    """White space is not."""
    at = Stage()
    at.calls.start(0, "look", "call_1")
    at.calls.add(0, "{}")
    at.calls.end(0)
    at.calls.add(0, "\n")
    with pytest.raises(UpstreamFault):
        at.calls.add(0, "{}")


def test_surplus_calls_are_dropped_where_only_one_was_allowed():
    """Some upstreams ignore `parallel_tool_calls: false`."""
    at = Stage(parallel_tool_calls=False)
    for key in (0, 1):
        at.calls.start(key, "look", f"call_{key}")
        at.calls.add(key, "{}")
    assert [item["call_id"] for item in at.output()] == ["call_0"]


def test_calls_of_tools_that_are_not_allowed_now_are_dropped():
    """`allowed_tools` is a hard limit."""
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}
    at = Stage(tool_choice=allowed)
    at.calls.start(0, "write", "call_0")
    at.calls.add(0, '{"input": "x"}')
    at.calls.start(1, "look", "call_1")
    assert [item["name"] for item in at.output()] == ["look"]


def test_the_arguments_of_the_answer_tool_are_the_answer():
    """Structured output where the upstream is made to call a tool for it."""
    at = Stage(answer_tool="answer")
    at.calls.start(0, "answer", "call_1")
    at.calls.add(0, '{"a": ')
    at.calls.add(0, "1}")
    (item,) = at.output()
    assert (item["type"], item["content"][0]["text"]) == ("message", '{"a": 1}')
    assert at.calls.count == 0


def test_a_call_without_arguments_has_an_empty_object():
    """Clients parse what they get."""
    at = Stage()
    at.calls.start(0, "look", "call_1")
    at.calls.end_all()
    assert at.output()[0]["arguments"] == "{}"
