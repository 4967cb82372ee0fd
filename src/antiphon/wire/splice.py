"""JSON surgery on bytes: change a few members of a document, and leave every other byte as it was.

Reading a document and writing it again loses spaces, key order and the way numbers are written; answers
pass through the gateway byte for byte. What is not well-formed is not changed from there on.
"""

import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

Path = tuple[str, ...]
"""Names of members, from the outermost object inwards."""
Span = tuple[int, int]
"""Where a value stands: first byte, and the byte after the last."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_KEY = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[^\s,:\[\]{}\"]++", re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+,")
_OPENING = re.compile(rb"[ \t\r\n]*+\{")
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)


def splice(document: bytes, changes: Mapping[Path, bytes]) -> bytes:
    """Replace the values at the paths in `changes`; a path that is not there changes nothing.

    Where a key stands twice both values are replaced. Of two paths of which one is inside the other, the
    outer one is changed.
    """
    pieces: list[bytes] = []
    end = 0
    for path, (start, stop) in _find(document, changes):
        pieces += (document[end:start], changes[path])
        end = stop
    if not pieces:
        return document
    pieces.append(document[end:])
    return b"".join(pieces)


def member_spans(document: bytes, paths: Collection[Path]) -> dict[Path, Span]:
    """Say where the values at `paths` stand; where a key stands twice, the last, as JSON readers do."""
    return dict(_find(document, paths))


def with_member(document: bytes, name: str, value: bytes) -> bytes:
    """Replace a member of the outermost object, or add it where it is missing."""
    if member_spans(document, [(name,)]):
        return splice(document, {(name,): value})
    opening = _OPENING.match(document)
    if opening is None:
        return document
    rest = document[opening.end() :]
    comma = b"" if rest.lstrip().startswith(b"}") else b","
    return b"%b%b:%b%b%b" % (opening[0], msgspec.json.encode(name), value, comma, rest)


def without_member(document: bytes, name: str) -> bytes:
    """Leave a member of the outermost object out, if it is there."""
    opening = _OPENING.match(document)
    end = None if opening is None else opening.end()
    while end is not None and (key := _KEY.match(document, end)):
        stop = _end_of_value(document, key.end())
        comma = None if stop is None else _NEXT.match(document, stop)
        if stop is not None and _unescape(key[1]) == name:
            if comma is not None:
                return document[:end] + document[comma.end() :].lstrip()
            # The last one goes with the comma in front of it.
            return document[:end].rstrip(b", \t\r\n") + document[stop:]
        end = None if comma is None else comma.end()
    return document


def after_opening(document: bytes, path: Path) -> int | None:
    """Say where a first member of the object at `path` would stand; None if there is no object, or an empty one."""
    start = 0
    if path:
        span = member_spans(document, [path]).get(path)
        if span is None:
            return None
        start = span[0]
    opening = _OPENING.match(document, start)
    if opening is None or _KEY.match(document, opening.end()) is None:
        return None
    return opening.end()


def replace_string(document: bytes, old: bytes, new: bytes) -> bytes:
    """Replace each JSON string that is exactly `old`, for an `old` without quotes, backslashes and commas."""
    quoted = b'"%b"' % old
    if quoted not in document or not old:
        return document
    if b"\\" + quoted not in document:
        return document.replace(quoted, b'"%b"' % new)
    pieces: list[bytes] = []
    end = 0
    for start, stop in string_spans(document, old):
        pieces += (document[end:start], new)
        end = stop
    return b"".join((*pieces, document[end:]))


def string_spans(document: bytes, content: bytes) -> list[Span]:
    """Say where the JSON strings stand that are exactly `content`, without their quotes."""
    if not content:
        return []
    quoted = b'"%b"' % content
    spans: list[Span] = []
    start = document.find(quoted)
    while start >= 0:
        # Behind a backslash the quote does not open a string: it is inside one.
        if not start or document[start - 1] != 0x5C:
            spans.append((start + 1, start + 1 + len(content)))
        start = document.find(quoted, start + 1)
    return spans


def _find(document: bytes, paths: Collection[Path]) -> Iterator[tuple[Path, Span]]:
    opening = _OPENING.match(document)
    if opening is not None:
        yield from _find_inside(document, opening.end(), (), paths)


def _find_inside(
    document: bytes, position: int, inside: Path, paths: Collection[Path]
) -> Iterator[tuple[Path, Span]]:
    depth = len(inside)
    wanted = {
        path[depth]: path[: depth + 1] for path in paths if len(path) > depth and path[:depth] == inside
    }
    raw = {name.encode(): path for name, path in wanted.items()}
    for key, start, stop in _members(document, position):
        name = key[1:-1]
        path = wanted.get(_unescape(key)) if b"\\" in name else raw.get(name)
        if path is None:
            continue
        if path in paths:
            yield path, (start, stop)
        elif document[start] == 0x7B:
            yield from _find_inside(document, start + 1, path, paths)


def _members(document: bytes, position: int) -> Iterator[tuple[bytes, int, int]]:
    while found := _KEY.match(document, position):
        start = found.end()
        stop = _end_of_value(document, start)
        if stop is None:
            return
        yield found[1], start, stop
        comma = _NEXT.match(document, stop)
        if comma is None:
            return
        position = comma.end()


def _end_of_value(document: bytes, start: int) -> int | None:
    if document[start : start + 1] not in (b"{", b"["):
        found = _SCALAR.match(document, start)
        return found.end() if found else None
    depth = 0
    for token in _STRUCTURE.finditer(document, start):
        first = document[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return None


def _unescape(key: bytes) -> str:
    try:
        return msgspec.json.decode(key, type=str)
    except ValueError:
        return ""
