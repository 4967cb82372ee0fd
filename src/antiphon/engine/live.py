"""A live recording: bytes come in from an upstream, frames go out to any number of listeners.

    waiting --head 200--> recording --terminal event, end or fault--> ended
       |                                                                ^
       +------------ error status, wrong kind of body, fault -----------+

The producer pushes; each listener keeps its own position. A listener whose client is slow falls behind alone;
only when all are more than a limit behind is the upstream read more slowly.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from typing import Protocol

from antiphon.cache.entry import Entry
from antiphon.dialects.dialect import Dialect, Watcher
from antiphon.dialects.transcriptions import is_text, watch_text
from antiphon.engine.error_answers import (
    MAX_ERROR_BYTES,
    ErrorAnswer,
    error_answer,
    hidden_error,
    not_followed,
    redact,
)
from antiphon.ports.upstream import Call
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.wire.errors import GatewayError, UpstreamFault
from antiphon.wire.objects import DONE_DATA, read_object
from antiphon.wire.sse import FrameReader, FrameTooLargeError, parse_frame

_BACKLOG_BYTES = 1024 * 1024
_OK = 200
_MULTIPLE_CHOICES = 300
_BAD_REQUEST = 400


class Listener(Protocol):
    """One reader of a live recording."""

    @property
    def consumed(self) -> int:
        """How many bytes of the recording have been passed on."""

    def on_frames(self) -> bool:
        """There are more frames than before. Returns whether all of them were passed on."""

    def on_silence(self) -> None:
        """Nothing has come for a while."""

    def on_end(self) -> None:
        """The recording has ended; nothing about it changes any more."""


class LiveRecording:
    """Implements `ports.upstream.AnswerSink`."""

    __slots__ = (
        "_call",
        "_clock",
        "_dialect",
        "_end_at",
        "_limits",
        "_on_ended",
        "_parts",
        "_parts_size",
        "_paused",
        "_reader",
        "_secrets",
        "_sent_at",
        "_takes_text",
        "_watcher",
        "echo",
        "error_answer",
        "fault",
        "is_followed",
        "listeners",
        "parts",
        "recording",
        "spare",
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
        secrets: Sequence[bytes],
        takes_text: bool = False,
        on_ended: Callable[["LiveRecording"], None],
    ) -> None:
        """Record into `recording`; `clock` is monotonic; `secrets` are redacted from the upstream's errors.

        `takes_text` is whether the answer may be a plain text.
        """
        self.recording = recording
        self.listeners: list[Listener] = []
        self.echo: dict[str, bytes] = {}
        self.stored = False
        self.is_followed = False
        """Whether it is made in another process, and recorded here once more."""
        self.spare: Entry | None = None
        """What may answer those to whom nothing was sent, if it fails."""
        self.parts: Sequence[Entry] = ()
        """Of the answer to a list, the entries of its items."""
        self.fault: GatewayError | None = None
        self.error_answer: ErrorAnswer | None = None
        self._dialect = dialect
        self._clock = clock
        self._limits = (max_frame_bytes, max_answer_bytes)
        self._secrets = secrets
        self._takes_text = takes_text
        self._on_ended = on_ended
        self._sent_at = clock()
        self._call: Call | None = None
        self._reader: FrameReader | None = None
        self._watcher: Watcher | None = None
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._paused = False
        self._end_at: int | None = None

    # Producing.

    def started(self, call: Call) -> None:
        """The request is on its way; its times count from here."""
        self._call = call
        self._sent_at = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the request was sent."""
        return self._clock() - self._sent_at

    @elapsed.setter
    def elapsed(self, seconds: float) -> None:
        self._sent_at = self._clock() - seconds

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
            self.fail(not_followed(status))
            return
        self._takes_text = self._takes_text and is_text(content_type)
        if self._takes_text:
            recording.mode, self._watcher = Mode.JSON, watch_text()
            return
        if content_type:
            mode = mode_of(content_type)
            if mode is None:
                named = content_type.decode("latin-1")
                self._give_up(f"The upstream answered with content type {named!r}.", "upstream_content_type")
                return
            recording.mode = mode
        if recording.mode is Mode.STREAM:
            self._read_as_stream()
        else:
            self._watcher = self._dialect.watch(Mode.JSON)

    def data(self, data: bytes) -> None:
        """See more of the upstream's body."""
        reader = self._reader
        if reader is None:
            if self._parts or not self._is_mislabelled(data):
                self._collect(data)
                return
            reader = self._read_as_stream()
        try:
            frames = reader.feed(data)
        except FrameTooLargeError as error:
            if error.frames:
                self._append(error.frames)
            self._give_up(f"The upstream sent {error}.", "upstream_frame_too_large")
            return
        if frames:
            self._append(frames)

    def frames(self, frames: list[bytes], times: Sequence[int] = ()) -> None:
        """See more of a stream that is in frames already: those of a translation, which need no cutting.

        `times` are those at which somebody else has recorded them.
        """
        if frames and self._watcher is not None:
            before = len(self.recording.times)
            self._append(frames)
            if len(times) == len(self.recording.times) - before:
                self.recording.times[before:] = times

    def _is_mislabelled(self, data: bytes) -> bool:
        """Whether events come under the content type of JSON, as some servers send them."""
        is_answer = self.recording.is_live and self.recording.head.status < _BAD_REQUEST
        return is_answer and not self._takes_text and data.lstrip()[:6].startswith((b"data:", b"event:"))

    def _read_as_stream(self) -> FrameReader:
        self.recording.mode = Mode.STREAM
        self._watcher = self._dialect.watch(Mode.STREAM)
        self._reader = reader = FrameReader(self._limits[0])
        return reader

    def end(self) -> None:
        """The upstream's body is over, as HTTP says."""
        self._call = None
        if not self.recording.is_live:
            return
        if self.recording.head.status >= _BAD_REQUEST:
            self._end_error()
        elif self._reader is not None:
            self._end_stream(clean=True)
        else:
            self._end_json()

    def broken(self, fault: UpstreamFault) -> None:
        """The upstream's answer broke off, or never came."""
        self._call = None
        if not self.recording.is_live:
            return
        if self.recording.head.status >= _BAD_REQUEST:
            self._end_error()  # the status says more than that its body is not whole
        elif self._reader is not None and self.recording.frames:
            self._end_stream(clean=False, fault=fault)
        else:
            self._end(Outcome(State.FAILED, fault.code), fault)

    def fail(self, fault: GatewayError) -> None:
        """End the recording for a reason of our own."""
        if self.recording.is_live:
            self._cancel_call()
            self._end(Outcome(State.FAILED, fault.code), fault)

    def _append(self, frames: list[bytes]) -> None:
        recording, watcher = self.recording, self._watcher
        assert watcher is not None
        watcher.feed(frames)
        failure = watcher.failure
        if failure is not None:
            frames = [redact(frame, self._secrets) for frame in takewhile(_is_readable, frames)]
        if watcher.ended and self._end_at is None:
            self._end_at = len(recording.frames)
        recording.extend(frames, int((self._clock() - self._sent_at) * 1e6))
        if recording.size > self._limits[1]:
            self._give_up(f"The answer is longer than {self._limits[1]} bytes.", "upstream_answer_too_large")
            return
        all_behind = True
        for listener in tuple(self.listeners):
            if listener.on_frames():
                all_behind = False
        if failure == "invalid_json" and recording.is_live:
            # A client library would choke on the event before it could read what we say of it.
            self._cancel_call()
            self._end_stream(clean=False)
        elif all_behind and not self._paused and self._call is not None:
            self._hold_back()

    def _collect(self, data: bytes) -> None:
        if not self.recording.is_live:
            return
        self._parts.append(data)
        self._parts_size += len(data)
        limit = self._limits[1] if self.recording.head.status < _BAD_REQUEST else MAX_ERROR_BYTES
        if self._parts_size > limit:
            self._give_up(f"The answer is longer than {limit} bytes.", "upstream_answer_too_large")

    def _end_stream(self, *, clean: bool, fault: GatewayError | None = None) -> None:
        assert self._reader is not None
        assert self._watcher is not None
        rest = self._reader.close() if clean else b""
        if rest.strip():
            self._watcher.feed([rest])
        outcome = self._watcher.close(clean=clean)
        if rest and outcome.state in {State.COMPLETED, State.INCOMPLETE}:
            # The last event came without its blank line, or only blanks were left.
            self.recording.extend([rest], int((self._clock() - self._sent_at) * 1e6))
        if outcome.state is not State.FAILED:
            fault = None
        elif fault is None:
            reason = outcome.reason or "upstream_error"
            message, code = _BROKEN.get(reason, (_BROKEN["upstream_error"][0], reason))
            fault = UpstreamFault(message, code=code)
        self._end(outcome, fault)

    def _end_json(self) -> None:
        if self._watcher is None:
            self._end(Outcome(State.FAILED, "upstream_protocol_error"), _no_body())
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._watcher.feed([body])
        outcome = self._watcher.close(clean=True)
        fault = None
        if outcome.state is State.FAILED:
            body = redact(body, self._secrets)
            self.error_answer = hidden_error(self.recording.head, body)
            if outcome.reason == "invalid_json":
                fault = UpstreamFault(
                    "The upstream's answer is not valid JSON.", code="upstream_invalid_json"
                )
        self.recording.extend([body], int((self._clock() - self._sent_at) * 1e6))
        self._end(outcome, fault)

    def _end_error(self) -> None:
        body = redact(b"".join(self._parts), self._secrets)
        self.error_answer = error_answer(self.recording.head, body)
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
        try:
            self._on_ended(self)
        finally:
            # A defect in keeping the answer must not leave its clients waiting for the end.
            for listener in tuple(self.listeners):
                listener.on_end()

    # Listening.

    @property
    def response_id(self) -> str | None:
        """The upstream's id for the answer, as soon as it is known."""
        if self._watcher is not None:
            return self._watcher.response_id
        return self.recording.outcome.response_id

    @property
    def max_answer_bytes(self) -> int:
        """Bound of the whole answer."""
        return self._limits[1]

    @property
    def before_end(self) -> int:
        """How many frames there are before those that came with the terminal event."""
        return len(self.recording.frames) if self._end_at is None else self._end_at

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

    def tell_silence(self, seconds: float) -> None:
        """Tell the listeners if no frame has come for so long."""
        times = self.recording.times
        heard_at = self._sent_at + (times[-1] / 1e6 if times else 0.0)
        if self._clock() - heard_at >= seconds:
            for listener in tuple(self.listeners):
                listener.on_silence()

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


def _is_readable(frame: bytes) -> bool:
    event = parse_frame(frame)
    data = event.data.strip() if event else b""
    if data in (b"", DONE_DATA):
        return True
    try:
        read_object(data)
    except ValueError:
        return False
    return True


def _no_body() -> UpstreamFault:
    return UpstreamFault("The upstream answered without a body.", code="upstream_protocol_error")


@lru_cache(1024)
def _is_passed_on(name: bytes) -> bool:
    return name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)


_PASSED_ON = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry", b"x-request-id", b"request-id"})
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
