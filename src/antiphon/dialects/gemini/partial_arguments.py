"""The arguments of a call that Gemini tells value by value, written as the JSON text that they add up to.

Each piece names a path (`$.recipe.steps[2].text`) and a value; a string may go on in further pieces of the same
path. Pieces come in the order of the document, so what lies between the last path and the next is all there is to
write: containers that end, containers that begin, a comma, a name.
"""

import re
from typing import Any, Final

from antiphon.wire.errors import UpstreamFault
from antiphon.wire.objects import JsonObject, write_text

_STEP: Final = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""")
_MOST_PADDING: Final = 10_000
_VALUES: Final = ("stringValue", "numberValue", "boolValue")

Step = str | int


class _Container:
    """An object or list that has not ended."""

    __slots__ = ("count", "is_list", "names", "step")

    def __init__(self, step: Step, *, is_list: bool) -> None:
        self.step = step
        self.is_list = is_list
        self.count = 0
        self.names: set[Step] = set()


class PartialArguments:
    """The arguments of one call."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: list[_Container] = []
        self._string: list[Step] | None = None
        """The path of the string that goes on."""

    def add(self, piece: JsonObject) -> str:
        """Return the text that a piece adds. Raises UpstreamFault for one that is out of order."""
        path = _path(piece.get("jsonPath"))
        value = next((piece[name] for name in _VALUES if name in piece), None)
        text = "" if path == self._string else self._end_string() + self._go_to(path)
        if not isinstance(value, str):
            return text + write_text(value)
        written = write_text(value)[1:-1]
        text += written if path == self._string else f'"{written}'
        self._string = path
        return text if piece.get("willContinue") else text + self._end_string()

    def close(self) -> str:
        """Return the text that ends the arguments."""
        if not self._open:
            return "{}"
        text = self._end_string()
        while self._open:
            text += self._leave()
        return text

    def _end_string(self) -> str:
        is_open, self._string = self._string is not None, None
        return '"' if is_open else ""

    def _leave(self) -> str:
        return "]" if self._open.pop().is_list else "}"

    def _go_to(self, path: list[Step]) -> str:
        if not self._open:
            text = self._enter("$", path[0])
        else:
            text = ""
            while not self._is_inside(path):
                text += self._leave()
        for step, following in zip(path[len(self._open) - 1 :], path[len(self._open) :], strict=False):
            text += self._member(step) + self._enter(step, following)
        return text + self._member(path[-1])

    def _is_inside(self, path: list[Step]) -> bool:
        steps = [container.step for container in self._open[1:]]
        return len(steps) < len(path) and steps == path[: len(steps)]

    def _enter(self, step: Step, first: Step) -> str:
        container = _Container(step, is_list=isinstance(first, int))
        self._open.append(container)
        return "[" if container.is_list else "{"

    def _member(self, step: Step) -> str:
        """Return what stands before a member of the innermost container."""
        container = self._open[-1]
        comma = "," if container.count else ""
        if container.is_list:
            if not isinstance(step, int) or not container.count <= step < container.count + _MOST_PADDING:
                raise _out_of_order()
            skipped = step - container.count
            container.count = step + 1
            return comma + "null," * skipped
        if not isinstance(step, str) or step in container.names:
            raise _out_of_order()
        container.names.add(step)
        container.count += 1
        return f"{comma}{write_text(step)}:"


def _path(text: Any) -> list[Step]:
    steps: list[Step] = []
    if not isinstance(text, str) or not text.startswith("$"):
        raise _out_of_order()
    place = 1
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            raise _out_of_order()
        name, index, quoted, double_quoted = step.groups()
        named = next((each for each in (name, quoted, double_quoted) if each is not None), "")
        steps.append(named if index is None else int(index))
        place = step.end()
    if not steps or isinstance(steps[0], int):
        raise _out_of_order()
    return steps


def _out_of_order() -> UpstreamFault:
    return UpstreamFault(
        "The upstream told the arguments of a call in an order that cannot be followed.",
        code="upstream_protocol_error",
    )
