"""The order of turns on one WebSocket: first in, first out inside a lane, while lanes go on side by side.

A lane is a `stream_id`; requests without one share a lane of their own. Knows nothing of what it orders.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from antiphon.wire.errors import ClientFault

MOST_ACTIVE: Final = 16
MOST_STREAM_IDS: Final = 32
MOST_WAITING: Final = 256
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Lane(Generic[T]):
    waiting: deque[tuple[T, int]] = field(default_factory=deque)
    is_busy: bool = False


class Lanes(Generic[T]):
    """What waits and what is under way."""

    def __init__(self, max_bytes: int) -> None:
        """Let no more than `max_bytes` wait behind the first."""
        self._max_bytes = max_bytes
        self._lanes: dict[str | None, _Lane[T]] = {}
        self._ready: deque[_Lane[T]] = deque()
        self._waiting = 0
        self._waiting_bytes = 0
        self.active = 0
        """How many are under way."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self.active or self._waiting)

    def add(self, stream_id: str | None, each: T, size: int) -> None:
        """Let `each`, of `size` bytes, wait in its lane. Raises ClientFault where there is no room."""
        if self._waiting >= MOST_WAITING or (self._waiting and self._waiting_bytes + size > self._max_bytes):
            raise ClientFault(
                "Too many requests wait on this connection: read their answers first.",
                code="websocket_queue_full",
                status=429,
            )
        lane = self._lanes.get(stream_id)
        if lane is None:
            self._check_room(stream_id)
            lane = self._lanes[stream_id] = _Lane()
        lane.waiting.append((each, size))
        self._waiting += 1
        self._waiting_bytes += size
        if not lane.is_busy and len(lane.waiting) == 1:
            self._ready.append(lane)

    def next(self) -> T | None:
        """Take the next that may begin, if there is one; its lane is busy until `over`."""
        if not self._ready or self.active >= MOST_ACTIVE:
            return None
        lane = self._ready.popleft()
        each, size = lane.waiting.popleft()
        self._waiting -= 1
        self._waiting_bytes -= size
        lane.is_busy = True
        self.active += 1
        return each

    def over(self, stream_id: str | None) -> None:
        """What was under way in this lane is over."""
        lane = self._lanes[stream_id]
        lane.is_busy = False
        self.active -= 1
        if lane.waiting:
            self._ready.append(lane)

    def clear(self) -> list[T]:
        """Give back what waits."""
        waiting = [each for lane in self._lanes.values() for each, _ in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._ready.clear()
        self._waiting = self._waiting_bytes = 0
        return waiting

    def _check_room(self, stream_id: str | None) -> None:
        if stream_id is not None and len(self._lanes.keys() - {None}) >= MOST_STREAM_IDS:
            raise ClientFault(
                f"A connection has at most {MOST_STREAM_IDS} different values of 'stream_id'.",
                code="websocket_stream_limit_reached",
                param="stream_id",
            )
