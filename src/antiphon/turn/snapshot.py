"""The response as it stands in the middle of its stream: what somebody is told who asks how far it is.

Events are folded by the id of their item, and text by item and part (specification, section 9.4). Some upstreams
leave ids or indexes out, or change them on the way: an event whose id is new belongs to the item at its index, and
one without either to the item that came last. An event that closes something brings it whole, so a lost delta is
mended by the next event that does.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from antiphon.turn.events import LIFECYCLE, TERMINAL, Event, Item

_TEXTS: Final = {
    "response.output_text": ("content", "content_index", "text"),
    "response.refusal": ("content", "content_index", "refusal"),
    "response.reasoning_text": ("content", "content_index", "text"),
    "response.reasoning": ("content", "content_index", "text"),
    "response.reasoning_summary_text": ("summary", "summary_index", "text"),
}
"""Texts inside a part: the list of parts, which of them, and its member that grows."""
_MEMBERS: Final = {
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.code_interpreter_call_code": "code",
}
"""Members of an item that grow."""
_PARTS: Final = {
    "response.content_part.added": ("content", "content_index"),
    "response.content_part.done": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
    "response.reasoning_summary_part.done": ("summary", "summary_index"),
}
_NEW_PART: Final[dict[str, Callable[[], Item]]] = {
    "response.output_text": lambda: {"type": "output_text", "text": "", "annotations": []},
    "response.refusal": lambda: {"type": "refusal", "refusal": ""},
    "response.reasoning_text": lambda: {"type": "reasoning_text", "text": ""},
    "response.reasoning": lambda: {"type": "reasoning_text", "text": ""},
    "response.reasoning_summary_text": lambda: {"type": "summary_text", "text": ""},
}
_ITEM_EVENTS: Final = frozenset({"response.output_item.added", "response.output_item.done"})
_MOST_PARTS: Final = 4096
_WHOLE_ITEM: Final = ("", -1)
"""The place of a member that belongs to no part."""


class Snapshot:
    """A response that grows with every event."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._response: Item | None = None
        self._items: list[_Growing] = []
        """In the order in which they came."""
        self._by_id: dict[str, _Growing] = {}

    def feed(self, event: Event) -> None:
        """See the next event; what is not understood changes nothing."""
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        if kind in LIFECYCLE:
            self._take_response(kind, event.get("response"))
        elif kind in _ITEM_EVENTS:
            if isinstance(event.get("item"), dict):
                self._take_item(event["item"], event)
        else:
            item = self._item_of(event)
            if item is not None:
                item.feed(kind, event)

    @property
    def response(self) -> Item | None:
        """The response with what there is of its output; None before the first event."""
        return None if self._response is None else self._response | {"output": self.output}

    @property
    def output(self) -> list[Item]:
        """The items so far, those that have not ended as far as they have come."""
        return [item.shown() for item in sorted(self._items, key=lambda item: item.index)]

    def _take_response(self, kind: str, response: Any) -> None:
        if not isinstance(response, dict):
            return
        self._response = response if self._response is None else self._response | response
        told, meant = response.get("status"), TERMINAL.get(kind)
        if meant is not None:
            self._response["status"] = told if told in TERMINAL.values() else meant
        elif not isinstance(told, str):
            self._response["status"] = "queued" if kind == "response.queued" else "in_progress"
        output = response.get("output")
        # Some upstreams leave the output out of their terminal event although they have streamed it.
        if isinstance(output, list) and (output or meant is None):
            self._items, self._by_id = [], {}
            for index, item in enumerate(output):
                if isinstance(item, dict):
                    self._add(item, index)

    def _take_item(self, item: Item, event: Event) -> None:
        item_id, index = _id(item.get("id")), _index(event.get("output_index"))
        known = self._by_id.get(item_id) if item_id else None
        if known is None and index is not None:
            known = self._at(index)
            if known is not None and event["type"].endswith(".added") and item_id and known.id:
                known = None  # two items that are told to be at one place are two items still
        if (
            known is None
            and event["type"].endswith(".done")
            and index is None
            and self._items
            and not item_id
        ):
            known = self._items[-1]
        if known is None:
            self._add(item, index)
        else:
            known.replace(item)
            if item_id:
                self._by_id[item_id] = known

    def _add(self, item: Item, index: int | None) -> None:
        if index is None:
            index = 1 + max((known.index for known in self._items), default=-1)
        added = _Growing(item, index)
        self._items.append(added)
        if added.id:
            self._by_id[added.id] = added

    def _item_of(self, event: Event) -> "_Growing | None":
        item_id, index = _id(event.get("item_id")), _index(event.get("output_index"))
        if item_id in self._by_id:
            return self._by_id[item_id]
        if index is not None:
            return self._at(index)
        return self._items[-1] if self._items and not item_id else None

    def _at(self, index: int) -> "_Growing | None":
        return next((item for item in reversed(self._items) if item.index == index), None)


