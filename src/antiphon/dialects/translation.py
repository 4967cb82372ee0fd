"""One answer on its way from an upstream's dialect into the client's, by way of the hub's events.

    upstream's bytes -> frames -> AnswerReader -> events -> AnswerWriter -> the client's frames

Nobody here holds a socket, a task or a clock. Readers and writers are state machines of one answer; a dialect
needs one of each, so n dialects need n modules and not n².
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from antiphon.dialects.dialect import KEEP_ALIVE
from antiphon.dialects.providers import Profile
from antiphon.turn.events import Event
from antiphon.turn.making import MakeId
from antiphon.turn.request import HubRequest
from antiphon.turn.tools import Toolset
from antiphon.wire.errors import GatewayError
from antiphon.wire.sse import FrameReader, FrameTooLargeError, parse_frame

_PING: Final = "ping"
_ENCRYPTED: Final = "reasoning.encrypted_content"
_COMMENT: Final = re.compile(rb"(?:^|[\r\n]):")


class Structured(StrEnum):
    """How an upstream is brought to answer with JSON of a schema."""

    NATIVE = "native"
    """It takes the schema itself."""
    TOOL = "tool"
    """The schema is that of a tool which it must call; the call's arguments are the answer."""
    JSON = "json"
    """It is told the schema and asked for JSON; what it answers is checked, and asked for once more."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the upstream cannot fetch itself."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Asking:
    """What the writer of an upstream's request has to know beside the request itself."""

    model: str
    """The upstream's name of it."""
    stream: bool
    profile: Profile
    toolset: Toolset
    structured: Structured | None = None
    """Set where the request wants JSON of a schema."""
    answer_tool: str | None = None
    """The wire name of the tool whose arguments are the answer, with `Structured.TOOL`."""
    unseal: Callable[[str], Any | None] = lambda _: None
    """Opens an envelope that this upstream and model had been given; None for any other text."""
    is_sealed: Callable[[str], bool] = lambda _: False
    """Whether a text is an envelope of this gateway."""
    downloads: dict[str, Download] = field(default_factory=dict)
    """Files by the URL that the client gave."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What the reader and the writer of one answer have to know."""

    request: HubRequest
    asking: Asking
    response: Event
    """The response as it is while the answer is in progress."""
    make_id: MakeId
    now: Callable[[], float]
    """Seconds since the epoch."""
    seal: Callable[[Any], str]
    """Closes what a later turn needs into an envelope that only this gateway opens."""
    count_tokens: Callable[[Sequence[str]], int]
    """Counts the tokens of texts, where the upstream does not say."""
    count_input: Callable[[HubRequest], int]
    """Counts the tokens of a request, where the upstream does not say."""
    signs: bool = False
    """Whether the client gives reasoning back only if it came with a signature."""

    def seal_raw(self) -> Callable[[str], str] | None:
        """Return what seals reasoning as the model wrote it, for clients that give back nothing but envelopes."""
        if not self.signs and _ENCRYPTED not in self.request.get("include", ()):
            return None
        return lambda text: self.seal({"text": text})


class AnswerReader(Protocol):
    """Reads one answer of an upstream; what it understood is fetched as events."""

    def feed(self, data: bytes, event_type: str) -> None:
        """Take the data of one event, one line, or the whole JSON body. Raises ValueError or UpstreamFault."""

    def close(self, *, clean: bool) -> None:
        """The body is over; `clean` is whether it ended as HTTP says it should."""

    def fail(self, code: str, message: str) -> None:
        """End the answer as broken, unless it is over."""

    def drain(self) -> list[Event]:
        """Return the events since the last call."""


class AnswerWriter(Protocol):
    """Writes one answer for a client."""

    def feed(self, events: Sequence[Event]) -> list[bytes]:
        """Return the frames that tell of `events`, the stream's end included once it is told."""


class Framing(StrEnum):
    """How an upstream cuts its stream."""

    SSE = "sse"
    LINES = "lines"
    """One JSON document a line."""


class Translation:
    """One streamed answer being translated."""

    def __init__(
        self,
        reader: AnswerReader,
        writer: AnswerWriter,
        framing: Framing,
        limit: int,
        keep_alive: bytes = KEEP_ALIVE,
    ) -> None:
        """Refuse frames of the upstream of more than `limit` bytes.

        `keep_alive` is what the client hears where the upstream said that it is still there, and nothing else.
        """
        self._keep_alive = keep_alive
        self._reader = reader
        self._writer = writer
        self._is_lines = framing is Framing.LINES
        self._frames: FrameReader | _LineReader = (
            FrameReader(limit) if framing is Framing.SSE else _LineReader(limit)
        )

    def feed(self, data: bytes) -> list[bytes]:
        """Return the client's frames for the next bytes of the upstream."""
        try:
            frames = self._frames.feed(data)
        except FrameTooLargeError as error:
            told = [frame for each in error.frames for frame in self._take(each)]
            self._reader.fail("upstream_frame_too_large", f"The upstream sent {error}.")
            return told + self._tell()
        if len(frames) == 1:
            return self._take(frames[0])
        return [frame for each in frames for frame in self._take(each)]

    def close(self, *, clean: bool) -> list[bytes]:
        """Return the frames that the end of the upstream's body completes."""
        rest = self._frames.close() if clean else b""
        told = self._take(rest) if rest.strip() else []
        self._reader.close(clean=clean)
        return told + self._tell()

    def _take(self, frame: bytes) -> list[bytes]:
        if self._is_lines:
            feed(self._reader, frame, "")
        else:
            event = parse_frame(frame)
            if event is None or event.type == _PING:
                return [self._keep_alive] if event or _COMMENT.search(frame) else self._look(frame)
            feed(self._reader, event.data, event.type)
        return self._tell()

    def _tell(self) -> list[bytes]:
        return self._writer.feed(self._reader.drain())

    def _look(self, frame: bytes) -> list[bytes]:
        """Read llama.cpp's way of telling an error: a field `error:`, which readers of events skip."""
        _, found, rest = frame.partition(b"error:")
        if not found:
            return []
        feed(self._reader, b'{"error":%b}' % rest.strip(), "error")
        return self._tell()


def feed(reader: AnswerReader, data: bytes, event_type: str) -> None:
    """Let `reader` take data; what it cannot read ends the answer as broken."""
    try:
        reader.feed(data, event_type)
    except GatewayError as fault:
        reader.fail(fault.code or "upstream_error", fault.message)
    except ValueError:
        reader.fail("upstream_invalid_json", "The upstream sent an event that is not valid JSON.")


class _LineReader:
    """Cuts a byte stream into lines."""

    def __init__(self, limit: int) -> None:
        self._rest = b""
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) > self._limit:
            raise FrameTooLargeError(f"a line of more than {self._limit} bytes", [])
        return [line for line in lines if line.strip()]

    def close(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest
