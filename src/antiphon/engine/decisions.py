"""What the cache decided last in this process, so that it can be explained.

While requests are served only references are noted, when their rows are written; what they say is made out when
somebody asks.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from antiphon.cache.controls import Controls
from antiphon.cache.entry import Entry
from antiphon.cache.key import CacheKey
from antiphon.engine.answers import Ending
from antiphon.engine.turn import Ask, Turn
from antiphon.recording import Recording

_OVERHEAD_BYTES: Final = 1024
_COPIES: Final = 2
"""A request is held as it came, and as its key has it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the cache did with one request, or would do."""

    request_id: str
    time: float
    """When the request came; seconds since the epoch."""
    ask: Ask
    result: str
    detail: str
    controls: Controls
    key: CacheKey | None
    entry: Entry | None
    """What was found under the key, whether it answered or not."""
    items: int = 0
    """Of how many items each has an entry of its own; 0: it is one."""
    similarity: float = 0.0
    """Of a semantic hit."""
    pays: bool = False
    recording: Recording | None = None
    """What the request was answered from; None: it is not sent."""
    ending: Ending | None = None
    meaning: Mapping[str, str | float | None] | None = None
    """What was found by its meaning, where that was looked for."""


def decision_of(turn: Turn, time: float) -> Decision:
    """Return what would be decided for a turn that is not sent."""
    return _made(_noted(turn, time, None, None))


class Decisions:
    """The last decisions of this process; the oldest go first."""

    def __init__(self, max_bytes: int) -> None:
        """Hold at most about `max_bytes` of requests and answers."""
        self._max_bytes = max_bytes
        self._noted: deque[tuple[_Noted, int]] = deque()
        self.size = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._noted)

    def note(self, ended: Iterable[tuple[Turn, Recording, Ending, float]], offset: float) -> None:
        """Take what has ended; `offset` makes seconds since the epoch of monotonic ones. Any one thread may call."""
        kept, size = self._noted, self.size
        for turn, recording, ending, _ in ended:
            held = _OVERHEAD_BYTES + recording.size + _COPIES * len(turn.ask.request.body)
            if turn.entry is not None and turn.entry.recording is not recording:
                held += turn.entry.size
            kept.append((_noted(turn, turn.received_at + offset, recording, ending), held))
            size += held
            while size > self._max_bytes:
                size -= kept.popleft()[1]
        self.size = size

    def get(self, request_id: bytes) -> Decision | None:
        """Return what was decided for a request."""
        for noted, _ in reversed(tuple(self._noted)):
            if noted[0] == request_id:
                return _made(noted)
        return None

    def payer_of(self, recording: Recording) -> str | None:
        """Return the request for which the upstream was asked for a recording."""
        for noted, _ in reversed(tuple(self._noted)):
            made = _made(noted)
            if made.pays and made.recording is recording:
                return made.request_id
        return None


_Noted = tuple[
    bytes,
    float,
    Ask,
    str,
    str,
    Controls,
    CacheKey | None,
    Entry | None,
    int,
    float,
    bool,
    Recording | None,
    Ending | None,
    Mapping[str, str | float | None] | None,
]


def _noted(turn: Turn, time: float, recording: Recording | None, ending: Ending | None) -> _Noted:
    """Note what is needed of a turn, without its client."""
    key, items = turn.key, turn.items
    return (
        turn.request_id,
        time,
        turn.ask,
        turn.result,
        turn.detail,
        turn.controls,
        key if items is None else items.keys[0],
        turn.entry,
        0 if items is None else len(items.keys),
        turn.similarity,
        turn.pays,
        recording,
        ending,
        # Not the question itself, which holds entries.
        None if turn.question is None else turn.question.told(),
    )


def _made(noted: _Noted) -> Decision:
    request_id, *rest = noted
    return Decision(request_id.decode(), *rest)  # type: ignore[arg-type]
