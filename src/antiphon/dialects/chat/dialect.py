"""Chat completions (`/v1/chat/completions`): watched, folded, unfolded and broken off."""

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.dialects.chat.fold import fold_chat
from antiphon.dialects.chat.unfold import unfold_chat
from antiphon.dialects.chat.watcher import JsonWatcher, StreamWatcher
from antiphon.dialects.dialect import KEEP_ALIVE, Watcher
from antiphon.recording import Mode
from antiphon.wire.error_forms import OPENAI_ERRORS
from antiphon.wire.objects import DECODE_FAULTS
from antiphon.wire.sse import parse_frame, write_frame


class Chat:
    """The dialect of chat completions."""

    name = "chat"
    streams = True
    keep_alive = KEEP_ALIVE
    errors = OPENAI_ERRORS

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""
        return StreamWatcher() if mode is Mode.STREAM else JsonWatcher("choices")

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Turn a complete stream into the JSON answer that holds the same."""
        return fold_chat(frames)

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Turn a JSON answer into a stream that holds the same."""
        return unfold_chat(body, include_usage=include_usage)

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Return the frame that ends a broken stream: an error, and no `[DONE]`."""
        return break_frames(message, code, seen)


CHAT = Chat()

_LAST_FRAMES = 3


def break_frames(message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
    """Write the error that stands where a stream's end should be, unless the upstream has told one itself."""
    if any(map(_tells_error, seen[-_LAST_FRAMES:])):
        return []
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return [write_frame(msgspec.json.encode({"error": error}))]


class _Error(msgspec.Struct, gc=False):
    error: Any = None


_error = msgspec.json.Decoder(_Error).decode


def _tells_error(frame: bytes) -> bool:
    event = parse_frame(frame)
    if event is None:
        return False
    try:
        # An `event: error` without this member is none to client libraries: they would take the stream for whole.
        return bool(_error(event.data).error)
    except DECODE_FAULTS:
        return False


class _Outline(msgspec.Struct, gc=False):
    choices: list[msgspec.Raw] | None = None
    usage: Any = None


_outline = msgspec.json.Decoder(_Outline).decode


def is_usage_only(frame: bytes) -> bool:
    """Tell whether a frame is the chunk that only a client who asked for usage is to see."""
    try:
        outline = _outline(frame[6:] if frame[:6] == b"data: " else _data(frame))
    except DECODE_FAULTS:
        return False
    return outline.choices == [] and isinstance(outline.usage, dict)


def _data(frame: bytes) -> bytes:
    event = parse_frame(frame)
    return event.data if event else b""
