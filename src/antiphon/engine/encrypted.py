"""Asking native upstreams for what a chain needs: their reasoning, encrypted, since they are told to keep nothing.

Not all models have it, and some refuse the question. That is found out once for each, and the client never hears of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.engine.error_answers import MAX_ERROR_BYTES
from antiphon.engine.live import LiveRecording
from antiphon.ports.upstream import AnswerSink, Call
from antiphon.wire.errors import UpstreamFault

_MOST_TARGETS: Final = 1024
_REFUSALS: Final = frozenset({400, 422})
_BAD_REQUEST: Final = 400

Target = tuple[str, str]
"""Provider and model."""


class Refusals:
    """Targets that do not take the question; the oldest are forgotten, and asked again."""

    def __init__(self) -> None:
        """Know of none."""
        self._targets: OrderedDict[Target, None] = OrderedDict()

    def __contains__(self, target: Target) -> bool:
        """Whether the target has refused."""
        return target in self._targets

    def add(self, target: Target) -> None:
        """Note a target."""
        self._targets[target] = None
        if len(self._targets) > _MOST_TARGETS:
            self._targets.popitem(last=False)


class AskedForMore:
    """The answer to a request that asks for encrypted reasoning; if it is refused for that, it is asked again without.

    Implements `AnswerSink`.
    """

    def __init__(
        self, live: LiveRecording, again: Callable[[AnswerSink], Call], note: Callable[[], object]
    ) -> None:
        """Pass on to `live`; `again` asks without, and `note` is called if that has helped."""
        self._live = live
        self._again = again
        self._note = note
        self._refusal: tuple[int, Sequence[tuple[bytes, bytes]]] | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Hold back what may be a refusal."""
        if status in _REFUSALS:
            self._refusal = (status, headers)
        else:
            self._live.head(status, headers)
            self.data = self._live.data  # type: ignore[method-assign]  # each frame of a stream comes here

    def data(self, data: bytes) -> None:
        """Collect the refusal."""
        if self._refusal is None:
            self._live.data(data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_ERROR_BYTES:
            self._give_back()

    def end(self) -> None:
        """See whether it was one."""
        told = b"".join(self._parts)
        if self._refusal is not None and (b"include" in told or b"encrypted" in told):
            if self._live.recording.is_live:
                self._live.started(self._again(_AskedAgain(self._live, self._note)))
            return
        self._give_back()
        self._live.end()

    def broken(self, fault: UpstreamFault) -> None:
        """There is no answer, or no more of it."""
        self._give_back()
        self._live.broken(fault)

    def _give_back(self) -> None:
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            self._live.head(*refusal)
            for part in self._parts:
                self._live.data(part)


class _AskedAgain:
    """Implements `AnswerSink`."""

    def __init__(self, live: LiveRecording, note: Callable[[], object]) -> None:
        self._live = live
        self._note = note
        self.data = live.data
        self.end = live.end
        self.broken = live.broken

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        if status < _BAD_REQUEST:
            self._note()
        self._live.head(status, headers)
