"""Writes the hub's events as a stream of the Responses API: they are its events already."""

from collections.abc import Sequence
from typing import Final

from antiphon.dialects.translation import Telling
from antiphon.turn.events import TERMINAL, Event
from antiphon.wire.objects import write_object
from antiphon.wire.sse import DONE

_OPEN_NAMES: Final = {
    "response.reasoning_text.delta": "response.reasoning.delta",
    "response.reasoning_text.done": "response.reasoning.done",
}
"""What Open Responses calls raw reasoning (specification, section 17)."""


class ResponsesAnswerWriter:
    """Writes one answer."""

    def __init__(self, telling: Telling) -> None:
        """Use the names that `telling` wants for raw reasoning."""
        self._names = _OPEN_NAMES if telling.open_names else {}

    def feed(self, events: Sequence[Event]) -> list[bytes]:
        """Return a frame for each event, and `[DONE]` after the last one."""
        frames = []
        for event in events:
            kind = event["type"]
            if kind in self._names:
                kind = event["type"] = self._names[kind]
            frames.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), write_object(event)))
            if kind in TERMINAL:
                frames.append(DONE)
        return frames
