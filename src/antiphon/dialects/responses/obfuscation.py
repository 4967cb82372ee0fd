"""Noise beside the deltas of a stream, so that their sizes on the wire do not tell what is said (`include_obfuscation`)."""

from collections.abc import Callable
from typing import Final

import msgspec

from antiphon.dialects.responses.frames import data_span, is_event
from antiphon.wire.splice import member_spans, without_member
from antiphon.wire.sse import parse_frame, write_frame

_NOISE: Final = "obfuscation"
_KEY: Final = b'"obfuscation"'
_DELTA: Final = b".delta"
_STEP: Final = 16
"""Deltas are filled up to a multiple of so many characters."""


class _Delta(msgspec.Struct):
    type: str = ""
    delta: str = ""


_DELTAS: Final = msgspec.json.Decoder(_Delta)


def plain(frame: bytes) -> bytes:
    """Return a frame without noise."""
    if _KEY not in frame or not is_event(frame):
        return frame
    event = parse_frame(frame)
    assert event is not None
    data = without_member(event.data, _NOISE)
    return frame if data == event.data else write_frame(data.replace(b"\n", b" "), event.type)


def obscured(frame: bytes, noise: Callable[[int], str]) -> bytes:
    """Return a frame with noise if it is a delta that has none; `noise` makes so many letters and digits."""
    if _DELTA not in frame or not is_event(frame):
        return frame
    span = data_span(frame)
    if span is None:
        event = parse_frame(frame)
        assert event is not None
        frame = write_frame(event.data.replace(b"\n", b" "), event.type)
        span = data_span(frame)
        assert span is not None
    start, end = span
    data = frame[start:end]
    try:
        told = _DELTAS.decode(data)
    except ValueError:
        return frame  # what changes is no text
    if not told.type.endswith(".delta") or (_KEY in data and member_spans(data, [(_NOISE,)])):
        return frame
    padding = noise(_STEP - len(told.delta) % _STEP).encode()
    inside = data.index(b"{") + 1
    return b'%b%b"obfuscation":"%b",%b%b' % (
        frame[:start],
        data[:inside],
        padding,
        data[inside:],
        frame[end:],
    )
