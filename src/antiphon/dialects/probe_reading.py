"""Reads the one short streamed answer of a probe: cut into frames, watched, and timed.

Chat and Responses are judged by the watchers that judge them in the gateway. The others have a sketch here, a row
each, which says no more than what a probe has to know: where text is, what ends a stream, where tokens are counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from antiphon.dialects.dialect import Watcher
from antiphon.recording import Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.objects import JsonObject, read_object
from antiphon.wire.sse import FrameReader, FrameTooLargeError, parse_frame

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Bound of one frame; one word needs far less."""

NO_TERMINAL_EVENT: Final = "no_terminal_event"
INVALID_JSON: Final = "invalid_json"
UPSTREAM_ERROR: Final = "upstream_error"
TOO_LARGE: Final = "frame_too_large"

Tells = Callable[[JsonObject], bool]


class Cutter(Protocol):
    """Cuts a byte stream into frames."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes. Raises FrameTooLargeError."""

    def close(self) -> bytes:
        """Return what came after the last complete frame."""


class LineCutter:
    """Newline-delimited JSON: a frame is a line."""

    def __init__(self, limit: int) -> None:
        """Refuse lines of more than `limit` bytes."""
        self._limit = limit
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes. Raises FrameTooLargeError."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > self._limit:
            raise FrameTooLargeError(f"a line of more than {self._limit} bytes", lines)
        return [line for line in lines if line.strip()]

    def close(self) -> bytes:
        """Return what came after the last line end."""
        return self._held


@dataclass(frozen=True, slots=True)
class Framing:
    """How the events of a stream are told apart."""

    cut: Callable[[], Cutter]
    data_of: Callable[[bytes], bytes]
    """The JSON in a frame."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """What has to be known of a stream's events."""

    has_text: Tells
    """Whether the event brings something of the answer."""
    reason: Callable[[JsonObject], str | None]
    """Why the answer ends, where the event says so."""
    is_last: Tells | None
    """Whether nothing comes after the event; None where only the end of the body says so."""
    limits: frozenset[str]
    """Reasons that mean: stopped at the token limit."""
    usage: Callable[[JsonObject], Any]
    """The object that counts tokens, where the event has one."""
    counts: tuple[tuple[str, ...], tuple[str, ...]]
    """Members of that object that count input, and output."""


class SketchWatcher:
    """Watches a stream by its sketch; implements `dialects.dialect.Watcher`."""

    def __init__(self, sketch: Sketch, framing: Framing) -> None:
        """Begin before the first frame."""
        self._sketch = sketch
        self._data_of = framing.data_of
        self._reason: str | None = None
        self._usage: dict[str, int] = {}
        self.failure: str | None = None
        self.ended = False
        self.response_id: str | None = None

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the next frames."""
        for frame in frames:
            data = self._data_of(frame)
            if not data:
                continue
            try:
                self._take(read_object(data))
            except ValueError:
                self.failure = self.failure or INVALID_JSON

    def _take(self, event: JsonObject) -> None:
        sketch = self._sketch
        if event.get("error"):
            self.failure = self.failure or UPSTREAM_ERROR
        self._reason = sketch.reason(event) or self._reason
        self.ended = self.ended or bool(sketch.is_last and sketch.is_last(event))
        counted = sketch.usage(event)
        if isinstance(counted, dict):
            # The latest count stands: some repeat it, and none is meant to be added.
            self._usage.update({name: value for name, value in counted.items() if isinstance(value, int)})

    def close(self, *, clean: bool) -> Outcome:
        """Judge the stream."""
        if self.failure is not None:
            return Outcome(State.FAILED, self.failure)
        whole = self.ended if self._sketch.is_last else clean and self._reason is not None
        if not whole:
            return Outcome(State.FAILED, NO_TERMINAL_EVENT)
        if self._reason in self._sketch.limits:
            return Outcome(State.INCOMPLETE, "max_output_tokens", self._counted())
        return Outcome(State.COMPLETED, None, self._counted())

    def _counted(self) -> Usage:
        counted = [sum(self._usage.get(name, 0) for name in names) for names in self._sketch.counts]
        return Usage(counted[0], counted[1], sum(counted)) if any(counted) else NO_USAGE


class Reading:
    """One streamed answer being read. Times are seconds on any clock, given by the caller."""

    def __init__(self, framing: Framing, watcher: Watcher, has_text: Tells) -> None:
        """Begin before the first byte."""
        self._cutter = framing.cut()
        self._data_of = framing.data_of
        self._watcher = watcher
        self._has_text = has_text
        self._too_large = False
        self.frames = 0
        self.first_text_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more needs to be read."""
        return self._too_large or self._watcher.ended

    def feed(self, data: bytes, at: float) -> None:
        """See the bytes that arrived at the time `at`."""
        try:
            self._see(self._cutter.feed(data), at)
        except FrameTooLargeError:
            self._too_large = True

    def close(self, at: float, *, clean: bool) -> Outcome:
        """Judge the answer; `clean` is whether the body ended as HTTP says it should."""
        if self._too_large:
            return Outcome(State.FAILED, TOO_LARGE)
        if rest := self._cutter.close():
            self._see([rest], at)
        return self._watcher.close(clean=clean)

    def _see(self, frames: list[bytes], at: float) -> None:
        for frame in frames:
            try:
                event = read_object(self._data_of(frame))
            except ValueError:
                continue
            self.frames += 1
            if self.first_text_at is None and self._has_text(event):
                self.first_text_at = at
        self._watcher.feed(frames)


def _event_data(frame: bytes) -> bytes:
    event = parse_frame(frame)
    return event.data.strip() if event else b""


SSE: Final = Framing(lambda: FrameReader(MAX_FRAME_BYTES), _event_data)
"""Server-sent events."""
LINES: Final = Framing(lambda: LineCutter(MAX_FRAME_BYTES), bytes.strip)
"""Newline-delimited JSON."""


def member(event: Any, *path: str | int) -> Any:
    """The value at `path`; None where there is none."""
    for step in path:
        if isinstance(step, str) and isinstance(event, dict):
            event = event.get(step)
        elif isinstance(step, int) and isinstance(event, list) and len(event) > step:
            event = event[step]
        else:
            return None
    return event


def text_of(value: Any) -> str | None:
    """A string that says something, or None."""
    return value if isinstance(value, str) and value else None
