"""Transcriptions (`/v1/audio/transcriptions`): JSON, plain text and subtitles, and a stream of events.

The terminal event of a stream holds all that the JSON answer holds but the segments, which are events of their own.
"""

from collections.abc import Sequence
from typing import Final

from antiphon.dialects.chat.dialect import break_frames
from antiphon.dialects.chat.fold import fold_chat
from antiphon.dialects.dialect import KEEP_ALIVE, Watcher
from antiphon.dialects.transcript_watcher import TERMINAL, TranscriptWatcher, judge_json, judge_text
from antiphon.dialects.whole import WholeWatcher
from antiphon.recording import Mode
from antiphon.wire.error_forms import OPENAI_ERRORS
from antiphon.wire.objects import JsonObject, read_chunks, read_object, write_object
from antiphon.wire.sse import DONE, write_frame

_DELTA: Final = "transcript.text.delta"
_DONE: Final = "transcript.text.done"
_SEGMENTS: Final = frozenset({"transcript.text.segment", "transcription.segment"})
_SEGMENT: Final = "transcript.text.segment"
_TEXT_TYPES: Final = frozenset({b"text/plain", b"text/vtt", b"text/srt", b"application/x-subrip"})


class Transcriptions:
    """The dialect of transcriptions."""

    name = "transcriptions"
    streams = True
    keep_alive = KEEP_ALIVE
    errors = OPENAI_ERRORS

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""
        return TranscriptWatcher() if mode is Mode.STREAM else WholeWatcher(judge_json)

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Turn a complete stream into the JSON answer that holds the same."""
        events = read_chunks(frames)
        done = next((event for event in events if event.get("type") in TERMINAL), None)
        if done is None:
            return _fold_chunks(frames)
        answer = {name: value for name, value in done.items() if name != "type"}
        segments = [event for event in events if event.get("type") in _SEGMENTS]
        if segments:
            answer.setdefault("segments", segments)
        probabilities = [each for event in events for each in _probabilities(event)]
        if probabilities:
            answer.setdefault("logprobs", probabilities)
        return write_object(answer)

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Turn a whole answer, JSON or a plain text, into a stream that holds the same."""
        del include_usage
        try:
            answer = read_object(body)
        except ValueError:
            answer = {"text": body.decode("utf-8", "replace")}
        segments = answer.get("segments")
        if isinstance(segments, list) and segments and all(map(_is_segment, segments)):
            events = segments
            answer = {name: value for name, value in answer.items() if name != "segments"}
        else:
            events = [_delta(answer)]
        done = {"type": _DONE, **answer}
        return [*(write_frame(write_object(event)) for event in (*events, done)), DONE]

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Return the frame that ends a broken stream: an error, and no `[DONE]`."""
        return break_frames(message, code, seen)


TRANSCRIPTIONS = Transcriptions()


def is_text(content_type: bytes) -> bool:
    """Whether this is the type of a transcription in plain text, or of subtitles."""
    return content_type.partition(b";")[0].strip().lower() in _TEXT_TYPES


def watch_text() -> Watcher:
    """Return a watcher for one answer of such a type, with status 200."""
    return WholeWatcher(judge_text)


def _delta(answer: JsonObject) -> JsonObject:
    delta: JsonObject = {"type": _DELTA, "delta": answer.get("text", "")}
    if "logprobs" in answer:
        delta["logprobs"] = answer["logprobs"]
    return delta


def _probabilities(event: JsonObject) -> list[object]:
    found = event.get("logprobs") if event.get("type") == _DELTA else None
    return found if isinstance(found, list) else []


def _is_segment(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == _SEGMENT


def _fold_chunks(frames: Sequence[bytes]) -> bytes:
    """Fold the chunks of vLLM, which are those of a chat."""
    chat = read_object(fold_chat(frames))
    texts = [choice["message"].get("content") or "" for choice in chat["choices"]]
    usage = {} if chat.get("usage") is None else {"usage": chat["usage"]}
    return write_object({"text": "".join(texts), **usage})
