"""A search for tools that the client runs itself: a function for upstreams that have no such thing."""

import json

import pytest

from antiphon.turn.calls import Calls
from antiphon.turn.grammar import violations
from antiphon.turn.making import EventMaker
from antiphon.turn.request import normalized
from antiphon.turn.response import begun
from antiphon.turn.tools import Choice, read_tools
from antiphon.wire.errors import ClientFault
from translated import NOW, whole, write

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": SCHEMA}
SPAWN = {"type": "function", "name": "spawn", "parameters": {"type": "object", "properties": {}}}
FOUND = {"type": "namespace", "name": "agents", "tools": [SPAWN]}
CALL = {
    "type": "tool_search_call",
    "call_id": "c1",
    "status": "completed",
    "execution": "client",
    "arguments": {"query": "agents"},
}
OUTPUT = {
    "type": "tool_search_output",
    "call_id": "c1",
    "status": "completed",
    "execution": "client",
    "tools": [FOUND],
}


def made(*fragments, then=()):
    """The events of an answer that calls the search, and then other functions."""
    request = normalized({"input": "Hi", "tools": [SEARCH]})
    toolset = read_tools(request, hosted=(), upstream="nobody")
    maker = EventMaker(
        begun(request, response_id="resp_1", created_at=int(NOW), model="m"), lambda p: f"{p}1"
    )
    calls = Calls(maker, toolset, lambda prefix: f"{prefix}9")
    maker.begin()
    calls.start(0, "tool_search", "c1")
    for fragment in fragments:
        calls.add(0, fragment)
    for number, name in enumerate(then, 1):
        calls.start(number, name)
        calls.add(number, "{}")
    calls.end_all()
    maker.finish("completed", usage=None, completed_at=int(NOW))
    events = maker.drain()
    assert violations(events) == []
    return events


def test_an_upstream_knows_the_search_as_a_function():
    """With the words and the parameters that the client has for it."""
    body = write("chat", {"input": "Hi", "tools": [SEARCH]}, "openai-chat")

    function = {"name": "tool_search", "description": "Finds tools.", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]


def test_a_search_that_somebody_else_would_run_is_refused():
    """OpenAI runs it where the client does not say that it does."""
    with pytest.raises(ClientFault) as refused:
        write("chat", {"input": "Hi", "tools": [{"type": "tool_search"}]}, "openai-chat")

    assert refused.value.param == "tools[0].type"


def test_its_call_is_an_item_of_its_own_kind():
    """Whose arguments are an object, and of which nothing is streamed."""
    *_, added, done, _ = made('{"query": ', '"agents"}')

    item = CALL | {"id": "tsc_1"}
    assert (added["type"], added["item"]) == (
        "response.output_item.added",
        item | {"status": "in_progress", "arguments": {}},
    )
    assert (done["type"], done["item"]) == ("response.output_item.done", item)


def test_it_stands_between_other_calls():
    """As the upstream had them."""
    output = whole(made('{"query": "x"}', then=("spawn", "tool_search")))["output"]

    assert [item["type"] for item in output] == ["tool_search_call", "function_call", "tool_search_call"]


@pytest.mark.parametrize(("said", "told"), [("", {}), ("who?", {"query": "who?"}), ("[1]", {"query": "[1]"})])
def test_arguments_that_are_no_object_are_a_query(said, told):
    """The client reads an object."""
    assert whole(made(said))["output"][0]["arguments"] == told


def test_the_tools_that_were_found_can_be_called_from_then_on():
    """The output says what they are called, and `tools` what they are."""
    request = {"input": ["…", CALL, OUTPUT], "tools": [SEARCH]}
    request["input"][0] = {"role": "user", "content": "Hi"}
    body = write("chat", request, "openai-chat")

    assert [tool["function"]["name"] for tool in body["tools"]] == ["tool_search", "agents__spawn"]
    call, output = body["messages"][1:]
    function = {"name": "tool_search", "arguments": '{"query":"agents"}'}
    assert call["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert json.loads(output["content"]) == {"tools": ["agents__spawn"]}


@pytest.mark.parametrize("member", ["tools", "call_id"])
def test_an_output_that_lacks_something_is_refused(member):
    """By its path."""
    output = {name: value for name, value in OUTPUT.items() if name != member}

    with pytest.raises(ClientFault) as refused:
        normalized({"input": [CALL, output]})

    assert refused.value.param == f"input[1].{member}"


def test_the_search_can_be_demanded():
    """By its type."""
    request = normalized({"input": "Hi", "tools": [SEARCH], "tool_choice": {"type": "tool_search"}})

    assert read_tools(request, hosted=(), upstream="nobody").choice == Choice("required", name="tool_search")
