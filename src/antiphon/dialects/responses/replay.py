"""A recorded answer of the Responses API, told to another request.

What a replay may change is little: the response's id, when it was created, and the members that only echo what
was asked. They are found once; after that each replay is a join of slices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from antiphon.dialects.responses.frames import RESPONSE_KEY, data_span
from antiphon.recording.recording import Mode
from antiphon.wire.splice import (
    Path,
    Span,
    after_opening,
    member_spans,
    replace_string,
    splice,
    string_spans,
    with_member,
)
from antiphon.wire.sse import parse_frame, write_frame

ECHOED: Final = {
    "metadata": b"{}",
    "store": b"true",
    "user": b"null",
    "safety_identifier": b"null",
    "prompt_cache_key": b"null",
    "background": b"false",
    "previous_response_id": b"null",
    "conversation": b"null",
}
"""Members of a response that only echo the request and are not in the cache key, with their defaults.

`service_tier` is not among them: it tells what was used.
"""

OWN: Final = ("previous_response_id", "conversation")
"""Those of them that no upstream is told of: they are added where the recorded answer does not have them."""

_NOTHING: Final[Mapping[str, bytes]] = {}
_NULL: Final = b"null"
_INSIDE: Final[Path] = ("response",)
_ID: Final = "id"
_CREATED_AT: Final = "created_at"


def asked_by(document: bytes, mode: Mode, changes: Mapping[str, bytes]) -> bytes:
    """Replace members of the response in a body (Mode.JSON) or one frame, with raw JSON of one line.

    Members that the response does not have are not added, but for those in `OWN`; frames without a response stay
    as they are.
    """
    if mode is Mode.JSON:
        return _changed(document, (), changes)
    if RESPONSE_KEY not in document:
        return document
    span = data_span(document)
    if span is not None:
        start, end = span
        changed = _changed(document[start:end], _INSIDE, changes)
        return b"%b%b%b" % (document[:start], changed, document[end:])
    event = parse_frame(document)
    if event is None:
        return document
    return write_frame(_changed(event.data, _INSIDE, changes).replace(b"\n", b" "), event.type)


def _changed(document: bytes, inside: Path, changes: Mapping[str, bytes]) -> bytes:
    """Change members of the object at the path `inside`."""
    changed = splice(document, {(*inside, name): value for name, value in changes.items()})
    for name in OWN:
        value = changes.get(name, _NULL)
        if value == _NULL or member_spans(document, [(*inside, name)]):
            continue
        if not inside:
            changed = with_member(changed, name, value)
        elif (span := member_spans(changed, [inside]).get(inside)) is not None:
            start, end = span
            added = with_member(changed[start:end], name, value)
            changed = b"%b%b%b" % (changed[:start], added, changed[end:])
    return changed


def under_id(frame: bytes, recorded: bytes, response_id: bytes) -> bytes:
    """Put another response id (without quotes) into a frame that is passed on while it comes.

    Some upstreams change their id from one event to the next: the response's own is replaced whatever it is.
    """
    frame = replace_string(frame, recorded, response_id)
    if RESPONSE_KEY not in frame or b'"%b"' % response_id in frame:
        return frame
    return asked_by(frame, Mode.STREAM, {_ID: b'"%b"' % response_id})


@dataclass(frozen=True, slots=True)
class Template:
    """An answer cut where a replay may differ; as it stands, its pieces are the answer as recorded."""

    pieces: tuple[bytes, ...]
    slots: tuple[tuple[int, str], ...]
    """Which pieces may be replaced, and the member of the response that each is the value of; an empty one is the
    place for a member that is not there."""

    def fill(
        self, response_id: bytes, created_at: bytes | None, echoed: Mapping[str, bytes] = _NOTHING
    ) -> bytes:
        """Return the answer under another id (without quotes) and time, echoing another request.

        An empty id leaves the recorded one, and without `created_at` the recorded time stays.
        """
        pieces = list(self.pieces)
        for index, name in self.slots:
            if name == _ID:
                pieces[index] = response_id or pieces[index]
            elif name == _CREATED_AT:
                if created_at is not None:
                    pieces[index] = created_at
            elif name in echoed:
                value = echoed[name]
                if pieces[index]:
                    pieces[index] = value
                elif value != _NULL:
                    pieces[index] = b'"%b":%b,' % (name.encode(), value)
        return b"".join(pieces)


def template(frames: Sequence[bytes], mode: Mode, response_id: str | None = None) -> Template:
    """Cut a recording: the frames of a stream, or one body. One frame alone may be cut as well.

    `response_id` is the upstream's id; without it those in `frames` are taken.
    """
    whole = b"".join(frames)
    bases = _documents(frames) if mode is Mode.STREAM else iter([(0, whole)])
    inside: Path = _INSIDE if mode is Mode.STREAM else ()
    paths = [(*inside, name) for name in (_ID, _CREATED_AT, *ECHOED)]
    slots: set[tuple[Span, str]] = set()
    known = {response_id.encode()} if response_id else set()
    for base, document in bases:
        spans = member_spans(document, paths)
        missing = [name for name in OWN if (*inside, name) not in spans]
        place = after_opening(document, inside) if missing else None
        if place is not None:
            slots.update(((base + place, base + place), name) for name in missing)
        for path, (start, end) in spans.items():
            if path[-1] != _ID:
                slots.add(((base + start, base + end), path[-1]))
            elif document[start] == 0x22:
                # Some upstreams change their id from one event to the next: each is the response's.
                known.add(document[start + 1 : end - 1])
    for content in known:
        slots.update((span, _ID) for span in string_spans(whole, content))
    return _cut(whole, sorted(slots))


def _documents(frames: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    position = 0
    for frame in frames:
        span = data_span(frame) if RESPONSE_KEY in frame else None
        if span is not None:
            yield position + span[0], frame[span[0] : span[1]]
        position += len(frame)


def _cut(whole: bytes, slots: Sequence[tuple[Span, str]]) -> Template:
    pieces: list[bytes] = []
    places: list[tuple[int, str]] = []
    end = 0
    for (start, stop), name in slots:
        # An id inside the metadata of the first request goes when the metadata goes.
        if start < end:
            continue
        pieces += (whole[end:start], whole[start:stop])
        places.append((len(pieces) - 1, name))
        end = stop
    return Template((*pieces, whole[end:]), tuple(places))
