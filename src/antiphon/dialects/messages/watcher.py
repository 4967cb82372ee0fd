"""Reads along while Anthropic messages pass unchanged, and judges at the end how they ended.

A stream is whole at `message_stop` and only then. Why it stopped is told before: by `message_delta`, or already
by `message_start` where the message was known beforehand (calls made from a container).
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.dialects.messages.events import BLOCK_DELTA, ERROR, MESSAGE_DELTA, MESSAGE_START, MESSAGE_STOP
from antiphon.dialects.messages.usage import merged_usage, read_usage
from antiphon.dialects.whole import WholeWatcher
from antiphon.recording import Outcome, State
from antiphon.wire.objects import DECODE_FAULTS, JsonObject, read_object
from antiphon.wire.sse import parse_frame

_INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    # No limit that the request had set, so not the reason that may be cached.
    "model_context_window_exceeded": "model_context_window_exceeded",
    "refusal": "content_filter",
}
"""All others complete a message: `end_turn`, `stop_sequence`, `tool_use`, `pause_turn`, and what comes later."""


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Any = None


class _Delta(msgspec.Struct, gc=False):
    stop_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    message: _Message | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


class _Answer(_Message, gc=False):
    type: str | None = None
    content: list[msgspec.Raw] | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event).decode
_answer = msgspec.json.Decoder(_Answer).decode


def _lenient_event(raw: JsonObject) -> _Event:
    """Read what a strictly typed pass refuses: wrong types cost only the member that has them."""
    message, delta = raw.get("message"), raw.get("delta")
    return _Event(
        type=_text(raw.get("type")) or "",
        message=_lenient_message(message) if isinstance(message, dict) else None,
        delta=_Delta(_text(delta.get("stop_reason"))) if isinstance(delta, dict) else None,
        usage=raw.get("usage"),
        error=raw.get("error"),
    )


def _lenient_message(raw: JsonObject) -> _Message:
    return _Message(
        id=_text(raw.get("id")),
        model=_text(raw.get("model")),
        stop_reason=_text(raw.get("stop_reason")),
        usage=raw.get("usage"),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def judge_stop(stop_reason: str | None) -> tuple[State, str | None]:
    """Tell from the reason why a whole message stopped how it ended."""
    if not stop_reason:
        return State.INCOMPLETE, "no_stop_reason"
    reason = _INCOMPLETE.get(stop_reason)
    return (State.COMPLETED, None) if reason is None else (State.INCOMPLETE, reason)


class StreamWatcher:
    """Watches the events of one streamed message."""

    __slots__ = ("_id", "_model", "_stop_reason", "_stopped", "_usage", "failure")

    def __init__(self) -> None:
        """Begin before the first frame."""
        self.failure: str | None = None
        """Why the answer can no longer end well."""
        self._stopped = False
        self._id: str | None = None
        self._model: str | None = None
        self._stop_reason: str | None = None
        self._usage: Any = None

    @property
    def ended(self) -> bool:
        """Whether `message_stop` or an error has been seen."""
        return self._stopped or self.failure is not None

    @property
    def response_id(self) -> str | None:
        """The message's id."""
        return self._id

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the next frames; those after the end do not matter."""
        for frame in frames:
            if self._stopped or self.failure is not None:
                return
            start = frame.find(b"\ndata: ") + 7
            try:
                event = _event(frame[start:]) if start > 6 else None
            except DECODE_FAULTS:
                event = None
            if event is None or not event.type:
                self._look(frame)
            elif event.type != BLOCK_DELTA or event.error:
                self._take(event)

    def _take(self, event: _Event) -> None:
        message = event.message
        if event.error or event.type == ERROR:
            self.failure = "upstream_error"
        elif event.type == MESSAGE_START and message is not None:
            self._id = message.id or self._id
            self._model = message.model or self._model
            self._stop_reason = message.stop_reason or self._stop_reason
            self._usage = merged_usage(self._usage, message.usage)
        elif event.type == MESSAGE_DELTA:
            if event.delta is not None and event.delta.stop_reason:
                self._stop_reason = event.delta.stop_reason
            self._usage = merged_usage(self._usage, event.usage)
        elif event.type == MESSAGE_STOP:
            self._stopped = True

    def _look(self, frame: bytes) -> None:
        """See a frame that is not an event's name and one line of well-typed JSON."""
        event = parse_frame(frame)
        if event is None:
            if frame.startswith(b"error:"):
                self.failure = "upstream_error"  # llama.cpp's own field, which readers of events skip
            return
        data = event.data.strip()
        if event.type == ERROR:
            self.failure = "upstream_error"
        elif data:
            try:
                self._take(_lenient_event(read_object(data)))
            except ValueError:
                self.failure = "invalid_json"

    def close(self, *, clean: bool) -> Outcome:
        """Judge the stream; a body that ended as it should is no message without its `message_stop`."""
        del clean
        if self.failure is not None:
            state, reason = State.FAILED, self.failure
        elif not self._stopped:
            state, reason = State.FAILED, "no_terminal_event"
        else:
            state, told = judge_stop(self._stop_reason)
            return Outcome(state, told, read_usage(self._usage), self._id, self._model)
        return Outcome(state, reason, read_usage(self._usage), self._id, self._model)


class JsonWatcher(WholeWatcher):
    """Watches one JSON answer."""

    __slots__ = ()

    def __init__(self) -> None:
        """Begin before the body."""
        super().__init__(_judge_body)


def _judge_body(body: bytes) -> Outcome:
    try:
        answer = _answer(body)
    except DECODE_FAULTS:
        try:
            answer = _lenient_answer(read_object(body))
        except ValueError:
            return Outcome(State.FAILED, "invalid_json")
    state, reason = _judge(answer)
    return Outcome(state, reason, read_usage(answer.usage), answer.id or None, answer.model or None)


def _judge(answer: _Answer) -> tuple[State, str | None]:
    if answer.error or answer.type == ERROR:
        return State.FAILED, "upstream_error"
    return (State.FAILED, "no_content") if answer.content is None else judge_stop(answer.stop_reason)


def _lenient_answer(raw: JsonObject) -> _Answer:
    message, content = _lenient_message(raw), raw.get("content")
    return _Answer(
        id=message.id,
        model=message.model,
        stop_reason=message.stop_reason,
        usage=message.usage,
        type=_text(raw.get("type")),
        content=[] if isinstance(content, list) else None,
        error=raw.get("error"),
    )


class _Counted(msgspec.Struct):
    input_tokens: int


_counted = msgspec.json.Decoder(_Counted).decode


class CountWatcher(WholeWatcher):
    """Watches the answer to a question for the number of tokens."""

    __slots__ = ()

    def __init__(self) -> None:
        """Begin before the body."""
        super().__init__(_judge_count)


def _judge_count(body: bytes) -> Outcome:
    try:
        _counted(body)
    except msgspec.ValidationError:
        return Outcome(State.FAILED, "no_input_tokens")
    except DECODE_FAULTS:
        return Outcome(State.FAILED, "invalid_json")
    return Outcome(State.COMPLETED)