class _Growing:
    """An item, as far as it has come."""

    __slots__ = ("_item", "_parts", "_pieces", "index")

    def __init__(self, item: Item, index: int) -> None:
        self.index = index
        self.replace(item)

    @property
    def id(self) -> str:
        return _id(self._item.get("id"))

    def replace(self, item: Item) -> None:
        """Take the item as it was told anew."""
        self._item = dict(item)
        self._parts: dict[str, dict[int, Item]] = {}
        self._pieces: dict[tuple[str, int, str], list[str]] = {}

    def shown(self) -> Item:
        """Return the item with its parts in their order."""
        for (name, index, member), pieces in self._pieces.items():
            pieces[:] = ["".join(pieces)]
            holder = self._item if (name, index) == _WHOLE_ITEM else self._parts[name][index]
            holder[member] = pieces[0]
        lists = {name: [dict(parts[at]) for at in sorted(parts)] for name, parts in self._parts.items()}
        return self._item | lists

    def feed(self, kind: str, event: Event) -> None:
        """See an event inside the item."""
        if kind in _PARTS:
            name, index_name = _PARTS[kind]
            index = self._index(name, event.get(index_name))
            if index is not None and isinstance(event.get("part"), dict):
                self._list(name)[index] = dict(event["part"])
                for key in [key for key in self._pieces if key[:2] == (name, index)]:
                    del self._pieces[key]
            return
        if kind == "response.output_text.annotation.added":
            self._annotate(event)
            return
        stem, _, end = kind.rpartition(".")
        place = self._place(stem, event)
        if place is None:
            return
        if end == "delta" and isinstance(event.get("delta"), str):
            self._grow(place, event["delta"])
        elif end == "done" and isinstance(event.get(place[2]), str):
            self._pieces[place] = [event[place[2]]]

    def _place(self, stem: str, event: Event) -> tuple[str, int, str] | None:
        """Return where a text belongs: the list of parts, the part, its member."""
        if stem in _MEMBERS:
            return (*_WHOLE_ITEM, _MEMBERS[stem])
        if stem not in _TEXTS:
            return None
        name, index_name, member = _TEXTS[stem]
        index = self._index(name, event.get(index_name))
        if index is None:
            return None
        self._list(name).setdefault(index, _NEW_PART[stem]())
        return name, index, member

    def _grow(self, place: tuple[str, int, str], delta: str) -> None:
        pieces = self._pieces.get(place)
        if pieces is None:
            name, index, member = place
            holder = self._item if (name, index) == _WHOLE_ITEM else self._parts[name][index]
            pieces = self._pieces[place] = [str(holder.get(member) or "")]
        pieces.append(delta)

    def _annotate(self, event: Event) -> None:
        index = self._index("content", event.get("content_index"))
        part = None if index is None else self._list("content").get(index)
        if part is not None:
            part["annotations"] = [*(part.get("annotations") or ()), event.get("annotation")]

    def _index(self, name: str, told: Any) -> int | None:
        """Return which part is meant: where none is told, the last."""
        if told is None:
            return max(self._list(name), default=0)
        index = _index(told)
        return None if index is None or index >= _MOST_PARTS else index

    def _list(self, name: str) -> dict[int, Item]:
        parts = self._parts.get(name)
        if parts is None:
            parts = self._parts[name] = dict(_parts_of(self._item.get(name)))
        return parts


def _parts_of(told: Any) -> Iterator[tuple[int, Item]]:
    for index, part in enumerate(told if isinstance(told, list) else ()):
        if isinstance(part, dict):
            yield index, dict(part)


def _id(told: Any) -> str:
    return told if isinstance(told, str) else ""


def _index(told: Any) -> int | None:
    return told if isinstance(told, int) and told >= 0 else None
