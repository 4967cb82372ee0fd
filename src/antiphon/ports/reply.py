"""The port to a client that waits for an answer. The gateway implements it; the engine writes to it.

Writing never waits. Who writes a lot looks at `congested` and goes on when the watcher hears `on_writable`.
"""

from collections.abc import Sequence
from typing import Protocol

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""


class ReplyWatcher(Protocol):
    """Who wants to know what becomes of a reply."""

    def on_writable(self) -> None:
        """The client has read enough: more may be written."""

    def on_sent(self) -> None:
        """The reply was ended, and the network has taken all of it."""

    def on_gone(self) -> None:
        """The client has left before the reply was sent; nothing can be written any more."""


class Reply(Protocol):
    """One answer to one request: either `send`, or `start`, any number of `write`, and `end` or `abort`."""

    @property
    def congested(self) -> bool:
        """Whether the client is behind, so that more writing would only fill memory."""

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`, from now on and alone."""

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer with its length."""

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Begin an answer of `length` bytes, or of unknown length."""

    def write(self, data: bytes) -> None:
        """Send more of the body."""

    def end(self) -> None:
        """End the body as HTTP says, so that the client knows that it is whole."""

    def abort(self) -> None:
        """Cut the connection, so that the client knows that the body is not whole."""
