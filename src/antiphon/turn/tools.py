"""The tools of a request as an upstream can be told of them, and the way back from its calls.

Upstreams that know only functions get functions: a namespace's tools as `namespace__name`, a free-form (custom)
tool as a function with one text parameter `input`, its grammar in the description (specification, section 15.2),
a search for tools that the client runs as a function of its name.
Which wire name stands for which tool is kept, so that calls come back as what the client had defined. What an
upstream lacks and cannot be given this way is refused, never dropped.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from antiphon.turn.events import Item
from antiphon.wire.errors import ClientFault

CALLED: Final = ("function", "custom")
"""Tools that the client itself runs and every upstream can be given."""

TOOL_SEARCH: Final = "tool_search"
_JOINT: Final = "__"
_ITEMS: Final = {
    "function": "function_call",
    "custom": "custom_tool_call",
    TOOL_SEARCH: "tool_search_call",
}
"""The kind of item that a call is, by the type of the tool."""
_NAME_LIMIT: Final = 64
_INPUT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}

Mode = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function, custom tool or search, under the name that the upstream is told."""

    wire_name: str
    type: str
    """`function`, `custom` or `tool_search`."""
    name: str
    namespace: str | None
    definition: Item
    """As the client wrote it."""

    @property
    def item_type(self) -> str:
        """The kind of item that a call of it is."""
        return _ITEMS[self.type]

    @property
    def description(self) -> str | None:
        """What the model is told of it; as a function, a custom tool's format is part of that."""
        told = self.definition.get("description")
        if self.type != "custom":
            return told if isinstance(told, str) else None
        return (
            "\n\n".join(text for text in (told, _format_note(self.definition.get("format"))) if text) or None
        )

    @property
    def parameters(self) -> Item:
        """The JSON schema of its arguments as a function."""
        if self.type == "custom":
            return _INPUT_SCHEMA
        parameters = self.definition.get("parameters")
        return parameters if isinstance(parameters, dict) else {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the model may or must call."""

    mode: Mode = "auto"
    name: str | None = None
    """The wire name of the one tool that must be called; `mode` is then `required`."""
    hosted: str | None = None
    """The type of the hosted tool that must be called; `mode` is then `required`."""


@dataclass(frozen=True, slots=True)
class Toolset:
    """All tools of a request."""

    tools: tuple[Tool, ...] = ()
    """Those that may be called: `allowed_tools` has been applied."""
    hosted: tuple[Item, ...] = ()
    """Tools that the upstream itself runs."""
    choice: Choice = Choice()
    parallel: bool = True
    """Whether several calls may be made in one turn."""
    by_wire_name: dict[str, Tool] = field(default_factory=dict)
    """All defined tools, those that are not allowed too: earlier calls name them."""

    def wire_name(self, name: str, namespace: str | None = None) -> str:
        """Return the name that an earlier call has for the upstream."""
        for tool in self.by_wire_name.values():
            if tool.name == name and tool.namespace == namespace:
                return tool.wire_name
        return _joined(namespace, name)

    def is_allowed(self, wire_name: str) -> bool:
        """Whether a call of this tool may be passed on."""
        return wire_name not in self.by_wire_name or any(tool.wire_name == wire_name for tool in self.tools)


def read_tools(request: Item, *, hosted: Collection[str], upstream: str) -> Toolset:
    """Read the tools of a hub request. Raises ClientFault for those the upstream lacks.

    `hosted` are the types of tools that `upstream` (as errors call it) runs itself.
    """
    run_there: list[Item] = []
    by_wire_name: dict[str, Tool] = {}
    for path, namespace, definition in _flat(request.get("tools") or []):
        kind = definition.get("type")
        if kind in CALLED:
            tool = _tool(definition, namespace, path)
            by_wire_name[tool.wire_name] = tool
        elif kind == TOOL_SEARCH and definition.get("execution") == "client":
            by_wire_name[TOOL_SEARCH] = Tool(TOOL_SEARCH, TOOL_SEARCH, TOOL_SEARCH, None, definition)
        elif kind in hosted:
            run_there.append(definition)
        else:
            raise _lacking(str(kind), f"{path}.type", upstream)
    choice, allowed = _choice(request.get("tool_choice"), by_wire_name, hosted, upstream)
    tools = tuple(tool for name, tool in by_wire_name.items() if allowed is None or name in allowed)
    return Toolset(
        tools=tools,
        hosted=tuple(run_there),
        choice=choice,
        parallel=request.get("parallel_tool_calls") is not False,
        by_wire_name=by_wire_name,
    )


def wire_names(tools: list[Item]) -> list[str]:
    """Return what upstreams are told these tools are called."""
    names = ((namespace, definition.get("name")) for _, namespace, definition in _flat(tools))
    return [_joined(namespace, name) for namespace, name in names if isinstance(name, str)]


def _flat(tools: list[Item]) -> Iterator[tuple[str, str | None, Item]]:
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        if tool.get("type") != "namespace":
            yield path, None, tool
            continue
        for place, inner in enumerate(tool.get("tools") or []):
            yield f"{path}.tools[{place}]", tool.get("name"), inner


def _tool(definition: Item, namespace: str | None, path: str) -> Tool:
    name = definition.get("name")
    if not isinstance(name, str) or not name:
        raise ClientFault(
            f"Missing required parameter: '{path}.name'.",
            code="missing_required_parameter",
            param=f"{path}.name",
        )
    return Tool(_joined(namespace, name), str(definition["type"]), name, namespace, definition)


def _joined(namespace: str | None, name: str) -> str:
    joined = f"{namespace}{_JOINT}{name}" if namespace else name
    if len(joined) <= _NAME_LIMIT or not namespace:
        return joined
    # The end tells tools of one namespace apart; a sum of the whole keeps those with equal ends apart.
    mark = f"{sum(place * ord(letter) for place, letter in enumerate(joined, 1)) % 0x10000:04x}"
    return f"{namespace[:8]}_{mark}{_JOINT}{name}"[:_NAME_LIMIT]


def _choice(
    choice: Any, tools: dict[str, Tool], hosted: Collection[str], upstream: str
) -> tuple[Choice, frozenset[str] | None]:
    """Return the choice, and the wire names it allows if it restricts them."""
    if choice is None:
        return Choice(), None
    if isinstance(choice, str):
        if choice in {"auto", "none", "required"}:
            return Choice(choice), None  # type: ignore[arg-type]
        raise _bad_choice(f"'tool_choice' is `auto`, `none`, `required` or an object, not '{choice[:40]}'.")
    if not isinstance(choice, dict):
        raise _bad_choice("'tool_choice' must be a string or an object.")
    kind = str(choice.get("type"))
    if kind in CALLED:
        return Choice("required", name=_named(choice, tools, "tool_choice")), None
    if kind == "allowed_tools":
        mode = choice.get("mode", "auto")
        if mode not in ("auto", "none", "required"):
            raise _bad_choice("'tool_choice.mode' is `auto`, `required` or `none`.", "tool_choice.mode")
        entries = choice.get("tools")
        if not isinstance(entries, list) or not entries:
            raise _bad_choice("'tool_choice.tools' must name the allowed tools.", "tool_choice.tools")
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                path = f"tool_choice.tools[{index}]"
                raise _bad_choice(f"'{path}' must be an object that names a tool.", path)
        names = [
            _named(entry, tools, f"tool_choice.tools[{index}]")
            for index, entry in enumerate(entries)
            if entry.get("type") in CALLED
        ]
        return Choice(mode), frozenset(names)
    if kind == TOOL_SEARCH and TOOL_SEARCH in tools:
        return Choice("required", name=TOOL_SEARCH), None
    if kind in hosted:
        return Choice("required", hosted=kind), None
    raise _lacking(kind, "tool_choice.type", upstream)


def _named(entry: Item, tools: dict[str, Tool], path: str) -> str:
    name, namespace = entry.get("name"), entry.get("namespace")
    for tool in tools.values():
        if tool.name == name and (namespace is None or tool.namespace == namespace):
            return tool.wire_name
    raise _bad_choice(f"'{path}' names the tool {str(name)[:80]!r}, which is not among 'tools'.", path)


def _bad_choice(message: str, param: str = "tool_choice") -> ClientFault:
    return ClientFault(message, code="invalid_value", param=param)


def _lacking(kind: str, param: str, upstream: str) -> ClientFault:
    return ClientFault(
        f"The tool type '{kind[:80]}' is not available: {upstream} does not have it.",
        code="unsupported_parameter",
        param=param,
    )


def _format_note(form: Any) -> str | None:
    if not isinstance(form, dict) or form.get("type") != "grammar":
        return None
    syntax, definition = form.get("syntax"), form.get("definition")
    return f"The `input` must match this {syntax} grammar exactly:\n{definition}"
