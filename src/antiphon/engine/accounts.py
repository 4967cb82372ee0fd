"""Accounting: one usage row for each turn, priced, counted and written in batches, away from the hot path."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from antiphon.engine.answers import Ending
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.ports.ledger import SAVING, Ledger, UsageRow
from antiphon.recording import Recording
from antiphon.turn.usage import NO_USAGE, Usage, less
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_FLUSH_TURNS = 1_000
_FLUSH_BYTES = 16 * 1024 * 1024
"""Of requests and answers held in memory until their rows are written down."""
_MOST_ROWS = 200_000

_Ended = tuple[Turn, Recording, Ending, float]
"""A turn, what it was answered from, how, and when (monotonic)."""

SavedTokens = Mapping[str, int]
"""By the ids of rows: input tokens of the answer that no upstream was asked for, where it was for the rest."""
Price = Callable[[str, str, Usage, float], float | None]
"""(provider name, upstream model, usage, epoch seconds) -> US dollars."""


class Accounts:
    """Rows on their way to the ledger, the metrics and the log."""

    def __init__(
        self,
        *,
        ledger: Ledger | None,
        price: Price,
        observe: Callable[[Sequence[UsageRow], SavedTokens], None],
        log_requests: bool,
        tasks: Tasks,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[Sequence[_Ended], float], None] | None = None,
    ) -> None:
        """Write rows to `ledger` and show them to `observe`; `price` and `note` are called on another thread.

        `note` is given what has ended, and what makes seconds since the epoch of its times.
        """
        self._ledger = ledger
        self._price = price
        self._observe = observe
        self._log_requests = log_requests
        self._tasks = tasks
        self._now = wall_clock
        self._clock = clock
        self._note = note
        self._ended: list[_Ended] = []
        self._held = 0
        self._unwritten: list[UsageRow] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = asyncio.Lock()
        self.lost = 0

    @property
    def queued(self) -> int:
        """How many rows are not in the ledger yet."""
        return len(self._ended) + len(self._unwritten)

    def count(self, turn: Turn, recording: Recording, ending: Ending) -> None:
        """Note what became of a turn. What a row says is written down later, off the hot path."""
        self._ended.append((turn, recording, ending, self._clock()))
        self._held += recording.size + len(turn.ask.request.body)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._start_flush)
        elif len(self._ended) >= _FLUSH_TURNS or self._held > _FLUSH_BYTES:
            self._timer.cancel()
            self._start_flush()

    async def flush(self) -> None:
        """Price, count, log and write everything noted so far."""
        async with self._flushing:
            ended, self._ended, self._held = self._ended, [], 0
            if ended:
                rows = await asyncio.to_thread(self._rows_of, ended)
                self._observe(rows, _saved_tokens(ended))
                self._unwritten += rows
            await self._write()

    async def stop(self) -> None:
        """Finish."""
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()

    def _start_flush(self) -> None:
        self._timer = None
        self._tasks.start(self.flush(), "accounts")

    async def _write(self) -> None:
        rows, self._unwritten = self._unwritten, []
        if not rows or self._ledger is None:
            return
        try:
            await self._ledger.append(rows)
        except StoreFault:
            # They are written later, as far as memory may be filled with them.
            kept = rows[-_MOST_ROWS:]
            self.lost += len(rows) - len(kept)
            self._unwritten = kept + self._unwritten
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._start_flush)
            _log.error("the ledger cannot be written: %d rows wait, %d were lost", len(kept), self.lost)

    def _rows_of(self, ended: Sequence[_Ended]) -> list[UsageRow]:
        offset = self._now() - self._clock()
        costs: dict[str, float | None] = {}
        rows = [self._row(*each, offset, costs) for each in ended]
        if self._note is not None:
            self._note(ended, offset)
        if self._log_requests:
            sys.stderr.buffer.write(b"".join(map(_line, rows)))
            sys.stderr.buffer.flush()
        return rows

    def _row(
        self,
        turn: Turn,
        recording: Recording,
        ending: Ending,
        ended_at: float,
        offset: float,
        costs: dict[str, float | None],
    ) -> UsageRow:
        ask, received_at, result = turn.ask, turn.received_at, turn.result
        target, usage = ask.target, recording.outcome.usage
        at, time = (target.provider, target.model), received_at + offset
        cost, saved = None, None
        if turn.saved is not NO_USAGE and usage is not NO_USAGE:
            usage, saved_cost = less(usage, turn.saved), self._price(*at, turn.saved, time)
            cost, saved = self._price(*at, usage, time), saved_cost if ending.sent else None
        elif usage is not NO_USAGE:
            if recording.id not in costs:
                costs[recording.id] = self._price(*at, usage, time)
            cost = costs[recording.id]
        if result in SAVING:
            # A saving counts when the client has had it.
            cost, saved = 0.0, cost if ending.sent else None
            if not ending.sent:
                result = "abandoned"
        return UsageRow(
            turn.request_id.decode(),
            time,
            ask.owner.name,
            ask.owner.project,
            ask.owner.name,
            target.alias,
            target.provider,
            target.model,
            ask.dialect.name,
            ask.route,
            ask.request.stream,
            ending.status,
            result,
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            usage.audio_input_tokens,
            usage.audio_output_tokens,
            cost,
            saved,
            int((turn.first_byte_at - received_at) * 1e6) if turn.first_byte_at else None,
            int((ended_at - received_at) * 1e6),
            ending.error,
            recording.outcome.response_id,
        )


def _saved_tokens(ended: Sequence[_Ended]) -> SavedTokens:
    return {
        turn.request_id.decode(): turn.saved.input_tokens
        for turn, _, ending, _ in ended
        if turn.saved is not NO_USAGE and ending.sent
    }


class _Line(msgspec.Struct, gc=False):
    """One request in the log: no bodies, no secrets."""

    time: float
    level: str
    event: str
    request_id: str
    key: str
    route: str
    model: str
    provider: str
    upstream_model: str
    stream: bool
    status: int
    cache: str
    input_tokens: int
    output_tokens: int
    cost: float | None
    saved: float | None
    first_byte_ms: float | None
    last_byte_ms: float
    error: str | None


_encode = msgspec.json.Encoder().encode


def _line(row: UsageRow) -> bytes:
    first_byte_us = row.first_byte_us
    line = _Line(
        row.time,
        "info",
        "request",
        row.id,
        row.key,
        row.route,
        row.alias,
        row.provider,
        row.model,
        row.stream,
        row.status,
        row.cache,
        row.input_tokens,
        row.output_tokens,
        row.cost,
        row.cost_saved,
        None if first_byte_us is None else first_byte_us / 1000,
        row.last_byte_us / 1000,
        row.error,
    )
    return _encode(line) + b"\n"
