"""What may be said about one output item, by its type: specification section 9.4, `body(…)`.

The tables hold the legal transitions; a type that is not in them opens and closes. Beside them stand the rules
about content: what was told in deltas is what the closing event says, and what the finished item says. A hosted
call that failed or was cut off may close in any of its states.
"""

from typing import Final

from antiphon.turn.events import Event, Item
from antiphon.turn.unfold import REQUIRED_WHEN_ADDED, ZEROS

Table = dict[str, dict[str, str]]
"""state -> event -> state."""

CLOSED_BY: Final = "output_item.done"
ADDED: Final = "output_item.added"


def _streamed(name: str, state: str = "open", after: str = "whole") -> Table:
    return {state: {f"{name}.delta": state, f"{name}.done": after}}


def _steps(name: str, *phases: str) -> Table:
    states = ("open", *phases[:-1], "whole")
    return {
        before: {f"{name}.{phase}": after}
        for before, phase, after in zip(states, phases, states[1:], strict=False)
    }


def _part(kind: str, *names: str) -> Table:
    table: Table = {
        "open": {f"content_part.added:{kind}": kind},
        kind: {},
        f"{kind} told": {f"content_part.done:{kind}": "open"},
    }
    for name in names:
        table[kind] |= {f"{name}.delta": kind, f"{name}.done": f"{kind} told"}
    return table


def _join(*tables: Table) -> Table:
    joined: Table = {}
    for table in tables:
        for state, edges in table.items():
            joined[state] = joined.get(state, {}) | edges
    return joined


_CLOSES: Final[Table] = {"open": {CLOSED_BY: "closed"}}
_CLOSES_WHOLE: Final[Table] = {"whole": {CLOSED_BY: "closed"}}
_OTHER_PART: Final[Table] = {
    "open": {"content_part.added:other": "other"},
    "other": {"content_part.done:other": "open"},
}

ITEMS: Final[dict[str, Table]] = {
    "message": _join(
        _CLOSES,
        _part("output_text", "output_text"),
        {"output_text": {"output_text.annotation.added": "output_text"}},
        _part("refusal", "refusal"),
        _OTHER_PART,
    ),
    "reasoning": _join(
        _CLOSES,
        _part("reasoning_text", "reasoning_text", "reasoning"),
        _OTHER_PART,
        {"open": {"reasoning_summary_part.added": "summary"}},
        _streamed("reasoning_summary_text", "summary", "summary told"),
        {"summary told": {"reasoning_summary_part.done": "open"}},
    ),
    "function_call": _join(_streamed("function_call_arguments"), _CLOSES_WHOLE),
    "custom_tool_call": _join(_streamed("custom_tool_call_input"), _CLOSES_WHOLE),
    "web_search_call": _join(
        _steps("web_search_call", "in_progress", "searching", "completed"), _CLOSES_WHOLE
    ),
    "file_search_call": _join(
        _steps("file_search_call", "in_progress", "searching", "completed"), _CLOSES_WHOLE
    ),
    "code_interpreter_call": {
        "open": {"code_interpreter_call.in_progress": "begun"},
        "begun": {"code_interpreter_call_code.delta": "begun", "code_interpreter_call_code.done": "written"},
        "written": {"code_interpreter_call.interpreting": "running"},
        "running": {"code_interpreter_call.completed": "whole"},
        **_CLOSES_WHOLE,
    },
    "image_generation_call": {
        "open": {"image_generation_call.in_progress": "begun"},
        "begun": {"image_generation_call.generating": "drawing"},
        "drawing": {
            "image_generation_call.partial_image": "drawing",
            "image_generation_call.completed": "whole",
        },
        **_CLOSES_WHOLE,
    },
    "mcp_list_tools": {
        "open": {"mcp_list_tools.in_progress": "begun"},
        "begun": {"mcp_list_tools.completed": "whole", "mcp_list_tools.failed": "whole"},
        **_CLOSES_WHOLE,
    },
    "mcp_call": {
        "open": {"mcp_call.in_progress": "begun"},
        "begun": {"mcp_call_arguments.delta": "begun", "mcp_call_arguments.done": "asked"},
        "asked": {"mcp_call.completed": "whole", "mcp_call.failed": "whole"},
        **_CLOSES_WHOLE,
    },
    "shell_call": _join(
        _CLOSES,
        {"open": {"shell_call_command.added": "command"}},
        _streamed("shell_call_command", "command", "open"),
    ),
    "shell_call_output": _join(
        _CLOSES,
        _streamed("shell_call_output_content", "open", "open"),
    ),
    # OpenAI streams the diff (recorded in November 2025), the specification knows nothing of it.
    "apply_patch_call": _join(_CLOSES, _streamed("apply_patch_call_operation_diff"), _CLOSES_WHOLE),
    "compaction": _join(_CLOSES, {"open": {"compaction.compacting": "open"}}),
}
"""States of an item by its type; every other type opens and closes."""

_MAY_BREAK: Final = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"}
)

_PART_TEXT: Final = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}
_ITEM_TEXT: Final = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}
_WHOLES: Final = ("text", "refusal", "arguments", "input", "code", "command", "diff")
_INDEXES: Final = ("content_index", "summary_index", "command_index")


