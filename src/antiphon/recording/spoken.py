"""What an answer says, perhaps piece by piece: texts whose pieces stand in many frames are looked through whole.

Pieces belong together that stand in the same place of the same kind of event, about the same item.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from antiphon.wire.sse import parse_frame, write_frame

Spans = Callable[[str], Sequence[tuple[int, int]]]
"""Returns the stretches of a text that are not to be seen, which do not overlap, in their order."""

_SPOKEN: Final = frozenset(
    {
        *("delta", "content", "text", "refusal", "arguments", "input", "partial_json", "thinking"),
        *("reasoning", "reasoning_content", "response", "token"),
    }
)
"""The members that hold pieces of texts, in any dialect."""
_ABOUT: Final = frozenset({"index", "output_index", "content_index", "summary_index", "item_id"})
"""Which of several things is spoken of; beside them the type of an event."""


@dataclass(slots=True)
class _Piece:
    """A text in a frame."""

    frame: int
    holder: dict[str, Any]
    name: str

    @property
    def text(self) -> str:
        return str(self.holder[self.name])


def without_spans(frames: Sequence[bytes], spans: Spans, instead: str) -> list[bytes]:
    """Return the frames of an answer with `instead` for what `spans` finds, also where it is spread over several.

    Only frames with a piece of that are written anew.
    """
    parsed = [_parsed(frame) for frame in frames]
    texts: dict[tuple[object, ...], list[_Piece]] = {}
    for number, value in enumerate(parsed):
        for place, holder, name in _spoken(value, ()):
            texts.setdefault(place, []).append(_Piece(number, holder, name))
    changed: set[int] = set()
    for pieces in texts.values():
        changed.update(_blank(pieces, spans("".join(piece.text for piece in pieces)), instead))
    return [
        _written(frame, parsed[number]) if number in changed else frame for number, frame in enumerate(frames)
    ]


def _blank(pieces: Sequence[_Piece], spans: Sequence[tuple[int, int]], instead: str) -> Iterator[int]:
    """Take stretches of a text out of its pieces, and yield the frames that change."""
    end = 0
    for piece in pieces:
        start, text, kept = end, piece.text, ""
        at, end = start, start + len(text)
        for first, last in spans:
            if last <= at or first >= end:
                continue
            if first >= start:
                kept += text[at - start : first - start] + instead
            at = min(last, end)
        kept += text[at - start :]
        if kept != text:
            piece.holder[piece.name] = kept
            yield piece.frame


def _spoken(
    value: Any, about: tuple[object, ...]
) -> Iterator[tuple[tuple[object, ...], dict[str, Any], str]]:
    """Yield each text that may be a piece: its place, and where it stands."""
    if isinstance(value, list):
        for entry in value:
            yield from _spoken(entry, about)
    elif isinstance(value, dict):
        known = tuple(
            (name, entry)
            for name, entry in value.items()
            if isinstance(entry, str | int) and (name in _ABOUT or (name == "type" and not about))
        )
        for name, entry in value.items():
            if isinstance(entry, str):
                if name in _SPOKEN:
                    yield (*about, known, name), value, name
            else:
                yield from _spoken(entry, (*about, known, name))


def _parsed(frame: bytes) -> Any:
    """Return what a frame says: an event's data, or the line itself; None for what is not JSON."""
    try:
        if frame[:1] in (b"{", b"["):
            return msgspec.json.decode(frame)
        event = parse_frame(frame)
        return None if event is None else msgspec.json.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _written(frame: bytes, value: Any) -> bytes:
    data = msgspec.json.encode(value)
    if frame[:1] in (b"{", b"["):
        return data + b"\n" if frame.endswith(b"\n") else data
    event = parse_frame(frame)
    return write_frame(data, event.type if event else "")
