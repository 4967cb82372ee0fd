"""Dialects of JSON alone: there is nothing to fold, nothing to unfold, and no stream that could break off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from antiphon.dialects.dialect import KEEP_ALIVE, Watcher
from antiphon.recording import Mode
from antiphon.wire.error_forms import OPENAI_ERRORS, ErrorForm
from antiphon.wire.errors import ClientFault


@dataclass(slots=True, eq=False)
class Unstreamed:
    """Implements `Dialect`."""

    name: str
    what: str
    """What errors call its answers: `Embeddings`."""
    watcher: Callable[[], Watcher]
    errors: ErrorForm = OPENAI_ERRORS
    streams: bool = False
    keep_alive: bytes = KEEP_ALIVE

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""
        del mode
        return self.watcher()

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Refuse: there are no streams to fold."""
        del frames
        self._refuse()

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Refuse: there are no streams to unfold into."""
        del body, include_usage
        self._refuse()

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Refuse: there are no streams to break off."""
        del message, code, seen
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ClientFault(f"{self.what} cannot be streamed.", code="unsupported_parameter", param="stream")
