"""Cutting the bytes of any upstream's answer into frames: events, lines, or one body."""

from antiphon.recording import Mode
from antiphon.wire.sse import FrameReader

_LIMIT = 1 << 30
"""Whoever reads the answer has a limit; here none is needed."""


class AnswerFrames:
    """Cuts one answer, whose content type is known."""

    def __init__(self, content_type: bytes, status: int) -> None:
        """Read what comes with this head."""
        kind = content_type.partition(b";")[0].strip().lower()
        is_answer = status < 400
        self._events = FrameReader(_LIMIT) if is_answer and kind == b"text/event-stream" else None
        self._is_lines = is_answer and kind.endswith((b"ndjson", b"stream+json"))
        self._rest: list[bytes] = []
        self.mode = Mode.STREAM if self._events is not None or self._is_lines else Mode.JSON

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes."""
        if self._events is not None:
            return self._events.feed(data)
        if not self._is_lines or b"\n" not in data:
            self._rest.append(data)
            return []
        *lines, rest = b"".join((*self._rest, data)).split(b"\n")
        self._rest = [rest] if rest else []
        return [line + b"\n" for line in lines]

    def close(self) -> bytes:
        """Return what is left: a whole body, or what came after the last whole frame."""
        if self._events is not None:
            return self._events.close()
        rest = b"".join(self._rest)
        self._rest = []
        return rest
