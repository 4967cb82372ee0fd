"""A live recording: bytes come in from an upstream, frames go out to any number of listeners.

    waiting --head 200--> recording --terminal event, end or fault--> ended
       |                                                                ^
       +------------ error status, wrong kind of body, fault -----------+

The producer pushes; each listener keeps its own position. A listener whose client is slow falls behind alone;
only when all are more than a limit behind is the upstream read more slowly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from antiphon.dialects.dialect import Dialect, Watcher
from antiphon.ports.upstream import Call
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.wire.errors import GatewayError, UpstreamFault
from antiphon.wire.sse import FrameReader, FrameTooLargeError

_BACKLOG_BYTES = 1024 * 1024
_ERROR_BODY_BYTES = 1024 * 1024
_OK = 200
_MULTIPLE_CHOICES = 300
_BAD_REQUEST = 400


class Listener(Protocol):
    """One reader of a live recording."""

    @property
    def consumed(self) -> int:
        """How many bytes of the recording have been passed on."""

    def on_frames(self) -> None:
        """There are more frames than before."""

    def on_end(self) -> None:
        """The recording has ended; nothing about it changes any more."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An upstream's own error, to be passed on."""

    status: int
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class LiveRecording:
    """Implements `ports.upstream.AnswerSink`."""

    __slots__ = (
        "_call",
        "_clock",
        "_dialect",
        "_limits",
        "_on_ended",
        "_parts",
        "_parts_size",
        "_paused",
        "_reader",
        "_redact",
        "_sent_at",
        "_watcher",
        "echo",
        "error_answer",
        "fault",
        "is_open",
        "listeners",
        "recording",
        "stored",
    )

    def __init__(
        self,
        recording: Recording,
        dialect: Dialect,
        *,
        clock: Callable[[], float],
        max_frame_bytes: int,
        max_answer_bytes: int,
        secret: bytes,
        on_ended: Callable[["LiveRecording"], None],
    ) -> None:
        """Record into `recording`; `clock` is monotonic; `secret` is redacted from the upstream's errors."""
        self.recording = recording
        self.listeners: list[Listener] = []
        self.echo: dict[str, bytes] = {}
        self.is_open = False
        self.stored = False
        self.fault: GatewayError | None = None
        self.error_answer: ErrorAnswer | None = None
        self._dialect = dialect
        self._clock = clock
        self._limits = (max_frame_bytes, max_answer_bytes)
        self._redact = secret
        self._on_ended = on_ended
        self._sent_at = clock()
        self._call: Call | None = None
        self._reader: FrameReader | None = None
        self._watcher: Watcher | None = None
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._paused = False

    # Producing.

    def started(self, call: Call) -> None:
        """The request is on its way; its times count from here."""
        self._call = call
        self._sent_at = self._clock()

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See the upstream's status and headers."""
        content_type = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value
        recording = self.recording
        recording.head = Head(status, content_type or b"application/json", passed_on(headers))
        if status >= _BAD_REQUEST:
            return
        if not _OK <= status < _MULTIPLE_CHOICES:
            self._give_up(
                f"The upstream answered with status {status}, which is not followed.", "upstream_status"
            )
            return
        if content_type:
            mode = mode_of(content_type)
            if mode is None:
                named = content_type.decode("latin-1")
                self._give_up(f"The upstream answered with content type {named!r}.", "upstream_content_type")
                return
            recording.mode = mode
        if recording.mode is Mode.STREAM:
            self._reader = FrameReader(self._limits[0])
        self._watcher = self._dialect.watch(recording.mode)

    def data(self, data: bytes) -> None:
        """See more of the upstream's body."""
        reader = self._reader
        if reader is None:
            self._collect(data)
            return
        try:
            frames = reader.feed(data)
        except FrameTooLargeError as error:
            self._give_up(f"The upstream sent {error}.", "upstream_frame_too_large")
            return
        if frames:
            self._append(frames)

    def end(self) -> None:
        """The upstream's body is over, as HTTP says."""
        self._call = None
        status = self.recording.head.status
        if status >= _BAD_REQUEST:
            self._end_error(status)
        elif self._reader is not None:
            self._end_stream(clean=True)
        else:
            self._end_json()

    def broken(self, fault: UpstreamFault) -> None:
        """The upstream's answer broke off, or never came."""
        self._call = None
        if self._reader is not None and self.recording.frames:
            self._end_stream(clean=False, fault=fault)
        else:
            self._end(Outcome(State.FAILED, fault.code), fault)

    def fail(self, fault: GatewayError) -> None:
        """End the recording for a reason of our own."""
        if self.recording.is_live:
            self._cancel_call()
            self._end(Outcome(State.FAILED, fault.code), fault)

    def _append(self, frames: list[bytes]) -> None:
        recording = self.recording
        recording.extend(frames, int((self._clock() - self._sent_at) * 1e6))
        assert self._watcher is not None
        self._watcher.feed(frames)
        if recording.size > self._limits[1]:
            self._give_up(f"The answer is longer than {self._limits[1]} bytes.", "upstream_answer_too_large")
            return
        self.is_open = True
        for listener in tuple(self.listeners):
            listener.on_frames()
        if not self._paused and self._call is not None:
            self._hold_back()

    def _collect(self, data: bytes) -> None:
        self._parts.append(data)
        self._parts_size += len(data)
        limit = self._limits[1] if self.recording.head.status < _BAD_REQUEST else _ERROR_BODY_BYTES
        if self._parts_size > limit:
            self._give_up(f"The answer is longer than {limit} bytes.", "upstream_answer_too_large")

    def _end_stream(self, *, clean: bool, fault: GatewayError | None = None) -> None:
        assert self._reader is not None
        assert self._watcher is not None
        rest = self._reader.close()
        if rest.strip() and clean:
            self._watcher.feed([rest])
        outcome = self._watcher.close(clean=clean)
        if rest and outcome.state in {State.COMPLETED, State.INCOMPLETE}:
            # The last event came without its blank line, or only blanks were left.
            self.recording.extend([rest], int((self._clock() - self._sent_at) * 1e6))
        if outcome.state is not State.FAILED:
            fault = None
        elif fault is None:
            message, code = _BROKEN.get(outcome.reason or "", _BROKEN["no_terminal_event"])
            fault = UpstreamFault(message, code=code)
        self._end(outcome, fault)

    def _end_json(self) -> None:
        if self._watcher is None:
            self._end(Outcome(State.FAILED, "upstream_protocol_error"), _no_body())
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self.recording.extend([body], int((self._clock() - self._sent_at) * 1e6))
        self._watcher.feed([body])
        outcome = self._watcher.close(clean=True)
        fault = None
        if outcome.state is State.FAILED and outcome.reason == "invalid_json":
            fault = UpstreamFault("The upstream's answer is not valid JSON.", code="upstream_invalid_json")
        self._end(outcome, fault)

    def _end_error(self, status: int) -> None:
        head = self.recording.head
        body = b"".join(self._parts)
        if self._redact:
            body = body.replace(self._redact, b"[redacted]")
        self.error_answer = ErrorAnswer(status, head.content_type, head.headers, body)
        self._end(Outcome(State.FAILED, "upstream_error"), None)

    def _give_up(self, message: str, code: str) -> None:
        self._cancel_call()
        self._end(Outcome(State.FAILED, code), UpstreamFault(message, code=code))

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _end(self, outcome: Outcome, fault: GatewayError | None) -> None:
        if not self.recording.is_live:
            return
        if outcome.response_id is None and self.response_id is not None:
            outcome = replace(outcome, response_id=self.response_id)
        self.recording.outcome = outcome
        self.fault = fault
        self._parts = []
        self._reader = self._watcher = None
        self._on_ended(self)
        for listener in tuple(self.listeners):
            listener.on_end()

    # Listening.

    @property
    def response_id(self) -> str | None:
        """The upstream's id for the answer, as soon as it is known."""
        if self._watcher is not None:
            return self._watcher.response_id
        return self.recording.outcome.response_id

    def attach(self, listener: Listener) -> None:
        """Let `listener` hear what comes. What there is already is its to read."""
        self.listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        """Forget `listener`; when it was the last one the upstream is closed at once."""
        if listener in self.listeners:
            self.listeners.remove(listener)
        if not self.listeners and self.recording.is_live:
            self._cancel_call()
            self._end(Outcome(State.CANCELLED, "client_left"), None)
        else:
            self.caught_up()

    def caught_up(self) -> None:
        """Read on if the upstream was held back and somebody is ready for more."""
        if self._paused and self._backlog() < _BACKLOG_BYTES // 2 and self._call is not None:
            self._paused = False
            self._call.resume()

    def _hold_back(self) -> None:
        if self._backlog() > _BACKLOG_BYTES and self._call is not None:
            self._paused = True
            self._call.pause()

    def _backlog(self) -> int:
        most = max((listener.consumed for listener in self.listeners), default=self.recording.size)
        return self.recording.size - most


_BROKEN = {
    "no_terminal_event": (
        "The upstream's answer ended before it was complete.",
        "upstream_truncated",
    ),
    "invalid_json": ("The upstream sent an event that is not valid JSON.", "upstream_invalid_json"),
    "upstream_error": ("The upstream reported an error in the middle of its answer.", "upstream_error"),
}


def _no_body() -> UpstreamFault:
    return UpstreamFault("The upstream answered without a body.", code="upstream_protocol_error")


@lru_cache(1024)
def _is_passed_on(name: bytes) -> bool:
    return name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)


_PASSED_ON = frozenset({b"retry-after", b"retry-after-ms", b"x-request-id", b"request-id"})
_PASSED_ON_PREFIXES = (b"x-ratelimit-", b"ratelimit", b"anthropic-ratelimit-")


def passed_on(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the upstream's headers that a client sees: retry, rate-limit and request-id."""
    return tuple([header for header in headers if _is_passed_on(header[0])])


@lru_cache(256)
def mode_of(content_type: bytes) -> Mode | None:
    """Return how a body of this type is read, None if it is no answer of a model."""
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"text/event-stream":
        return Mode.STREAM
    return Mode.JSON if kind.endswith((b"/json", b"+json")) else None
