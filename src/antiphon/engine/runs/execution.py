"""One run in this process: a turn that the gateway asks itself, whose answer is written to the run's log.

leased --> asking --> telling --terminal event, fault--> ending --committed--> over
             |           |                                  |
             +-----------+-------- fenced, given up --------+----> over, without another word
"""

import asyncio
import enum
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from antiphon.dialects.responses.retelling import Retelling, completed, failed
from antiphon.engine.carriage import Carriage
from antiphon.engine.runs.log import RunLog, feed
from antiphon.engine.runs.writing import LogWriter
from antiphon.ports.reply import Headers, ReplyWatcher
from antiphon.ports.runs import Append, Carried, Lease
from antiphon.turn.snapshot import Snapshot
from antiphon.wire.sse import FrameReader, FrameTooLargeError
from antiphon.wire.upstream_errors import read_error

_log = logging.getLogger(__name__)

_BACKLOG_BYTES: Final = 1024 * 1024
"""Of a run's events that are not committed; with more its upstream is held back."""
_MOST_FRAME_BYTES: Final = 128 * 1024 * 1024


class End(enum.Enum):
    """Why nothing more happens to a run here."""

    COMMITTED = enum.auto()
    """Its end is in the log."""
    ELSEWHERE = enum.auto()
    """It has ended, or goes on, elsewhere."""
    GIVEN_UP = enum.auto()
    """Storage did not take what it had to tell; it goes on from what was committed."""


class RunEvents(Protocol):
    """Who wants to know what becomes of a run."""

    def on_over(self, execution: "Execution", end: End) -> None:
        """Nothing more happens to it here."""


