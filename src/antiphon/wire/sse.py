"""Server-sent events, as the WHATWG HTML standard defines them (section 9.2.6), read without I/O.

A *frame* is everything up to and including the blank line that ends an event, as it arrived. Frames are
passed on as they are; what is inside is only taken apart where somebody has to look.
"""

import re
from itertools import takewhile

import msgspec

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DONE = b"data: [DONE]\n\n"

# Atomic groups: without them CRLF alone would be read as CR followed by LF, a blank line that is not there.
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_CR, _LF = 0x0D, 0x0A
"""As numbers: one looked for in a frame of 200 bytes takes CPython 0.03 µs, as bytes 0.22."""


class FrameTooLargeError(ValueError):
    """A frame grew past the limit before it ended; `frames` came whole in front of it."""

    def __init__(self, message: str, frames: list[bytes]) -> None:
        """Carry what can still be passed on."""
        super().__init__(message)
        self.frames = frames


class Event(msgspec.Struct, frozen=True, gc=False):
    """What a frame says: its `event:` field or "", and its `data:` lines joined with line feeds."""

    type: str
    data: bytes


class FrameReader:
    """Cuts a byte stream into frames, however the bytes are split on their way.

    A carriage return at the very end of what has arrived may be the first half of CRLF, so a frame that
    ends with one is held back until the next byte, or until `close`.
    """

    __slots__ = ("_held", "_limit", "_scanned", "_size")

    def __init__(self, limit: int) -> None:
        """Refuse frames of more than `limit` bytes."""
        self._held: list[bytes] = []
        """The beginning of a frame; all pieces but the first are without line ends."""
        self._size = 0
        self._limit = limit
        self._scanned = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes. Raises FrameTooLargeError."""
        held = self._held
        if not held:
            buffer = data
            if _is_one_frame(data):
                # Most reads bring one whole frame.
                if len(data) > self._limit:
                    raise FrameTooLargeError(f"an event of more than {self._limit} bytes", [])
                return [data]
        elif b"\n" in data or _CR in data or held[-1][-1:] == b"\r":
            buffer = b"".join(held) + data
        else:
            # No frame ends here. A large one comes in many pieces, and joining each time would take the square.
            held.append(data)
            self._size += len(data)
            self._check(self._size, [])
            return []
        split = _split_any if _CR in buffer else _split_line_feeds
        frames, rest = split(buffer, self._scanned)
        self._held = [rest] if rest else []
        self._size = len(rest)
        # A blank line is at most four bytes long: look at the last three again next time.
        self._scanned = max(0, len(rest) - 3)
        self._check(max(map(len, frames), default=0), frames)
        self._check(self._size, frames)
        return frames

    def close(self) -> bytes:
        """Return what came after the last complete frame; a frame held back for its CR is among it."""
        rest = b"".join(self._held)
        self._held, self._size, self._scanned = [], 0, 0
        return rest

    def _check(self, size: int, frames: list[bytes]) -> None:
        if size > self._limit:
            good = [*takewhile(lambda frame: len(frame) <= self._limit, frames)]
            raise FrameTooLargeError(f"an event of more than {self._limit} bytes", good)


def _is_one_frame(data: bytes) -> bool:
    """Whether data is one frame from its beginning to its end; false also where that is hard to say."""
    end = len(data) - 2
    if data.find(b"\n\n") == end:
        return _CR not in data and end >= 0
    return data.endswith(b"\r\n\r\n") and data.find(_CR) == end - 2 and data.find(_LF) == end - 1


def _split_line_feeds(buffer: bytes, scanned: int) -> tuple[list[bytes], bytes]:
    frames: list[bytes] = []
    start = 0
    end = buffer.find(b"\n\n", scanned)
    while end >= 0:
        frames.append(buffer[start : end + 2])
        start = end + 2
        end = buffer.find(b"\n\n", start)
    return frames, buffer[start:] if start else buffer


def _split_any(buffer: bytes, scanned: int) -> tuple[list[bytes], bytes]:
    frames: list[bytes] = []
    start = 0
    # Looking again from the middle of a CRLF would take its LF for a line end of its own.
    if scanned and buffer[scanned - 1 : scanned + 1] == b"\r\n":
        scanned -= 1
    found = _BLANK_LINE.search(buffer, scanned)
    while found:
        end = found.end()
        if end == len(buffer) and buffer[-1] == 0x0D:
            break
        frames.append(buffer[start:end])
        start = end
        found = _BLANK_LINE.search(buffer, start)
    return frames, buffer[start:]


def parse_frame(frame: bytes) -> Event | None:
    """Take a frame apart; None if it holds no data (comments, blank lines)."""
    end, first = len(frame) - 2, frame.find(_LF)
    if frame.startswith(b"data: "):
        if first == end and _CR not in frame:
            return Event("", frame[6:end])
        if first == end - 1 and frame.find(_CR) == end - 2:
            return Event("", frame[6 : end - 2])
    elif _is_named(frame, first, end):
        return Event(frame[7:first].decode("utf-8", "replace"), frame[first + 7 : end])
    event_type = b""
    data: list[bytes] = []
    for line in _LINE_END.split(frame.removeprefix(BYTE_ORDER_MARK)):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event_type = value.removeprefix(b" ")
    if not data:
        return None
    return Event(event_type.decode("utf-8", "replace"), b"\n".join(data))


def _is_named(frame: bytes, first: int, end: int) -> bool:
    """Whether a frame is one `event:` and one `data:` line, which line feeds end at `first` and `end`."""
    has_lines = frame.startswith(b"event: ") and frame.startswith(b"data: ", first + 1)
    return has_lines and frame.find(_LF, first + 1) == end and _CR not in frame


def write_frame(data: bytes, event_type: str = "") -> bytes:
    """Write one event with line feeds; `data` has no line end in it."""
    if event_type:
        return b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)
    return b"data: %b\n\n" % data
