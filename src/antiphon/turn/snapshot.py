"""The response as it stands in the middle of its stream: what somebody is told who asks how far it is.

Events are folded by the place of their item, and text by item and part (specification, section 9.4). An event
that closes something brings it whole, so a lost delta is mended by the next event that does.
"""

from collections.abc import Callable
from typing import Any, Final

from antiphon.turn.events import LIFECYCLE, TERMINAL, Event, Item

_DELTAS: Final = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
}
"""Texts inside a part: the list of parts, which of them, and its member that grows."""
_GROWING: Final = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
"""Members of an item that grow."""
_PARTS: Final = {
    "response.content_part.added": ("content", "content_index"),
    "response.content_part.done": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
    "response.reasoning_summary_part.done": ("summary", "summary_index"),
}
_NEW_PART: Final[dict[str, Callable[[], Item]]] = {
    "response.output_text.delta": lambda: {"type": "output_text", "text": "", "annotations": []},
    "response.refusal.delta": lambda: {"type": "refusal", "refusal": ""},
    "response.reasoning_text.delta": lambda: {"type": "reasoning_text", "text": ""},
    "response.reasoning.delta": lambda: {"type": "reasoning_text", "text": ""},
    "response.reasoning_summary_text.delta": lambda: {"type": "summary_text", "text": ""},
}
_MOST_PARTS: Final = 4096


class Snapshot:
    """A response that grows with every event."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._response: Item | None = None
        self._items: dict[int, Item] = {}
        self._grown: dict[tuple[int, str, int, str], list[str]] = {}
        """Texts that are still growing, in pieces: by item, list, part and member."""

    def feed(self, event: Event) -> None:
        """See the next event; what is not understood changes nothing."""
        kind, place = event.get("type"), event.get("output_index")
        if kind in LIFECYCLE:
            self._take_response(kind, event.get("response"))
        elif not isinstance(place, int):
            return
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            if isinstance(event.get("item"), dict):
                self._items[place] = dict(event["item"])
                for key in [key for key in self._grown if key[0] == place]:
                    del self._grown[key]
        elif place in self._items:
            self._take_inside(kind, place, event)

    @property
    def response(self) -> Item | None:
        """The response with what there is of its output; None before the first event."""
        if self._response is None:
            return None
        if self._response.get("status") in {"completed", "incomplete"} and self._response.get("output"):
            return dict(self._response)
        return self._response | {"output": self.output}

    @property
    def output(self) -> list[Item]:
        """The items so far, those that have not ended as far as they have come."""
        for (place, name, index, member), pieces in self._grown.items():
            item = self._items[place]
            holder = item if index < 0 else _part_at(item, name, index)
            if holder is not None:
                text = "".join(pieces)
                pieces[:] = [text]
                holder[member] = text
        return [self._items[place] for place in sorted(self._items)]

    def _take_response(self, kind: str, response: Any) -> None:
        if not isinstance(response, dict):
            return
        self._response = response if self._response is None else self._response | response
        if kind in TERMINAL:
            told = response.get("status")
            self._response["status"] = told if told in TERMINAL.values() else TERMINAL[kind]
            if isinstance(response.get("output"), list) and response["output"]:
                self._items = dict(enumerate(response["output"]))
                self._grown.clear()

    def _take_inside(self, kind: Any, place: int, event: Event) -> None:
        item = self._items[place]
        if kind in _PARTS:
            name, index_name = _PARTS[kind]
            index, part = event.get(index_name), event.get("part")
            if isinstance(index, int) and isinstance(part, dict):
                _put_part(item, name, index, part)
                for key in [key for key in self._grown if key[:3] == (place, name, index)]:
                    del self._grown[key]
        elif kind in _DELTAS and isinstance(event.get("delta"), str):
            name, index_name, member = _DELTAS[kind]
            index = event.get(index_name)
            if not isinstance(index, int) or not 0 <= index < _MOST_PARTS:
                return
            if _part_at(item, name, index) is None:
                _put_part(item, name, index, _NEW_PART[kind]())
            self._grow(place, name, index, member, event["delta"])
        elif kind in _GROWING and isinstance(event.get("delta"), str):
            self._grow(place, "", -1, _GROWING[kind], event["delta"])
        elif kind == "response.output_text.annotation.added":
            part = _part_at(item, "content", event.get("content_index"))
            if part is not None:
                part["annotations"] = [*(part.get("annotations") or ()), event.get("annotation")]

    def _grow(self, place: int, name: str, index: int, member: str, delta: str) -> None:
        key = (place, name, index, member)
        pieces = self._grown.get(key)
        if pieces is None:
            item = self._items[place]
            holder = item if index < 0 else _part_at(item, name, index)
            pieces = self._grown[key] = [str((holder or {}).get(member) or "")]
        pieces.append(delta)


def _part_at(item: Item, name: str, index: Any) -> Item | None:
    parts = item.get(name)
    if not isinstance(parts, list) or not isinstance(index, int) or not 0 <= index < len(parts):
        return None
    part = parts[index]
    return part if isinstance(part, dict) else None


def _put_part(item: Item, name: str, index: int, part: Item) -> None:
    parts = list(item.get(name) or ())
    if 0 <= index < len(parts):
        parts[index] = dict(part)
    elif index == len(parts):
        parts.append(dict(part))
    item[name] = parts
