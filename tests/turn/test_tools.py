"""Tools of a request: what upstreams with functions alone are told, and what is refused."""

import pytest

from antiphon.turn.tools import Choice, read_tools
from antiphon.wire.errors import ClientFault

LOOK = {"type": "function", "name": "look", "description": "Looks", "parameters": {"type": "object"}}
WRITE = {
    "type": "custom",
    "name": "write",
    "description": "Writes",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
}


def read(*tools, hosted=(), **request):
    return read_tools({"tools": list(tools), **request}, hosted=hosted, upstream="This upstream")


def test_a_custom_tool_is_a_function_with_one_text():
    """Its grammar is told in words."""
    (tool,) = read(WRITE).tools
    assert tool.parameters["required"] == ["input"]
    assert tool.description == ("Writes\n\nThe `input` must match this lark grammar exactly:\nstart: /x/")
    assert tool.item_type == "custom_tool_call"


def test_tools_of_a_namespace_have_flat_names():
    """Two namespaces may have tools of one name."""
    spaces = [{"type": "namespace", "name": name, "tools": [LOOK]} for name in ("a", "b")]
    toolset = read(*spaces)
    assert [tool.wire_name for tool in toolset.tools] == ["a__look", "b__look"]
    assert toolset.wire_name("look", "b") == "b__look"


def test_long_names_fit_and_stay_apart():
    """Most upstreams take 64 characters."""
    tools = [LOOK | {"name": f"{'x' * 50}{end}"} for end in ("a", "b")]
    toolset = read(*({"type": "namespace", "name": name * 40, "tools": tools} for name in ("m", "n")))
    names = [tool.wire_name for tool in toolset.tools]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 64


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, Choice()),
        ("auto", Choice("auto")),
        ("none", Choice("none")),
        ("required", Choice("required")),
        ({"type": "function", "name": "look"}, Choice("required", name="look")),
        ({"type": "custom", "name": "write"}, Choice("required", name="write")),
        ({"type": "web_search"}, Choice("required", hosted="web_search")),
    ],
)
def test_each_form_of_a_choice_is_read(choice, expected):
    """As section 5.2 of the specification has them."""
    assert read(LOOK, WRITE, hosted={"web_search"}, tool_choice=choice).choice == expected


def test_allowed_tools_leave_only_those():
    """Without taking the definitions of the others from earlier calls."""
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "write"}]}
    toolset = read(LOOK, WRITE, tool_choice=choice)
    assert [tool.name for tool in toolset.tools] == ["write"]
    assert toolset.choice == Choice("required")
    assert not toolset.is_allowed("look")
    assert toolset.wire_name("look") == "look"


@pytest.mark.parametrize(
    ("request_", "param", "named"),
    [
        ({"tools": [{"type": "file_search"}]}, "tools[0].type", "file_search"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]},
            "tools[0].tools[0].type",
            "mcp",
        ),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.type", "mcp"),
        ({"tool_choice": {"type": "function", "name": "no"}}, "tool_choice", "no"),
        ({"tool_choice": "sometimes"}, "tool_choice", "sometimes"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "name"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools", "tools"),
    ],
)
def test_what_the_upstream_lacks_is_refused_by_name(request_, param, named):
    """Never dropped: the client would wait for what cannot come."""
    with pytest.raises(ClientFault) as caught:
        read_tools(request_, hosted=(), upstream="This upstream")
    assert caught.value.param == param
    assert named in caught.value.message
