"""Multipart forms (RFC 7578): taken apart, and put together again without touching what is inside.

`python-multipart` finds the parts. Each keeps its header lines and its content as the bytes that arrived, and
the content is a view, so that a file of many megabytes is not copied.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from antiphon.wire.errors import ClientFault

_TYPE = b"multipart/form-data"
_MAX_PARTS = 256
_MAX_LOOKALIKES = 1024
"""How often the delimiter may stand in a body: each time costs a microsecond to look at."""
_MAX_BOUNDARY = 200
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]")
_TOKEN = re.compile(rb"[0-9A-Za-z'+_\-.]+")
_HEAD_END = b"\r\n\r\n"
_PLAIN_ENCODINGS = frozenset({b"", b"binary", b"7bit", b"8bit"})


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One field or file of a form."""

    name: str
    filename: str | None
    content_type: str
    """Empty where none is told."""
    head: bytes
    """Its header lines, without the line end of the last."""
    content: memoryview


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The parts of a form, in order."""

    boundary: bytes
    parts: tuple[Part, ...]

    @property
    def content_type(self) -> bytes:
        """The header under which the form is sent."""
        quoted = self.boundary if _TOKEN.fullmatch(self.boundary) else b'"%b"' % self.boundary
        return b"%b; boundary=%b" % (_TYPE, quoted)


def is_form(content_type: bytes) -> bool:
    """Whether a body of this type is a form in parts."""
    return content_type.partition(b";")[0].strip().lower() == _TYPE


def read_form(content_type: bytes, body: bytes) -> Form:
    """Take a body apart. Raises ClientFault, saying what is wrong with the form."""
    boundary = _boundary(content_type)
    if body.count(b"\r\n--" + boundary) > _MAX_LOOKALIKES:
        raise _fault("its boundary stands in it too often; choose one that does not occur in the file")
    collector = _Collector(body)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": collector.on_part_begin,
            "on_header_field": collector.on_header_field,
            "on_header_value": collector.on_header_value,
            "on_header_end": collector.on_header_end,
            "on_part_data": collector.on_part_data,
            "on_part_end": collector.on_part_end,
            "on_end": collector.on_end,
        },
    )
    try:
        parser.write(body)
    except FormParserError as error:
        offset = getattr(error, "offset", -1)
        raise _fault(f"it is malformed at byte {offset}" if offset >= 0 else "it is malformed") from error
    if not collector.is_whole:
        raise _fault(f"it ends (byte {len(body)}) without its closing boundary")
    return Form(boundary, tuple(collector.parts))


def write_form(boundary: bytes, parts: Iterable[tuple[bytes, bytes | memoryview]]) -> bytes:
    """Put a form together from the head and the content of each part."""
    pieces: list[bytes | memoryview] = []
    for head, content in parts:
        pieces += (b"--", boundary, b"\r\n", head, _HEAD_END, content, b"\r\n")
    return b"".join([*pieces, b"--", boundary, b"--\r\n"])


class _Collector:
    """Hears the parser. The body is fed whole, so positions are those in the body."""

    def __init__(self, body: bytes) -> None:
        self.parts: list[Part] = []
        self.is_whole = False
        self._body = body
        self._view = memoryview(body)

    def on_part_begin(self) -> None:
        if len(self.parts) == _MAX_PARTS:
            raise _fault(f"it has more than {_MAX_PARTS} parts")
        self._headers: dict[bytes, bytes] = {}
        self._start = self._end = -1

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        if self._start < 0:
            self._start = start
        self._name, self._value = data[start:end].lower(), b""

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = data[start:end]

    def on_header_end(self) -> None:
        if self._name in self._headers:
            raise _fault(f"part {len(self.parts)} has the header {self._name.decode()!r} twice")
        if b"\n" in self._value:
            raise _fault(f"part {len(self.parts)} has a header with a line feed in it")
        self._headers[self._name] = self._value.strip()

    def on_part_data(self, _data: bytes, _start: int, end: int) -> None:
        self._end = end

    def on_part_end(self) -> None:
        number = len(self.parts)
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise _fault(f'part {number} has no `Content-Disposition: form-data; name="…"`')
        if self._headers.get(b"content-transfer-encoding", b"").lower() not in _PLAIN_ENCODINGS:
            raise _fault(f"part {number} is encoded for transfer; send its bytes as they are")
        head_end = self._body.index(_HEAD_END, self._start)
        content = head_end + len(_HEAD_END)
        filename = options.get(b"filename")
        self.parts.append(
            Part(
                name=_text(options[b"name"], number),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                content_type=self._headers.get(b"content-type", b"").decode("latin-1"),
                head=self._body[self._start : head_end],
                content=self._view[content : max(content, self._end)],
            )
        )

    def on_end(self) -> None:
        self.is_whole = True


def _boundary(content_type: bytes) -> bytes:
    if not is_form(content_type):
        raise ClientFault(
            "The request body must be a form: send it as multipart/form-data.", code="invalid_form"
        )
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise _fault("its Content-Type names no boundary")
    if len(boundary) > _MAX_BOUNDARY or not _BOUNDARY.fullmatch(boundary):
        raise _fault("its boundary is not one that RFC 2046 allows")
    return boundary


def _text(name: bytes, number: int) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise _fault(f"the name of part {number} is not UTF-8") from error


def _fault(what: str) -> ClientFault:
    return ClientFault(f"The request body is not a valid form: {what}.", code="invalid_form")
