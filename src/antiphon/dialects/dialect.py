"""What every dialect can do with an answer of its own."""

from collections.abc import Sequence
from typing import Final, Protocol

from antiphon.recording import Mode, Outcome
from antiphon.wire.error_forms import ErrorForm

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment, which readers of server-sent events skip."""


class Watcher(Protocol):
    """Reads along while native frames pass unchanged; knows at the end how the answer ended."""

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the next frames (Mode.STREAM: whole events; Mode.JSON: the one body)."""

    def close(self, *, clean: bool) -> Outcome:
        """Judge the answer. `clean` is whether the body ended as HTTP says it should."""

    @property
    def response_id(self) -> str | None:
        """The upstream's id of the answer, as soon as it has been seen."""

    @property
    def failure(self) -> str | None:
        """Why the answer can no longer end well (`invalid_json`, `upstream_error`, …), as soon as that is clear."""

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been seen, so that nothing more can change the outcome."""


class Dialect(Protocol):
    """One wire format, seen from the engine. Implementations are stateless."""

    name: str
    """`chat`, `completions`, `responses`, `messages`, `count_tokens`, `embeddings`, `rerank`, `transcriptions`."""
    streams: bool
    """Whether `stream: true` exists in this dialect."""
    keep_alive: bytes
    """What a stream may hold at any place without a meaning: a comment, or an event made for it."""
    errors: ErrorForm
    """How its clients are told of a fault."""

    def watch(self, mode: Mode) -> Watcher:
        """Return a watcher for one answer with status 200."""

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Turn a complete stream into the JSON answer that holds the same.

        Raises ValueError or GatewayError for frames that cannot be read.
        """

    def unfold(self, body: bytes, *, include_usage: bool) -> list[bytes]:
        """Turn a JSON answer into a stream that holds the same.

        `include_usage` is whether the client asked for usage in the stream (chat and completions only).
        Raises ValueError or GatewayError for a body that cannot be read.
        """

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Return the frames that end a broken stream after the frames in `seen`, never as if it were whole."""
