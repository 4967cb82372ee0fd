"""Tools that come and go in the middle of a conversation with Anthropic Messages."""

from typing import Any

import pytest

from antiphon.dialects.registry import CLIENTS
from antiphon.wire.errors import ClientFault

SCHEMA = {"type": "object", "properties": {}}
USER = {"role": "user", "content": "Hi"}


def tool(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": SCHEMA, **members}


def system(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"role": "system", "content": list(changes)}


def added(name: str) -> dict[str, Any]:
    return {"type": "tool_addition", "tool": {"type": "tool_reference", "name": name}}


def removed(name: str) -> dict[str, Any]:
    return {"type": "tool_removal", "tool": {"type": "tool_reference", "name": name}}


def found(*names: str) -> list[dict[str, Any]]:
    """A search that the client ran, and what it found."""
    call = {"type": "tool_use", "id": "t1", "name": "search", "input": {}}
    references = [{"type": "tool_reference", "tool_name": name} for name in names]
    output = {"type": "tool_result", "tool_use_id": "t1", "content": references}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [output]}]


def read(tools: list[dict[str, Any]], *messages: dict[str, Any]) -> dict[str, Any]:
    body = {"model": "m", "max_tokens": 9, "messages": [USER, *messages], "tools": tools}
    return CLIENTS["messages"].read(body)


def names(request: dict[str, Any]) -> list[str]:
    return [each["name"] for each in request.get("tools", ())]


LATER = tool("later", defer_loading=True)


def test_a_deferred_tool_is_not_told_before_something_refers_to_it():
    """Claude Code has one that is only there to keep others deferred."""
    assert names(read([tool("search"), LATER])) == ["search"]
    assert names(read([LATER])) == []


def test_a_tool_that_was_found_is_told():
    """And the model reads that it is there."""
    request = read([tool("search"), LATER, tool("other", defer_loading=True)], *found("later"))

    assert names(request) == ["search", "later"]
    text = {"type": "input_text", "text": "The tool later can be called now."}
    assert request["input"][-1]["output"] == [text]


@pytest.mark.parametrize(
    ("changes", "offered"),
    [
        ([removed("now")], []),
        ([added("later")], ["now", "later"]),
        ([removed("now"), added("now")], ["now"]),
        ([added("later"), removed("later")], ["now"]),
    ],
)
def test_the_last_change_of_a_tool_counts(changes, offered):
    """In one message of the system or in several."""
    assert names(read([tool("now"), LATER], system(*changes))) == offered
    assert names(read([tool("now"), LATER], *map(system, changes))) == offered


def test_a_change_leaves_no_message_behind():
    """Other upstreams are told of tools beside the conversation; what the system says stays."""
    told = {"type": "text", "text": "From now on."}
    request = read([tool("now")], system(removed("now")), system(told, removed("now")))

    roles = [item["role"] for item in request["input"]]
    assert roles == ["user", "system"]


def test_a_tool_can_be_defined_where_it_is_added():
    """Also anew: the later definition is the tool."""
    anew = {"type": "tool_definition", "definition": tool("now", description="Anew.")}
    more = {"type": "tool_definition", "definition": tool("more")}
    changes = [{"type": "tool_addition", "tool": each} for each in (anew, more)]
    request = read([tool("now", description="Old.")], system(*changes))

    assert [(each["name"], each.get("description")) for each in request["tools"]] == [
        ("now", "Anew."),
        ("more", None),
    ]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"type": "tool_addition"}, "messages.1.content.0.tool"),
        ({"type": "tool_addition", "tool": {"name": "x"}}, "messages.1.content.0.tool.type"),
        (
            {"type": "tool_removal", "tool": {"type": "mcp_toolset_reference", "server_name": "x"}},
            "messages.1.content.0.tool.type",
        ),
        (
            {"type": "tool_addition", "tool": {"type": "tool_definition"}},
            "messages.1.content.0.tool.definition",
        ),
        (
            {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"name": "x"}}},
            "messages.1.content.0.tool.definition.input_schema",
        ),
    ],
)
def test_a_change_that_cannot_be_told_is_refused(change, param):
    """By its path."""
    with pytest.raises(ClientFault) as refused:
        read([tool("now")], system(change))

    assert refused.value.param == param