class Execution:
    """Implements `ports.reply.Reply` for the turn, and `Writer` for the log."""

    def __init__(
        self,
        lease: Lease,
        log: RunLog,
        writer: LogWriter,
        events: RunEvents,
        retelling: Retelling,
        now: Callable[[], float],
    ) -> None:
        """Write to `log` under `lease`, as `retelling` tells it."""
        self.lease = lease
        self.log = log
        self._writer = writer
        self._events = events
        self._now = now
        self.carriage = Carriage(lease.carried)
        """Where the upstream carries the answer, if it does."""
        self._noted = lease.carried
        """What of it is in the log."""
        self._retelling = retelling
        if lease.carried is not None:
            self._retelling.heard = lease.carried.last_seq
        self._reader = FrameReader(_MOST_FRAME_BYTES)
        self._watcher: ReplyWatcher | None = None
        self._pending: list[bytes] = []
        self._times: list[int] = []
        self._writing: list[bytes] = []
        self._unwritten = 0
        """Bytes."""
        self._written_to = lease.last_seq
        self._status: str | None = None
        self._is_shown = False
        self._is_over = False

    # The turn.

    @property
    def congested(self) -> bool:
        """Whether storage is behind."""
        return self._unwritten > _BACKLOG_BYTES

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher
        if self._is_over:
            # Told at once, the watcher would hear of it half made.
            asyncio.get_running_loop().call_soon(self._leave)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""
        if status == 200 and dict(headers).get(b"content-type", b"").startswith(b"text/event-stream"):
            self.write(body)
            self.end()
            return
        error = read_error(body, dict(headers).get(b"content-type", b""))
        self.fail(error.code or "server_error", error.message or f"The turn ended with status {status}.")
        self._sent()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """The answer begins."""

    def write(self, data: bytes) -> None:
        """Take more of the stream."""
        try:
            frames = self._reader.feed(data)
            for frame in frames:
                self._take(frame)
        except (FrameTooLargeError, ValueError):
            self.fail("upstream_invalid_json", "The upstream sent an event that cannot be read.")

    def end(self) -> None:
        """The stream is over; without a terminal event it has failed."""
        if self._retelling.is_truncated and self._status is None and not self._is_over:
            self._end("completed", completed(self._told(), self._retelling.number))
        elif self._status is None and not self._is_over:
            error = self._retelling.error
            told = {} if error is None else error.error if isinstance(error.error, dict) else {}
            code = str(told.get("code") or (error and error.code) or "server_error")
            message = str(told.get("message") or (error and error.message) or "The answer broke off.")
            self.fail(code, message)
        self._sent()

    def abort(self) -> None:
        """The answer broke off."""
        self.fail("server_error", "The answer broke off.")

    # What the worker calls.

    def add(self, frames: list[bytes]) -> None:
        """Write events that the gateway has made itself."""
        self._retelling.number += len(frames)
        self._put(frames)

    def fail(self, code: str, message: str) -> None:
        """End the run as failed, with what there is of its answer."""
        if self._status is not None or self._is_over:
            return
        self._end("failed", failed(self._told(), self._retelling.number, code, message))

    def stop(self) -> None:
        """Do nothing more for the run: it has ended elsewhere, or is somebody else's."""
        self._over(End.ELSEWHERE)

    @property
    def is_ending(self) -> bool:
        """Whether its end is being written: what storage says to that is the truth about it."""
        return self._status is not None

    # The log.

    def take(self) -> Append | None:
        """Return what is to be written now."""
        carried = self._carried
        if self._is_over or not (self._pending or self._is_carried_now):
            return None
        self._noted = carried
        frames, times = self._pending, self._times
        self._pending, self._times, self._writing = [], [], frames
        return Append(
            run_id=self.lease.run_id,
            epoch=self.lease.epoch,
            last_seq=self._written_to,
            frames=frames,
            times=times,
            status=self._status,
            is_shown=self._is_shown,
            has_effect=self._retelling.has_effect,
            carried=carried,
        )

    def written(self, append: Append) -> None:
        """It is committed: now it may be shown."""
        self._written_to += len(append.frames)
        self._unwritten -= sum(map(len, append.frames))
        self._writing = []
        first = append.last_seq + 1
        self.log.grow(first, append.frames, append.times, append.status or "in_progress")
        if append.status is not None:
            self._over(End.COMMITTED)
        elif self._watcher is not None and not self.congested:
            self._watcher.on_writable()

    def fenced(self) -> None:
        """The run belongs to somebody else, or has ended."""
        if not self._is_over:
            _log.warning(
                "run %s is executed elsewhere, or has ended: nothing more is written", self.lease.run_id
            )
        self.stop()

    def given_up(self) -> None:
        """Storage does not take it: whoever takes the run over finds what was committed."""
        self._over(End.GIVEN_UP)

    # Inside.

    def _take(self, frame: bytes) -> None:
        if self._status is not None or self._is_over:
            return
        told = self._retelling.feed(frame)
        if told is None:
            if self._is_carried_now:
                self._writer.want(self)
            return
        self._status = self._retelling.status
        self._is_shown = True
        self._put([told])

    @property
    def _carried(self) -> Carried | None:
        """Where the upstream's answer stands after what was taken of it."""
        at = self.carriage.at
        return at and replace(at, last_seq=self._retelling.heard)

    @property
    def _is_carried_now(self) -> bool:
        """Whether it is known since just now that the upstream carries the answer: nobody is to ask for it again."""
        return self._noted is None and self.carriage.at is not None

    def _told(self) -> Snapshot:
        """Return the answer as far as it was told."""
        snapshot = Snapshot()
        for known in (self.log.frames, self._writing, self._pending):
            feed(snapshot, known)
        return snapshot

    def _end(self, status: str, frame: bytes) -> None:
        self._status = status
        self._put([frame])

    def _put(self, frames: list[bytes]) -> None:
        at = max(0, int((self._now() - self.lease.created_at) * 1e6))
        self._pending += frames
        self._times += [at] * len(frames)
        self._unwritten += sum(map(len, frames))
        self._writer.want(self)

    def _over(self, end: End) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._pending, self._times, self._unwritten = [], [], 0
        if self._retelling.status is None or end is not End.COMMITTED:
            self._leave()  # else the turn ends by itself
        self._events.on_over(self, end)

    def _sent(self) -> None:
        """The turn has told all that it has to tell."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_sent()

    def _leave(self) -> None:
        """Nobody listens to the turn any more."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_gone()
