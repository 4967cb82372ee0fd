"""The one idea: every answer is a recording, written once by a producer and read by any number of listeners."""

from dataclasses import dataclass, field
from enum import StrEnum

from antiphon.turn.usage import NO_USAGE, Usage


class Mode(StrEnum):
    """How the upstream was asked, and so how its bytes are framed."""

    STREAM = "stream"
    """Each frame is one server-sent event, blank line included."""
    JSON = "json"
    """One frame: the whole body."""


class State(StrEnum):
    """A recording is live until it ends in exactly one of the others, and then never changes again."""

    LIVE = "live"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Head:
    """The upstream's status and the headers that a client may see, names in lower case."""

    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, as read from its own frames."""

    state: State
    reason: str | None = None
    """Why it is incomplete or failed: `max_output_tokens`, `content_filter`, `no_terminal_event`, …"""
    usage: Usage = NO_USAGE
    response_id: str | None = None
    """The upstream's own id for the answer, where it gave one."""
    model: str | None = None
    """The model that the upstream says has answered."""


LIVE = Outcome(State.LIVE)


@dataclass(slots=True)
class Recording:
    """Frames as they arrived, with their times in microseconds since the request was sent."""

    id: str
    dialect: str
    mode: Mode
    provider: str
    model: str
    """The upstream model that was asked."""
    started_at: float
    """Seconds since the epoch when the request was sent."""
    usage_requested: bool = False
    """Whether the upstream was asked to send usage in its stream, by the client or on its behalf."""
    head: Head = field(default_factory=Head)
    frames: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    size: int = 0
    outcome: Outcome = LIVE
    ended_at: float = 0.0

    def extend(self, frames: list[bytes], at: int) -> None:
        """Append frames that arrived together `at` microseconds after the request was sent."""
        self.frames.extend(frames)
        if len(frames) == 1:
            self.times.append(at)
            self.size += len(frames[0])
        else:
            self.times.extend([at] * len(frames))
            self.size += sum(map(len, frames))

    @property
    def is_live(self) -> bool:
        """Whether frames may still come."""
        return self.outcome.state is State.LIVE

    def body(self) -> bytes:
        """All bytes, as the upstream sent them."""
        return self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
