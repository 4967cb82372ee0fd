"""Anthropic Messages (`/v1/messages`, and `count_tokens` below it): watched, folded, unfolded and broken off."""

from collections.abc import Sequence
from typing import Final

from antiphon.dialects.dialect import Watcher
from antiphon.dialects.messages.events import ERROR, write_event
from antiphon.dialects.messages.fold import fold_message
from antiphon.dialects.messages.unfold import unfold_message
from antiphon.dialects.messages.watcher import CountWatcher, JsonWatcher, StreamWatcher
from antiphon.dialects.unstreamed import Unstreamed
from antiphon.recording import Mode
from antiphon.wire.error_forms import ANTHROPIC_ERRORS
from antiphon.wire.sse import parse_frame

_LAST_FRAMES = 3
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class Messages:
    """The dialect of messages."""

    name = "messages"
    streams = True
    keep_alive = PING
    errors = ANTHROPIC_ERRORS

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""
        return StreamWatcher() if mode is Mode.STREAM else JsonWatcher()

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Turn a complete stream into the JSON answer that holds the same."""
        return fold_message(frames)

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Turn a JSON answer into a stream that holds the same; usage is always in it."""
        del include_usage
        return unfold_message(body)

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Return the error event that ends a broken stream, unless the upstream has told one itself."""
        if any(map(_tells_error, seen[-_LAST_FRAMES:])):
            return []
        error = {"type": "api_error", "message": message, "details": {"error_code": code}}
        return [write_event(ERROR, error=error)]


def _tells_error(frame: bytes) -> bool:
    """Whether Anthropic's clients raise at this frame: they look at nothing but the event's name."""
    event = parse_frame(frame)
    return event is not None and event.type == ERROR


MESSAGES: Final = Messages()
COUNT_TOKENS: Final = Unstreamed("count_tokens", "Token counts", CountWatcher, ANTHROPIC_ERRORS)
"""The dialect of `count_tokens`."""
