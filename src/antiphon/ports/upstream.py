"""The port to a model API: a request goes out, bytes come back as they arrive.

The answer is pushed, not awaited: a task switch for each frame would cost more than the frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from antiphon.wire.errors import UpstreamFault


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request to a provider."""

    dialect: str
    path: str
    """Below the provider's base URL: `/chat/completions`."""
    body: bytes = b""
    stream: bool = False
    method: str = "POST"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class AnswerSink(Protocol):
    """Where an answer goes. Exactly one of `end` and `broken` is called, last; nothing after `Call.cancel`."""

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Status and headers, names in lower case."""

    def data(self, data: bytes) -> None:
        """The next bytes of the body, chunk framing taken off."""

    def end(self) -> None:
        """The body is over, as HTTP says it should be."""

    def broken(self, fault: UpstreamFault) -> None:
        """There is no answer, or no more of it."""


class Call(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """Close the upstream's connection at once; the sink hears nothing more."""

    def pause(self) -> None:
        """Read no more for now: the listeners are slow."""

    def resume(self) -> None:
        """Read on."""


class Upstream(Protocol):
    """A provider that can be asked."""

    def send(self, request: UpstreamRequest, sink: AnswerSink) -> Call:
        """Start a request. Faults reach the sink, never the caller, and never before `send` has returned."""

    async def close(self) -> None:
        """Close all connections."""
