"""Text completions (`/v1/completions`): chat's older sister, with `text` where chat has a message."""

from collections.abc import Sequence

from antiphon.dialects.chat.dialect import break_frames
from antiphon.dialects.chat.fold import fold_completion
from antiphon.dialects.chat.unfold import unfold_completion
from antiphon.dialects.chat.watcher import JsonWatcher, StreamWatcher
from antiphon.dialects.dialect import KEEP_ALIVE, Watcher
from antiphon.recording import Mode
from antiphon.wire.error_forms import OPENAI_ERRORS


class Completions:
    """The dialect of text completions."""

    name = "completions"
    streams = True
    keep_alive = KEEP_ALIVE
    errors = OPENAI_ERRORS

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""
        return StreamWatcher() if mode is Mode.STREAM else JsonWatcher("choices")

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Turn a complete stream into the JSON answer that holds the same."""
        return fold_completion(frames)

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Turn a JSON answer into a stream that holds the same."""
        return unfold_completion(body, include_usage=include_usage)

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Return the frame that ends a broken stream: an error, and no `[DONE]`."""
        return break_frames(message, code, seen)


COMPLETIONS = Completions()
