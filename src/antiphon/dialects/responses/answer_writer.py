"""Writes the hub's events as a stream of the Responses API: they are its events already."""

from collections.abc import Sequence
from functools import cache

from antiphon.dialects.translation import Telling
from antiphon.turn.events import TERMINAL, Event
from antiphon.wire.objects import write_object
from antiphon.wire.sse import DONE


class ResponsesAnswerWriter:
    """Writes one answer."""

    def __init__(self, telling: Telling) -> None:
        """Write for any telling."""

    def feed(self, events: Sequence[Event]) -> list[bytes]:
        """Return a frame for each event, and `[DONE]` after the last one."""
        frames = []
        for event in events:
            kind = event["type"]
            frames.append(b"%b%b\n\n" % (_head(kind), write_object(event)))
            if kind in TERMINAL:
                frames.append(DONE)
        return frames


@cache
def _head(kind: str) -> bytes:
    """Return what stands before an event's data: of each kind the same."""
    return b"event: %b\ndata: " % kind.encode()
