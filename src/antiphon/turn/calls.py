"""Calls as upstreams tell them, fragment by fragment, made into calls of the tools that the client defined.

Most upstreams tell one call after the other, some several at a time. When a new one begins, those whose
arguments are whole JSON are ended; the others stay open, since more of them may come. A custom tool that the
upstream knows as a function with one parameter `input` has that taken off again, as far as it has come.
"""

import json
import re
from collections.abc import Hashable
from typing import Final

from antiphon.turn.making import EventMaker, MakeId, OpenCall
from antiphon.turn.tools import Toolset
from antiphon.wire.errors import UpstreamFault

_BEGINNING: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_SAFE: Final = re.compile(r'(?:[^"\\]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
                          r'|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*')  # fmt: skip
"""What can be read of a JSON string that goes on: no half of an escape, nor of a surrogate pair."""


class Calls:
    """The calls of one answer."""

    def __init__(
        self, maker: EventMaker, toolset: Toolset, make_id: MakeId, answer_tool: str | None = None
    ) -> None:
        """Tell `maker` of them; the arguments of `answer_tool` are the answer's text."""
        self._maker = maker
        self._toolset = toolset
        self._make_id = make_id
        self._answer_tool = answer_tool
        self._calls: dict[Hashable, _Call] = {}
        self.count = 0
        """How many calls the client is told of."""

    def start(self, key: Hashable, wire_name: str, call_id: str | None = None) -> None:
        """Begin the call that later fragments name by `key`; without an id it gets one."""
        self._end_whole()
        self._calls[key] = self._begin(wire_name, call_id)

    def add(self, key: Hashable, fragment: str) -> None:
        """Take more of a call's arguments. Raises UpstreamFault for one that had ended."""
        if fragment:
            self._calls[key].add(fragment)

    def end(self, key: Hashable) -> None:
        """End a call that is whole."""
        self._calls[key].end()

    def end_all(self) -> None:
        """End every call, before content of another kind."""
        for call in self._calls.values():
            call.end()

    def _begin(self, wire_name: str, call_id: str | None) -> "_Call":
        toolset = self._toolset
        if wire_name == self._answer_tool:
            return _TextCall(self._maker)
        is_surplus = not toolset.parallel and self.count > 0
        if is_surplus or not toolset.is_allowed(wire_name):
            return _Call()
        self.count += 1
        tool = toolset.by_wire_name.get(wire_name)
        call_id = call_id or self._make_id("call_")
        if tool is None:
            return _OpenCall(self._maker, self._maker.call("function_call", call_id, wire_name))
        call = self._maker.call(tool.item_type, call_id, tool.name, tool.namespace)
        return (_CustomCall if tool.type == "custom" else _OpenCall)(self._maker, call)

    def _end_whole(self) -> None:
        for call in self._calls.values():
            if call.is_whole:
                call.end()


class _Call:
    """A call that the client is not told of: one too many, or one of a tool that is not allowed now."""

    is_whole = True

    def add(self, fragment: str) -> None:
        """Take more of the arguments."""

    def end(self) -> None:
        """Take no more."""


class _TextCall(_Call):
    """The call whose arguments are the answer itself."""

    def __init__(self, maker: EventMaker) -> None:
        self._maker = maker

    def add(self, fragment: str) -> None:
        self._maker.text(fragment)


class _OpenCall(_Call):
    """A call of a function."""

    def __init__(self, maker: EventMaker, call: OpenCall) -> None:
        self._maker = maker
        self._call = call
        self._ended = False

    @property
    def is_whole(self) -> bool:  # type: ignore[override]
        try:
            json.loads("".join(self._call.texts))
        except (ValueError, RecursionError):
            return False
        return True

    def add(self, fragment: str) -> None:
        if self._ended and fragment.strip():
            raise UpstreamFault(
                "The upstream went on with a call that had ended.", code="upstream_protocol_error"
            )
        if not self._ended:
            self._maker.arguments(self._call, fragment)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            if self._call.item["type"] == "function_call" and not self._call.texts:
                self._maker.arguments(self._call, "{}")  # clients parse what they get
            self._maker.end_call(self._call)


class _CustomCall(_OpenCall):
    """A call of a custom tool that the upstream knows as a function."""

    def __init__(self, maker: EventMaker, call: OpenCall) -> None:
        super().__init__(maker, call)
        self._raw = ""
        self._told = -1
        """How much of the raw arguments was told; before the input begins, -1."""

    @property
    def is_whole(self) -> bool:  # type: ignore[override]
        try:
            json.loads(self._raw)
        except (ValueError, RecursionError):
            return False
        return True

    def add(self, fragment: str) -> None:
        if self._ended:
            super().add(fragment)
            return
        self._raw += fragment
        if self._told < 0:
            beginning = _BEGINNING.match(self._raw)
            if beginning is None:
                return
            self._told = beginning.end()
        safe = _SAFE.match(self._raw, self._told)
        assert safe is not None
        if safe[0]:
            self._told = safe.end()
            self._maker.arguments(self._call, json.loads(f'"{safe[0]}"', strict=False))

    def end(self) -> None:
        if not self._ended and self._told < 0 and self._raw:
            # It did not keep to the schema: what it said instead is all there is.
            self._maker.arguments(self._call, self._raw)
        super().end()
