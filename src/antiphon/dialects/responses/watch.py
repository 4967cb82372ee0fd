"""How an answer of the Responses API ended, read from its own frames.

The terminal event is the truth: neither `[DONE]` nor the end of the body says that an answer is whole. A status
inside the response wins over the name of the event that carries it. The first verdict stands.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from antiphon.dialects.responses.frames import (
    RESPONSE_KEY,
    EventData,
    claims_lifecycle,
    read_event,
)
from antiphon.recording.recording import Outcome, State
from antiphon.turn.events import LIFECYCLE, TERMINAL
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.sse import parse_frame

NO_TERMINAL_EVENT: Final = "no_terminal_event"
INVALID_JSON: Final = "invalid_json"
UPSTREAM_ERROR: Final = "upstream_error"

_STATES: Final = {
    "completed": State.COMPLETED,
    "incomplete": State.INCOMPLETE,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
}
_PASSED_OVER: Final = tuple(
    b"event: response.%b.delta\n" % kind
    for kind in (b"output_text", b"function_call_arguments", b"reasoning_summary_text", b"reasoning_text")
)
"""How most frames of most streams start; none of them ends an answer."""
_OBJECT_END: Final = b"}\n\n"
_ERROR_LINE: Final = b"error:"
"""llama.cpp's server tells errors in a field of this name, which is none of server-sent events."""
_NOT_ENDED: Final = frozenset({"queued", "in_progress"})


class _Answer(msgspec.Struct):
    """A response, less what it says."""

    id: Any = None
    object: Any = None
    status: Any = None
    model: Any = None
    error: Any = None
    incomplete_details: Any = None
    usage: Any = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class StreamWatcher:
    """Watches a stream. It looks into frames that carry a response or an error, and passes over all others."""

    __slots__ = ("_model", "_verdict", "ended", "response_id")

    def __init__(self) -> None:
        """Start before the first frame."""
        self.response_id: str | None = None
        """The upstream's id for the answer, from the first frame that tells it."""
        self.ended = False
        self._model: str | None = None
        self._verdict: Outcome | None = None

    @property
    def failure(self) -> str | None:
        """Why the answer can no longer end well."""
        verdict = self._verdict
        return verdict.reason if verdict is not None and verdict.state is State.FAILED else None

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the next frames."""
        for frame in frames:
            if not frame.endswith(_OBJECT_END):
                self._look(frame)  # perhaps it was cut off
                continue
            if frame.startswith(_PASSED_OVER):
                continue
            if RESPONSE_KEY in frame or b"error" in frame:
                self._look(frame)

    def close(self, *, clean: bool) -> Outcome:  # noqa: ARG002  a body that ended well proves nothing here
        """Judge the answer."""
        return self._verdict or self._fault(NO_TERMINAL_EVENT)

    def _look(self, frame: bytes) -> None:
        event = parse_frame(frame)
        if event is None and frame.startswith(_ERROR_LINE):
            self._verdict = self._verdict or self._fault(UPSTREAM_ERROR)
        if event is None or self.ended:
            return
        try:
            data = read_event(event)
            if data.type in LIFECYCLE:
                self._read_lifecycle(data)
        except ValueError:
            if claims_lifecycle(event) or _is_cut_off(event.data):
                self._verdict = self._verdict or self._fault(INVALID_JSON)
                self.ended = any(name.encode() in frame for name in TERMINAL)
            return
        if data.type == "error" or (data.error and data.type not in LIFECYCLE):
            # `response.failed` may follow: the stream has not ended, but it can no longer end well.
            self._verdict = self._verdict or self._fault(_code(data.error) or _code(data) or UPSTREAM_ERROR)

    def _read_lifecycle(self, data: EventData) -> None:
        terminal = TERMINAL.get(data.type)
        if self.response_id is not None and terminal is None:
            return
        answer = _ANSWER.decode(data.response)
        if self.response_id is None:
            self.response_id = _string(answer.id)
        self._model = _string(answer.model) or self._model
        if terminal is None:
            return
        self.ended = True
        state = _STATES.get(answer.status if isinstance(answer.status, str) else "", _STATES[terminal])
        if self._verdict is None:
            self._verdict = _judge(answer, state, self.response_id, self._model)

    def _fault(self, reason: str) -> Outcome:
        return Outcome(State.FAILED, reason, NO_USAGE, self.response_id, self._model)


class BodyWatcher:
    """Watches a JSON answer."""

    __slots__ = ("_outcome", "ended", "response_id")

    failure: str | None = None
    """Not known before the end."""

    def __init__(self) -> None:
        """Start before the body."""
        self.response_id: str | None = None
        self.ended = False
        self._outcome = Outcome(State.FAILED, INVALID_JSON)

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the body."""
        try:
            answer = _ANSWER.decode(b"".join(frames))
        except ValueError:
            return
        self.ended = True
        self._outcome = _judge_body(answer)
        self.response_id = self._outcome.response_id

    def close(self, *, clean: bool) -> Outcome:  # noqa: ARG002  what is whole JSON is a whole answer
        """Judge the answer."""
        return self._outcome


