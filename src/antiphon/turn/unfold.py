"""A finished response told as the stream of events that would have made it (specification, section 9.4).

Each item is opened with zero values, filled by the events of its kind, and closed as it stands in the
response; one item after the other, one delta for each string that is not empty. The last event carries the
response as it is, so that nothing is lost on the way: not even what this module does not know.

What is streamed of an item, and in which order, stands in the tables below. A kind of item that is not in
them is opened and closed. A hosted call that failed or was cut off says so in its item: the phase that
would call it completed is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from antiphon.turn.events import Event, Item


@dataclass(frozen=True, slots=True)
class Streamed:
    """A string member that arrives in deltas."""

    member: str
    events: str
    """What the names of its `delta` and `done` events start with."""


PARTS: Final = {
    "output_text": Streamed("text", "response.output_text"),
    "refusal": Streamed("refusal", "response.refusal"),
    "reasoning_text": Streamed("text", "response.reasoning_text"),
}
"""Content parts, by type."""

_SUMMARY: Final = Streamed("text", "response.reasoning_summary_text")

BODIES: Final[dict[str, tuple[str | Streamed, ...]]] = {
    "function_call": (Streamed("arguments", "response.function_call_arguments"),),
    "custom_tool_call": (Streamed("input", "response.custom_tool_call_input"),),
    "web_search_call": ("in_progress", "searching", "completed"),
    "file_search_call": ("in_progress", "searching", "completed"),
    "code_interpreter_call": (
        "in_progress",
        Streamed("code", "response.code_interpreter_call_code"),
        "interpreting",
        "completed",
    ),
    "image_generation_call": ("in_progress", "generating", "completed"),
    "mcp_list_tools": ("in_progress", "completed"),
    "mcp_call": ("in_progress", Streamed("arguments", "response.mcp_call_arguments"), "completed"),
}
"""Items of strings and phases, by type; messages, reasoning and shell commands are lists, told below."""

ZEROS: Final[dict[str, dict[str, Any]]] = {
    "message": {"content": []},
    "reasoning": {"summary": [], "content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "file_search_call": {"queries": [], "results": None},
    "code_interpreter_call": {"code": "", "outputs": []},
    "image_generation_call": {"result": None},
    "mcp_list_tools": {"tools": [], "error": None},
    "mcp_call": {"arguments": "", "output": None, "error": None},
}
"""What an item holds when it is opened, of that which it holds at the end."""

REQUIRED_WHEN_ADDED: Final = {
    "message": ("content", "status"),
    "reasoning": ("summary",),
    "function_call": ("arguments", "status"),
    "custom_tool_call": ("input",),
}
"""Members that an opened item has, whatever the finished one looks like."""

_LATE: Final = frozenset({"encrypted_content", "revised_prompt"})
_BROKEN_OFF: Final = frozenset({"failed", "incomplete"})
_MAY_FAIL: Final = frozenset({"mcp_list_tools", "mcp_call"})

_ENDINGS: Final = {"completed", "incomplete", "failed"}


def unfold(response: Event) -> list[Event]:
    """Return the events of a finished response. Raises ValueError if it is not finished."""
    ending = f"response.{ending_of(response)}"
    events = [
        {"type": "response.created", "response": _begun(response)},
        {"type": "response.in_progress", "response": _begun(response)},
    ]
    for index, item in enumerate(_list(response, "output")):
        events.extend(unfold_item(index, item))
    events.append({"type": ending, "response": response})
    return [
        {"type": event.pop("type"), "sequence_number": number, **event} for number, event in enumerate(events)
    ]


def ending_of(response: Event) -> str:
    """Return the status that a response ended with; without one, what its other members say.

    Raises ValueError for one that has not ended, or was cancelled: there is no event for that.
    """
    status = response.get("status")
    if status is None:
        if response.get("error"):
            return "failed"
        return "incomplete" if response.get("incomplete_details") else "completed"
    if isinstance(status, str) and status in _ENDINGS:
        return status
    raise ValueError(f"a response with status {status!r} has no stream of its own")


def opened(item: Item) -> Item:
    """Return an item as it looks before anything of it has been streamed."""
    kind = _text(item, "type")
    zeros = ZEROS.get(kind, {})
    start = {
        name: zeros[name] if name in zeros and value is not None else value
        for name, value in item.items()
        if name not in _LATE
    }
    for name in REQUIRED_WHEN_ADDED.get(kind, ()):
        start.setdefault(name, zeros.get(name))
        if start[name] is None:
            start[name] = zeros.get(name)
    if "status" in start:
        start["status"] = "in_progress"
    if kind == "shell_call" and _commands(item):
        start["action"] = {**item["action"], "commands": []}
    return start


def _begun(response: Event) -> Event:
    begun = {name: value for name, value in response.items() if name != "output_text"}
    begun |= {"status": "in_progress", "output": [], "usage": None}
    for name in ("completed_at", "error", "incomplete_details"):
        if name in begun:
            begun[name] = None
    return begun


def unfold_item(index: int, item: Any) -> Iterator[Event]:
    """Yield the events of one finished item in the place `index` of the output, not numbered yet."""
    if not isinstance(item, dict):
        item_events: Iterator[Event] = iter(())
        start = item
    else:
        item_events = _unfold_body(index, item)
        start = opened(item)
    yield {"type": "response.output_item.added", "output_index": index, "item": start}
    yield from item_events
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _unfold_body(index: int, item: Item) -> Iterator[Event]:
    place = {"item_id": item.get("id") or "", "output_index": index}
    match item.get("type"):
        case "message":
            yield from _unfold_content(place, item)
        case "reasoning":
            yield from _unfold_content(place, item)
            yield from _unfold_summary(place, item)
        case "shell_call":
            yield from _unfold_commands(index, item)
        case str(kind):
            yield from _unfold_steps(kind, place, item)


def _unfold_steps(kind: str, place: Event, item: Item) -> Iterator[Event]:
    for step in BODIES.get(kind, ()):
        if isinstance(step, Streamed):
            whole = _text(item, step.member)
            # Clients read the name of the function where its arguments are complete.
            extra = {"name": item["name"]} if kind == "function_call" and "name" in item else {}
            yield from _deltas(step, place, whole)
            yield {"type": f"{step.events}.done", **place, **extra, step.member: whole}
        elif step != "completed" or not _is_broken_off(item):
            yield {"type": f"response.{kind}.{step}", **place}
        elif kind in _MAY_FAIL:
            yield {"type": f"response.{kind}.failed", **place}


def _unfold_content(place: Event, item: Item) -> Iterator[Event]:
    for index, part in enumerate(_objects(item, "content")):
        here = {**place, "content_index": index}
        streamed = PARTS.get(_text(part, "type"))
        yield {"type": "response.content_part.added", **here, "part": _opened_part(part, streamed)}
        if streamed is not None:
            yield from _unfold_part(here, part, streamed)
        yield {"type": "response.content_part.done", **here, "part": part}


def _unfold_part(here: Event, part: Item, streamed: Streamed) -> Iterator[Event]:
    whole = _text(part, streamed.member)
    is_text = streamed is PARTS["output_text"]
    logprobs = {"logprobs": part.get("logprobs") or []} if is_text else {}
    yield from _deltas(streamed, here, whole, logprobs)
    if is_text:
        for index, annotation in enumerate(_list(part, "annotations")):
            yield {
                "type": "response.output_text.annotation.added",
                **here,
                "annotation_index": index,
                "annotation": annotation,
            }
    yield {"type": f"{streamed.events}.done", **here, streamed.member: whole, **logprobs}


def _unfold_summary(place: Event, item: Item) -> Iterator[Event]:
    for index, part in enumerate(_objects(item, "summary")):
        here = {**place, "summary_index": index}
        whole = _text(part, "text")
        yield {
            "type": "response.reasoning_summary_part.added",
            **here,
            "part": _opened_part(part, _SUMMARY),
        }
        yield from _deltas(_SUMMARY, here, whole)
        yield {"type": "response.reasoning_summary_text.done", **here, "text": whole}
        yield {"type": "response.reasoning_summary_part.done", **here, "part": part}


def _unfold_commands(index: int, item: Item) -> Iterator[Event]:
    name = "response.shell_call_command"
    for number, command in enumerate(_commands(item)):
        here = {"output_index": index, "command_index": number}
        yield {"type": f"{name}.added", **here, "command": ""}
        yield from _deltas(Streamed("command", name), here, command)
        yield {"type": f"{name}.done", **here, "command": command}


def _deltas(streamed: Streamed, here: Event, whole: str, extra: Event | None = None) -> Iterator[Event]:
    if whole:
        yield {"type": f"{streamed.events}.delta", **here, "delta": whole, **(extra or {})}


def _opened_part(part: Item, streamed: Streamed | None) -> Item:
    if streamed is None:
        return part
    start = {**part, streamed.member: ""}
    if streamed is PARTS["output_text"]:
        start["annotations"] = []
    if start.get("logprobs"):
        start["logprobs"] = []
    return start


def _is_broken_off(item: Item) -> bool:
    return _text(item, "status") in _BROKEN_OFF or bool(item.get("error"))


def _text(holder: Item, member: str) -> str:
    value = holder.get(member)
    return value if isinstance(value, str) else ""


def _list(holder: Item, member: str) -> list[Any]:
    value = holder.get(member)
    return value if isinstance(value, list) else []


def _objects(holder: Item, member: str) -> list[Item]:
    """Return a list of parts; what is not one is not streamed, and stands in the finished item all the same."""
    value = _list(holder, member)
    return value if all(isinstance(part, dict) for part in value) else []


def _commands(item: Item) -> list[str]:
    action = item.get("action")
    commands = _list(action, "commands") if isinstance(action, dict) else []
    return commands if all(isinstance(command, str) for command in commands) else []