class ItemReader:
    """Follows one item, in the states of its type."""

    def __init__(self, index: int, item: Item) -> None:
        """Start with the item as `output_item.added` says it."""
        self.index = index
        self.item = item
        self.type = str(item.get("type"))
        self.state = "open"
        self.table = ITEMS.get(self.type, _CLOSES)
        self.added: dict[str, int] = {}
        self.deltas = ""
        self.said: str | None = None
        self.parts: dict[str, list[Item]] = {"content": [], "summary": []}
        self.commands: list[str] = []
        self.annotations: list[object] = []

    def judge_added(self) -> list[str]:
        """Say what is wrong with the item as it was added."""
        required = REQUIRED_WHEN_ADDED.get(self.type, ())
        found = [f"item.{name} is missing" for name in required if name not in self.item]
        for name in ("content", "summary", "arguments", "input"):
            zero = ZEROS.get(self.type, {}).get(name)
            if zero is not None and self.item.get(name, zero) != zero:
                found.append(f"item.{name} is not {zero!r}")
        if self.type == "function_call":
            found += [f"item.{name} is missing" for name in ("name", "call_id") if not self.item.get(name)]
        if self.item.get("status", "in_progress") != "in_progress":
            found.append(f"item.status is {self.item['status']}")
        return found

    def read(self, name: str, event: Event) -> list[str]:
        """Say what is wrong with the next event about this item."""
        found = []
        if "item_id" in event and event["item_id"] != (self.item.get("id") or ""):
            found.append("item_id is not the item's")
        after = self.table.get(self.state, {}).get(self._edge(name, event))
        if after is None and name == CLOSED_BY and self._may_break(event["item"]):
            after = "closed"
        if after is None:
            return [*found, f"not while the {self.type} is {self.state}"]
        self.state = after
        if name == CLOSED_BY:
            return [*found, *self._close(event["item"])]
        return [*found, *self._read_index(name, event), *self._read_text(name, event)]

    def _edge(self, name: str, event: Event) -> str:
        if not name.startswith("content_part."):
            return name
        kind = event["part"].get("type")
        return f"{name}:{kind if kind in _PART_TEXT else 'other'}"

    def _may_break(self, item: Item) -> bool:
        return self.type in _MAY_BREAK and item.get("status") in ("failed", "incomplete")

    def _read_index(self, name: str, event: Event) -> list[str]:
        for index in _INDEXES:
            if index not in event:
                continue
            if name.endswith(".added") and "annotation" not in name:
                expected = self.added.get(index, 0)
                self.added[index] = expected + 1
            elif name.startswith("shell_call_output_content"):
                return []
            else:
                expected = self.added.get(index, 0) - 1
            if event[index] != expected:
                return [f"{index} is not {expected}"]
        return []

    def _read_text(self, name: str, event: Event) -> list[str]:
        stem, _, verb = name.rpartition(".")
        if stem == "shell_call_output_content":
            return []
        if name == "output_text.annotation.added":
            return self._read_annotation(event)
        if stem in ("content_part", "reasoning_summary_part"):
            return self._read_part(stem, verb, event["part"])
        if verb == "delta":
            self.deltas += event["delta"]
            return []
        if verb != "done":
            return []
        return self._read_done(stem, event)

    def _read_done(self, stem: str, event: Event) -> list[str]:
        whole = next(event[name] for name in _WHOLES if name in event)
        deltas, self.deltas = self.deltas, ""
        self.said = whole
        if stem == "shell_call_command":
            self.commands.append(whole)
        if whole and not deltas:
            return ["no delta for a string that is not empty"]
        return [] if deltas == whole else [f"the deltas say {deltas!r}, not {whole!r}"]

    def _read_annotation(self, event: Event) -> list[str]:
        expected = len(self.annotations)
        self.annotations.append(event["annotation"])
        return [] if event["annotation_index"] == expected else [f"annotation_index is not {expected}"]

    def _read_part(self, stem: str, verb: str, part: Item) -> list[str]:
        member = "text" if stem == "reasoning_summary_part" else _PART_TEXT.get(str(part.get("type")))
        if verb == "added":
            self.annotations = []
            self.deltas, self.said = "", None
            return [f"part.{member} is not empty"] if member and part.get(member) != "" else []
        self.parts["summary" if stem == "reasoning_summary_part" else "content"].append(part)
        found = []
        if member and part.get(member) != self.said:
            found.append(f"part.{member} is not what was said: {self.said!r}")
        if self.annotations and part.get("annotations") != self.annotations:
            found.append("part.annotations are not those that were added")
        return found

    def _close(self, item: Item) -> list[str]:
        found = [
            f"item.{name} has changed"
            for name in ("id", "type", "call_id")
            if item.get(name) != self.item.get(name)
        ]
        found += [
            f"item.{name} is not what was streamed"
            for name, parts in self.parts.items()
            if self.type in ("message", "reasoning") and (item.get(name) or []) != parts
        ]
        member = _ITEM_TEXT.get(self.type)
        if member and self.said is not None and (item.get(member) or "") != self.said:
            found.append(f"item.{member} is not what was streamed")
        if self.type == "shell_call" and (item.get("action") or {}).get("commands", []) != self.commands:
            found.append("item.action.commands is not what was streamed")
        self.item = item
        return found
