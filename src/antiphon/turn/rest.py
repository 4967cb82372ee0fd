"""The rest of a stream: what is still to be told of a finished response, of which the beginning was told.

The finished response is unfolded into the events that tell it; those that were told already are left out, and of a
text whose beginning was told the remainder is.
"""

from collections.abc import Iterable
from typing import Final

from antiphon.turn.events import LIFECYCLE, TERMINAL, Event
from antiphon.turn.unfold import unfold

_PLACES: Final = ("output_index", "content_index", "summary_index", "annotation_index", "command_index")


def rest_of(response: Event, told: Iterable[Event]) -> list[Event]:
    """Return the events that are missing after those that were `told`.

    Raises ValueError if the response has not ended, or has another text than was told.
    """
    heard: set[tuple[object, ...]] = set()
    texts: dict[tuple[object, ...], str] = {}
    for event in told:
        name = _name(event)
        heard.add(name)
        if isinstance(event.get("delta"), str):
            texts[name] = texts.get(name, "") + event["delta"]
    rest: list[Event] = []
    for event in unfold(response):
        kind, name = event["type"], _name(event)
        if kind in TERMINAL:
            rest.append(event)
        elif kind in LIFECYCLE:
            continue
        elif isinstance(event.get("delta"), str):
            before = texts.get(name, "")
            if not event["delta"].startswith(before):
                raise ValueError("the answer differs from what was told of it")
            if len(event["delta"]) > len(before):
                rest.append(event | {"delta": event["delta"][len(before) :]})
        elif name not in heard:
            rest.append(event)
    return rest


def _name(event: Event) -> tuple[object, ...]:
    return (event.get("type"), *(event.get(place) for place in _PLACES))
