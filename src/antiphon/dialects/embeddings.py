"""Embeddings (`/v1/embeddings`): JSON only, there is nothing to fold."""

from collections.abc import Sequence
from typing import NoReturn

from antiphon.dialects.chat_watcher import JsonWatcher
from antiphon.dialects.dialect import KEEP_ALIVE, Watcher
from antiphon.recording import Mode
from antiphon.wire.error_forms import OPENAI_ERRORS
from antiphon.wire.errors import ClientFault


class Embeddings:
    """The dialect of embeddings."""

    name = "embeddings"
    streams = False
    keep_alive = KEEP_ALIVE
    errors = OPENAI_ERRORS

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""
        del mode
        return JsonWatcher("data")

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Refuse: there are no streams to fold."""
        del frames
        _refuse()

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Refuse: there are no streams to unfold into."""
        del body, include_usage
        _refuse()

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Refuse: there are no streams to break off."""
        del message, code, seen
        _refuse()


EMBEDDINGS = Embeddings()


def _refuse() -> NoReturn:
    raise ClientFault("Embeddings cannot be streamed.", code="unsupported_parameter", param="stream")
