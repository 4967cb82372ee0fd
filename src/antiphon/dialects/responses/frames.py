"""Frames of the Responses API: what an event is called, and where in its frame the response stands."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.turn.events import LIFECYCLE
from antiphon.wire.splice import Span, splice
from antiphon.wire.sse import Event, parse_frame, write_frame

RESPONSE_KEY = b'"response"'
"""Stands in every frame that carries a response, and in hardly any other: a cheap first test."""

_RAW_REASONING = b"response.reasoning_text."
_OPEN_NAMES = {
    "response.reasoning_text.delta": "response.reasoning.delta",
    "response.reasoning_text.done": "response.reasoning.done",
}

_NUMBER = re.compile(rb'\{[^{]*?"sequence_number"[ ]?:[ ]?(\d{1,18})')
_DATA = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n])data: ?([^\r\n]*)")
_LIFECYCLE_TYPE = re.compile(rb'"type"[ \t]*:[ \t]*"(response\.[a-z_]+)"')


class EventData(msgspec.Struct):
    """The members of an event that anybody asks for; the large ones are left unread."""

    type: Any = None
    sequence_number: Any = None
    output_index: Any = None
    response: msgspec.Raw = msgspec.Raw()
    item: msgspec.Raw = msgspec.Raw()
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(EventData)


def read_event(event: Event) -> EventData:
    """Read an event; its `event:` field stands in for a missing `type`. Raises ValueError."""
    data = _EVENT.decode(event.data)
    if not isinstance(data.type, str):
        data.type = event.type
    return data


def is_event(frame: bytes) -> bool:
    """Whether a frame carries an event: not a comment, and not `[DONE]`."""
    span = _usual_span(frame)
    if span is not None:
        return frame[span[0]] == 0x7B
    event = parse_frame(frame)
    return event is not None and event.data.lstrip().startswith(b"{")


def number_of(frame: bytes) -> int | None:
    """Return the sequence number of an event; None for one that has none. Raises ValueError."""
    span = data_span(frame)
    found = None if span is None else _NUMBER.match(frame, *span)
    if found is not None:
        return int(found[1])
    event = parse_frame(frame)
    number = None if event is None else read_event(event).sequence_number
    return number if isinstance(number, int) else None


def claims_lifecycle(event: Event) -> bool:
    """Whether data that cannot be read would have carried a response."""
    if event.type in LIFECYCLE:
        return True
    return any(found[1].decode() in LIFECYCLE for found in _LIFECYCLE_TYPE.finditer(event.data))


def data_span(frame: bytes) -> Span | None:
    """Say where the data of a frame stands, if it is on one line."""
    span = _usual_span(frame)
    if span is not None:
        return span
    lines = [found.span(1) for found in _DATA.finditer(frame)]
    return lines[0] if len(lines) == 1 else None


def under_open_name(frame: bytes) -> bytes:
    """Write an event of raw reasoning under the name that Open Responses has for it (specification, section 17)."""
    event = parse_frame(frame) if _RAW_REASONING in frame else None
    if event is None:
        return frame
    try:
        name = _OPEN_NAMES.get(str(read_event(event).type))
    except ValueError:
        return frame
    if name is None:
        return frame
    data = splice(event.data, {("type",): b'"%b"' % name.encode()})
    return write_frame(data.replace(b"\n", b" "), event.type and name)


def events_with(frames: Sequence[bytes], mark: bytes) -> list[EventData]:
    """Read those of `frames` in which `mark` stands; what is not JSON is left out."""
    found = []
    for frame in frames:
        event = parse_frame(frame) if mark in frame else None
        if event is None:
            continue
        try:
            found.append(read_event(event))
        except ValueError:
            continue
    return found


def _usual_span(frame: bytes) -> Span | None:
    """Where the data stands in a frame of one `event:` and one `data:` line, both ended by line feeds."""
    start = frame.find(b"\n") + 7
    end = len(frame) - 2
    if not frame.startswith(b"event: ") or not frame.startswith(b"data: ", start - 6):
        return None
    return (start, end) if frame.find(b"\n", start) == end and 0x0D not in frame else None
