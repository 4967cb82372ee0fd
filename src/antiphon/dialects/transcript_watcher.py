"""Reads along while a transcription passes unchanged, and judges at the end how it ended.

A stream is whole at its `transcript.text.done`, with Mistral at `transcription.done`. vLLM streams the chunks of
a chat, and those are watched as such.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from antiphon.dialects.chat.usage import read_usage
from antiphon.dialects.chat.watcher import StreamWatcher
from antiphon.recording import Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.objects import DONE_DATA, JsonObject, read_object
from antiphon.wire.sse import parse_frame

TERMINAL: Final = frozenset({"transcript.text.done", "transcription.done"})
"""OpenAI's, and Mistral's."""


class TranscriptWatcher:
    """Watches the events of one streamed transcription."""

    __slots__ = ("_chunks", "_done", "failure")

    response_id: str | None = None
    """There is none."""

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._chunks: StreamWatcher | None = None
        self._done: JsonObject | None = None
        self.failure: str | None = None
        """Why the answer can no longer end well."""

    @property
    def ended(self) -> bool:
        """Whether the terminal event, or an error, has been seen."""
        if self._chunks is not None:
            return self._chunks.ended
        return self._done is not None or self.failure is not None

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the next frames; those after the end do not matter."""
        for index, frame in enumerate(frames):
            if self._chunks is not None:
                self._chunks.feed(frames[index:])
                self.failure = self._chunks.failure
                return
            if self.ended:
                return
            self._look(frame)

    def _look(self, frame: bytes) -> None:
        event = parse_frame(frame)
        data = event.data.strip() if event else b""
        if event is None or data in (b"", DONE_DATA):
            return
        try:
            said = read_object(data)
        except ValueError:
            self.failure = "invalid_json"
            return
        if said.get("error") or "error" in (event.type, said.get("type")):
            self.failure = "upstream_error"
        elif said.get("type") in TERMINAL:
            self._done = said
        elif "choices" in said:
            self._chunks = StreamWatcher()
            self._chunks.feed([frame])

    def close(self, *, clean: bool) -> Outcome:
        """Judge the stream."""
        if self._chunks is not None:
            return self._chunks.close(clean=clean)
        if self.failure is not None:
            return Outcome(State.FAILED, self.failure)
        if self._done is None:
            return Outcome(State.FAILED, "no_terminal_event")
        return _completed(self._done)


def judge_json(body: bytes) -> Outcome:
    """Judge a whole answer in JSON."""
    try:
        answer = read_object(body)
    except ValueError:
        return Outcome(State.FAILED, "invalid_json")
    if answer.get("error") or answer.get("object") == "error":
        return Outcome(State.FAILED, "upstream_error")
    if not isinstance(answer.get("text"), str):
        return Outcome(State.FAILED, "no_text")
    return _completed(answer)


def judge_text(body: bytes) -> Outcome:
    """Judge a whole answer in plain text: nothing can be missing from it, unless it is JSON under a wrong name."""
    if body.lstrip()[:1] == b"{":
        outcome = judge_json(body)
        if outcome.reason != "invalid_json":
            return outcome
    return Outcome(State.COMPLETED)


def _completed(said: JsonObject) -> Outcome:
    model = said.get("model")
    return Outcome(
        State.COMPLETED,
        usage=_usage(said.get("usage")),
        model=model if isinstance(model, str) and model else None,
    )


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Details(msgspec.Struct):
    audio_tokens: _Count | None = None


class _Tokens(msgspec.Struct):
    input_tokens: _Count
    output_tokens: _Count = 0
    total_tokens: _Count | None = None
    input_token_details: _Details | None = None


def _usage(value: Any) -> Usage:
    """Count tokens as OpenAI tells them, or, with Mistral, as chats do; what is billed by the second has none."""
    try:
        told = msgspec.convert(value, _Tokens)
    except msgspec.ValidationError:
        return read_usage(value) or NO_USAGE
    details = told.input_token_details
    return Usage(
        input_tokens=told.input_tokens,
        output_tokens=told.output_tokens,
        total_tokens=told.total_tokens or told.input_tokens + told.output_tokens,
        audio_input_tokens=(details.audio_tokens if details else None) or 0,
    )
