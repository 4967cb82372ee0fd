"""What the simulator can be told to answer, and what it remembers of what it was asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec

HUGE_FRAME_BYTES = 10 * 1024 * 1024
REASONS = {200: b"OK", 404: b"Not Found", 429: b"Too Many Requests", 503: b"Service Unavailable"}


class Fault(StrEnum):
    """How an answer breaks. `Answer.at` is the index of the frame before which it does.

    A closed port is not an answer: see `refused_base_url`.
    """

    RESET_BEFORE_HEAD = "reset_before_head"
    RESET_IN_HEAD = "reset_in_head"
    RESET_BETWEEN_FRAMES = "reset_between_frames"
    RESET_INSIDE_FRAME = "reset_inside_frame"
    STALL = "stall"
    """Sends nothing more and keeps the connection open; with a negative `at` not even a head."""
    DRIP = "drip"
    """The whole answer, a byte at a time."""
    NO_TERMINAL_EVENT = "no_terminal_event"
    """Ends after `at` frames, and cleanly as far as HTTP knows."""
    NO_LAST_CHUNK = "no_last_chunk"
    """Closes where HTTP expects more: no zero chunk, or a byte short of the content length."""
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """Status 200 and the HTML page of some proxy."""
    INVALID_JSON = "invalid_json"
    """Half of the body, or half of the data in frame `at`."""
    HUGE_FRAME = "huge_frame"
    """A frame of 10 MB where frame `at` would be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `frames` for a stream, else `body`."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    frames: Sequence[bytes] | None = None
    body: bytes = b""
    content_type: str | None = None
    """None: `text/event-stream` for frames, else `application/json`."""
    gaps: float | Sequence[float] = 0.0
    """Seconds before each frame, or before all of them."""
    chunked: bool | None = None
    """None: chunked for frames, content-length for a body."""
    fault: Fault | None = None
    at: int = 1
    gate: asyncio.Event | None = None
    """Awaited before frame `gate_at` is sent, so that a test can hold the answer without sleeping."""
    gate_at: int = 0

    @property
    def parts(self) -> Sequence[bytes]:
        """What is sent, piece by piece."""
        return (self.body,) if self.frames is None else self.frames

    @property
    def is_chunked(self) -> bool:
        """Whether the body goes out in chunks."""
        return self.frames is not None if self.chunked is None else self.chunked

    @property
    def is_plain(self) -> bool:
        """Whether the answer can be sent at once."""
        return not self.gaps and self.gate is None and self.fault is None

    def gap(self, index: int) -> float:
        """Seconds to wait before part `index`."""
        return self.gaps if isinstance(self.gaps, int | float) else self.gaps[index]

    def head(self) -> bytes:
        """Render status line and headers."""
        content_type = self.content_type
        if content_type is None:
            content_type = "application/json" if self.frames is None else "text/event-stream"
        lines = [
            b"HTTP/1.1 %d %b" % (self.status, REASONS.get(self.status, b"Answer")),
            b"content-type: " + content_type.encode(),
        ]
        if self.is_chunked:
            lines.append(b"transfer-encoding: chunked")
        else:
            lines.append(b"content-length: %d" % sum(map(len, self.parts)))
        lines.extend(f"{name}: {value}".encode("latin-1") for name, value in self.headers)
        return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(slots=True)
class Received:
    """One request, and what became of its answer."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case; of a name sent twice the last value."""
    time: float
    """The loop's clock when the request was complete."""
    connection: int
    """The number of the connection, counted from 1: pooling shows here."""
    body: bytes = b""
    parts_sent: int = 0
    aborted: bool = False
    """The peer closed before the answer was finished."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the answer is finished, broken off or aborted."""


def chunk(data: bytes) -> bytes:
    """Frame `data` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def faulted(answer: Answer) -> Answer:
    """Return what is sent instead, where the fault lies in what is said and not in how."""
    match answer.fault:
        case Fault.RATE_LIMITED:
            return replace(
                _error(429, "Rate limit reached for requests", "rate_limit_exceeded"),
                headers=(("retry-after", "7"),),
            )
        case Fault.SERVER_ERROR:
            return _error(503, "The server is overloaded", "server_error")
        case Fault.WRONG_CONTENT_TYPE:
            return Answer(body=b"<html><body>Please log in</body></html>", content_type="text/html")
        case Fault.NO_TERMINAL_EVENT:
            return replace(answer, fault=None, frames=answer.parts[: answer.at])
        case Fault.INVALID_JSON if answer.frames is None:
            return replace(answer, fault=None, body=answer.body[: len(answer.body) // 2])
        case Fault.INVALID_JSON:
            frame = answer.parts[answer.at]
            broken = frame[: len(frame) // 2].rstrip(b"\r\n") + b"\n\n"
            return replace(answer, fault=None, frames=_with(answer.parts, answer.at, broken))
        case Fault.HUGE_FRAME:
            huge = b'data: {"huge":"%b"}\n\n' % (b"x" * HUGE_FRAME_BYTES)
            return replace(answer, fault=None, frames=_with(answer.parts, answer.at, huge))
        case _:
            return answer


def _with(parts: Sequence[bytes], index: int, part: bytes) -> list[bytes]:
    return [*parts[:index], part, *parts[index + 1 :]]


def _error(status: int, message: str, code: str) -> Answer:
    error = {"message": message, "type": code, "param": None, "code": code}
    return Answer(status=status, body=msgspec.json.encode({"error": error}))
