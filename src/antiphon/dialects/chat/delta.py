"""Deltas merged into what they add up to, member by member, for any upstream's idea of a delta.

Text is appended, and labels (a role, a type, an id) are not; null adds nothing; objects merge; entries of a
list merge with the entry of the same `index` and `type`, or are appended; anything else replaces what stood
there. Entries of one delta never merge with each other, so a list that arrives whole stays as it is; only
tool calls do, since several fragments of one call may share a chunk.
"""

from typing import Any

from antiphon.wire.objects import JsonObject

_LABELS = frozenset({"role", "type", "id", "format", "channel"})
_WITHOUT_INDEX = frozenset({"reasoning_details"})
_PARTS = ("text", "thinking")


class _Text(list[str]):
    """A string in the making: appending to it does not copy what is there."""


class DeltaMerger:
    """Merges deltas; `finish` has to be called before the result is used."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        """Begin with no text in the making."""
        self._texts: list[tuple[JsonObject, str]] = []

    def finish(self) -> None:
        """Join all strings in the making, in the objects that hold them."""
        for holder, key in self._texts:
            _settle(holder, key)
        self._texts.clear()

    def merge(self, into: JsonObject, delta: JsonObject) -> None:
        """Merge one delta of a message, or of an object within one."""
        for key, value in delta.items():
            if key == "tool_calls" and isinstance(value, list):
                into[key] = self._merge_calls(into.get(key), value)
                continue
            before = into.get(key)
            if before is None:
                into[key] = value
            elif value is not None:
                self._merge_member(into, key, before, value)

    def append(self, into: JsonObject, key: str, text: str) -> None:
        """Append to a string member, or begin it."""
        before = into.get(key)
        if isinstance(before, _Text):
            before.append(text)
        elif isinstance(before, str):
            into[key] = _Text((before, text))
            self._texts.append((into, key))
        else:
            into[key] = text

    def _merge_member(self, into: JsonObject, key: str, before: Any, value: Any) -> None:
        if isinstance(value, str) and isinstance(before, (str, _Text)):
            self._merge_text(into, key, value)
            return
        match _settle(into, key), value:
            case dict() as held, dict():
                self.merge(held, value)
            case list() as held, list():
                self._merge_list(key, held, value)
            case list() as held, str() if key == "content":
                self._merge_parts(held, _text_parts(value))
            case str() as held, list() if key == "content":
                into[key] = _text_parts(held)
                self._merge_parts(into[key], value)
            case _:
                into[key] = value

    def _merge_text(self, into: JsonObject, key: str, text: str) -> None:
        if not text:
            return
        if key in _LABELS or not into[key]:
            into[key] = text
        elif key != "name" or _settle(into, key) != text:
            # Some upstreams repeat a function's name in every fragment, others cut it into pieces.
            self.append(into, key, text)

    def _merge_list(self, key: str, before: list[Any], entries: list[Any]) -> None:
        if key in {"content", "thinking"}:
            self._merge_parts(before, entries)
            return
        if not any(isinstance(entry, dict) for entry in entries):
            before.extend(entries)
            return
        known = before[:]
        for entry in entries:
            found = _same_entry(known, entry, indexless=key in _WITHOUT_INDEX)
            if found is None:
                before.append(entry)
            else:
                self.merge(found, entry)

    def _merge_parts(self, before: list[Any], parts: list[Any]) -> None:
        """Append content parts; the first goes on with the last one there if both are text of one kind."""
        if before and parts and isinstance(before[-1], dict) and isinstance(parts[0], dict):
            kind = parts[0].get("type")
            if kind in _PARTS and before[-1].get("type") == kind:
                self.merge(before[-1], parts[0])
                parts = parts[1:]
        before.extend(parts)

    def _merge_calls(self, before: Any, fragments: list[Any]) -> list[Any]:
        calls: list[Any] = before if isinstance(before, list) else []
        for fragment in fragments:
            call = _same_call(calls, fragment) if isinstance(fragment, dict) else None
            if call is None:
                calls.append(fragment)
                continue
            for label in ("id", "type"):
                if call.get(label) and label in fragment:
                    fragment[label] = None
            self.merge(call, fragment)
        return calls


def without_index(calls: list[Any]) -> list[Any]:
    """Put tool calls in the order of their indices, which JSON answers do not carry."""
    last = 0
    placed: list[tuple[int, Any]] = []
    for call in calls:
        if isinstance(call, dict):
            index = call.pop("index", None)
            last = index if isinstance(index, int) else last
        placed.append((last, call))
    return [call for _, call in sorted(placed, key=lambda each: each[0])]


def _text_parts(text: str) -> list[Any]:
    return [{"type": "text", "text": text}] if text else []


def _settle(holder: JsonObject, key: str) -> Any:
    value = holder[key]
    if isinstance(value, _Text):
        value = holder[key] = "".join(value)
    return value


def _same_entry(known: list[Any], entry: Any, *, indexless: bool) -> JsonObject | None:
    if not isinstance(entry, dict):
        return None
    index, kind = entry.get("index"), entry.get("type")
    if index is None:
        last = known[-1] if known and indexless else None
        is_same = isinstance(last, dict) and last.get("type") == kind and "id" not in entry
        return last if is_same else None
    for each in reversed(known):
        if isinstance(each, dict) and each.get("index") == index:
            known_kind = each.get("type")
            if kind is None or known_kind is None or kind == known_kind:
                return each
    return None


def _same_call(calls: list[Any], fragment: JsonObject) -> JsonObject | None:
    """Find the call that a fragment goes on with.

    Some upstreams leave the index out or give every call index 0: then a new id with a name is a new call.
    """
    index, call_id = fragment.get("index"), fragment.get("id")
    function = fragment.get("function")
    is_named = isinstance(function, dict) and bool(function.get("name"))
    for call in reversed(calls):
        if not isinstance(call, dict) or (index is not None and call.get("index") != index):
            continue
        if call_id:
            is_other = call.get("id") not in (None, "", call_id)
            return None if is_named and is_other else call
        return None if index is None and is_named else call
    return None