def _is_cut_off(data: bytes) -> bool:
    """Whether data that cannot be read began like an event; half of a surrogate pair is nothing cut off."""
    if not data.lstrip().startswith(b"{"):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return True
    return False


def _judge_body(answer: _Answer) -> Outcome:
    is_response = answer.object == "response"
    # The id of another object is not a response's: it is passed on as it is.
    response_id = _string(answer.id) if is_response or answer.object is None else None
    model = _string(answer.model)
    if answer.error and not is_response:
        return _judge(answer, State.FAILED, response_id, model)
    status = answer.status if isinstance(answer.status, str) else None
    if status is None and is_response:
        return _judge(answer, State.FAILED if answer.error else State.COMPLETED, response_id, model)
    if status in _STATES:
        return _judge(answer, _STATES[status], response_id, model)
    reason = "not_terminal" if status in _NOT_ENDED else "not_a_response"
    return Outcome(State.FAILED, reason, NO_USAGE, response_id, model)


def _judge(answer: _Answer, state: State, response_id: str | None, model: str | None) -> Outcome:
    reason = None
    if state is State.INCOMPLETE:
        details = answer.incomplete_details
        reason = _string(details.get("reason")) if isinstance(details, dict) else None
    elif state is State.FAILED:
        reason = _code(answer.error) or UPSTREAM_ERROR
    return Outcome(state, reason, read_usage(answer.usage), response_id, model)


def read_usage(usage: Any) -> Usage:
    """Map the `usage` of section 6.1; what is malformed counts nothing."""
    if not isinstance(usage, dict):
        return NO_USAGE
    into = usage.get("input_tokens_details")
    out = usage.get("output_tokens_details")
    total = _count(usage, "input_tokens") + _count(usage, "output_tokens")
    return Usage(
        input_tokens=_count(usage, "input_tokens"),
        output_tokens=_count(usage, "output_tokens"),
        total_tokens=_count(usage, "total_tokens") or total,
        cached_tokens=_count(into, "cached_tokens"),
        cache_write_tokens=_count(into, "cache_write_tokens"),
        reasoning_tokens=_count(out, "reasoning_tokens"),
        audio_input_tokens=_count(into, "audio_tokens"),
        audio_output_tokens=_count(out, "audio_tokens"),
    )


_MOST_TOKENS = 2**53
"""More is no count, and would not fit where it is kept."""


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return min(int(value), _MOST_TOKENS) if isinstance(value, int | float) and value > 0 else 0


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(error: Any) -> str | None:
    code = error.get("code") if isinstance(error, dict) else getattr(error, "code", None)
    return str(code) if isinstance(code, str | int) and code else None
