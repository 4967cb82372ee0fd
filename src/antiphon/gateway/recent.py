"""The responses that a WebSocket can continue without any storage: those that it has brought itself."""

from collections import Counter, OrderedDict
from dataclasses import dataclass

from antiphon.turn.chain import Parent


@dataclass(frozen=True, slots=True)
class Recent:
    """A response, and the lane that it came in."""

    parent: Parent
    stream_id: str | None


class RecentResponses:
    """Bounded in bytes; contexts that responses have in common are counted, and kept, once."""

    def __init__(self, max_bytes: int) -> None:
        """Keep at most `max_bytes`; the oldest go first, and the latest of a lane after all others."""
        self._max_bytes = max_bytes
        self._recent: OrderedDict[str, Recent] = OrderedDict()
        self._latest: dict[str | None, str] = {}
        self._uses: Counter[bytes] = Counter()
        self.size = 0
        """Bytes."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._recent)

    def get(self, response_id: str) -> Recent | None:
        """Return a response."""
        return self._recent.get(response_id)

    def put(self, response_id: str, parent: Parent, stream_id: str | None) -> None:
        """Remember a response, the latest of its lane."""
        self.drop(response_id)
        self._recent[response_id] = Recent(parent, stream_id)
        self._latest[stream_id] = response_id
        for item in (*parent.input, *parent.output):
            if not self._uses[item]:
                self.size += len(item)
            self._uses[item] += 1
        while self.size > self._max_bytes:
            self._drop_oldest()

    def drop(self, response_id: str) -> None:
        """Forget a response, if it is there."""
        recent = self._recent.pop(response_id, None)
        if recent is None:
            return
        for item in (*recent.parent.input, *recent.parent.output):
            self._uses[item] -= 1
            if not self._uses[item]:
                del self._uses[item]
                self.size -= len(item)

    def clear(self) -> None:
        """Forget all."""
        self._recent.clear()
        self._latest.clear()
        self._uses.clear()
        self.size = 0

    def _drop_oldest(self) -> None:
        latest = set(self._latest.values())
        self.drop(next((each for each in self._recent if each not in latest), next(iter(self._recent))))
