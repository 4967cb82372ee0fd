"""Asking the upstream for those items of a list that are missing, and recording the whole answer.

asked --all entries there--> put together, recorded
  |   --another model than that of what was found--> asked once more, for what was found
  +--error, or entries that do not fit--> recorded as that: nothing is kept
"""

from collections.abc import Callable, Sequence

from antiphon.dialects.items import NotSeparableError, Part, counted, put_together, take_apart
from antiphon.dialects.native import read_request
from antiphon.engine.live import LiveRecording
from antiphon.engine.per_item.found import Found
from antiphon.engine.producing import native_request
from antiphon.engine.source import Source
from antiphon.engine.turn import Turn
from antiphon.recording import Mode, State
from antiphon.turn.usage import less
from antiphon.wire.errors import UpstreamFault

_ERROR = 300


class Fetching:
    """Implements `ports.upstream.AnswerSink` in front of a live recording."""

    def __init__(
        self, turn: Turn, live: LiveRecording, source: Source, found: Found, clock: Callable[[], float]
    ) -> None:
        """Fetch what was not `found`."""
        assert turn.items is not None
        self._turn = turn
        self._items = turn.items
        self._live = live
        self._source = source
        self._found = found
        self._clock = clock
        self._fetched: dict[bytes, Part] = {}
        self._asked: list[int] = []
        self._is_again = False
        self._status = 0
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._parts: list[bytes] = []
        self._size = 0

    def begin(self) -> None:
        """Ask the upstream."""
        self._asked = self._items.missing(self._found.parts | self._fetched)
        self._status, self._headers, self._parts, self._size = 0, (), [], 0
        dialect = self._turn.ask.dialect.name
        request = read_request(dialect, self._items.listed.asking_for(self._asked))
        asked = native_request(self._turn, self._source, request)
        self._live.started(self._source.upstream.send(asked, self))

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See the upstream's status and headers."""
        self._status, self._headers = status, headers
        if status >= _ERROR:
            self._live.head(status, headers)

    def data(self, data: bytes) -> None:
        """See more of the upstream's body."""
        if self._status >= _ERROR:
            self._live.data(data)
            return
        self._size += len(data)
        if self._size <= self._live.max_answer_bytes:
            self._parts.append(data)
            return
        self._parts.clear()
        message = f"The answer is longer than {self._live.max_answer_bytes} bytes."
        self._live.fail(UpstreamFault(message, code="upstream_answer_too_large"))

    def broken(self, fault: UpstreamFault) -> None:
        """The upstream's answer broke off, or never came."""
        self._live.broken(fault)

    def end(self) -> None:
        """The upstream's body is over."""
        if self._status >= _ERROR:
            self._live.end()
            return
        if not self._live.recording.is_live:
            return
        keys = self._items.keys
        try:
            parts = take_apart(b"".join(self._parts), [self._items.listed.weights[at] for at in self._asked])
        except NotSeparableError as error:
            self._refuse(error)
            return
        self._fetched |= {keys[at].identity: part for at, part in zip(self._asked, parts, strict=True)}
        if self._is_of_another_model(parts[0]):
            self._is_again = True
            self._found = Found()
            self.begin()
        else:
            self._record(parts[0])

    def _refuse(self, why: NotSeparableError) -> None:
        """Record an answer that is not what was asked for."""
        body = b"".join(self._parts)
        watcher = self._turn.ask.dialect.watch(Mode.JSON)
        watcher.feed([body])
        if watcher.close(clean=True).state is State.FAILED:
            self._tell(body)  # it says itself that it is none
            return
        message = f"The upstream's answer does not fit the {len(self._asked)} items asked for: {why}."
        self._live.fail(UpstreamFault(message, code="upstream_protocol_error"))

    def _is_of_another_model(self, part: Part) -> bool:
        """Whether what was found must not stand beside what was fetched: vectors of two models do not compare."""
        found = next(iter(self._found.parts.values()), None)
        return found is not None and not self._is_again and found.model != part.model

    def _record(self, around: Part) -> None:
        turn, items = self._turn, self._items
        all_parts = self._found.parts | self._fetched
        parts = [all_parts[key.identity] for key in items.keys]
        items.fetched, items.found = self._fetched, tuple(self._found.entries.values())
        share = items.share(self._found.parts)
        if share and turn.result == "miss":
            turn.result, turn.detail = "partial", share
        paid = items.form.usage(counted(list(self._fetched.values())))
        turn.saved = less(items.form.usage(counted(parts)), paid)
        self._tell(put_together(parts, items.form.order(parts, turn.ask.request.members), around))

    def _tell(self, body: bytes) -> None:
        self._live.head(self._status, self._headers)
        self._live.data(body)
        self._live.end()
