"""Foreground answers that outlive their client: as soon as one begins it is a run, and its client the first to follow.

waiting --stream begins--> beginning --its first events are committed--> telling
   |                           |
   |                           +-- storage is gone --> refused
   +-- whole answer: a fault, JSON, what the cache has --> passed on
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from antiphon.dialects.responses.retelling import Retelling, begins
from antiphon.engine.refusals import internal_error, refuse
from antiphon.engine.rendition import STREAM_HEADERS
from antiphon.engine.runs.execution import Execution
from antiphon.engine.runs.logs import Logs
from antiphon.engine.runs.tail import Tail
from antiphon.engine.runs.working import Worker
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.ports.reply import Headers, Reply, ReplyWatcher
from antiphon.ports.runs import NewRun, RunStore
from antiphon.turn.history import Context
from antiphon.wire.errors import ClientFault, GatewayError, StoreFault
from antiphon.wire.sse import FrameReader

_HEADER: Final = b"x-antiphon-on-disconnect"
_BACKLOG_BYTES: Final = 1024 * 1024


class Finishing:
    """Makes runs of the answers that are to be finished."""

    def __init__(
        self,
        store: RunStore,
        worker: Worker,
        logs: Logs,
        tasks: Tasks,
        *,
        timeout: float,
        is_usual: bool,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep runs in `store` for which `worker` holds the leases, and which may take `timeout` seconds.

        `is_usual`: whether answers are finished whose requests say nothing of it.
        """
        self._store = store
        self._worker = worker
        self._logs = logs
        self._tasks = tasks
        self._timeout = timeout
        self._is_usual = is_usual
        self._now = wall_clock

    def take(self, turn: Turn, headers: Mapping[bytes, bytes]) -> None:
        """Let the answer of `turn` outlive its client, if that is wanted. Raises ClientFault."""
        if self._is_wanted(headers):
            turn.reply = FinishedReply(turn, self, self._tasks)

    def _is_wanted(self, headers: Mapping[bytes, bytes]) -> bool:
        told = headers.get(_HEADER)
        if told is None:
            return self._is_usual
        if told not in {b"cancel", b"finish"}:
            raise ClientFault(
                "'X-Antiphon-On-Disconnect' is cancel or finish.",
                code="invalid_value",
                param="X-Antiphon-On-Disconnect",
            )
        return told == b"finish"

    async def begin(self, turn: Turn, opening: list[bytes], retelling: Retelling) -> Execution:
        """Make a run of an answer that begins with the events `opening`. Raises StoreFault."""
        now, owner, run_id = self._now(), turn.ask.owner.name, turn.response_id.decode()
        deadline = now + self._timeout
        new = NewRun(
            id=run_id,
            owner=owner,
            request=b"",  # nobody asks again
            context=turn.context or Context.of(turn.ask.request.given),
            frames=opening,
            is_public=True,
            is_shown=True,
            created_at=now,
            queue_deadline=deadline,
            deadline=deadline,
        )
        lease = await self._store.create(new, self._worker.name)
        assert lease is not None
        log = self._logs.open(run_id, owner, "in_progress")
        log.epoch = lease.epoch
        log.grow(0, opening, [0] * len(opening), "in_progress")
        return self._worker.hold(lease, log, retelling)

    def follow(self, execution: Execution, reply: Reply, headers: Headers) -> None:
        """Show the client what is committed."""
        Tail(execution.log, reply, -1, headers, self._logs.release)


class FinishedReply:
    """Implements `ports.reply.Reply` for the turn, and watches that of its client."""

    def __init__(self, turn: Turn, finishing: Finishing, tasks: Tasks) -> None:
        """Answer the client of `turn`, who may leave."""
        self._turn = turn
        self._client = turn.reply
        self._finishing = finishing
        self._tasks = tasks
        self._watcher: ReplyWatcher | None = None
        self._headers: Headers = ()
        self._held: list[bytes] | None = None
        """What is told before the run is made; None: it is made, or there will be none."""
        self._held_bytes = 0
        self._is_begun = False
        self._is_gone = False
        self._passes = False
        """Whether the client is answered at once, with what nobody has to keep any more."""
        self._end: Callable[[Execution], None] | None = None
        self._execution: Execution | None = None

    # What the turn calls.

    @property
    def congested(self) -> bool:
        """Whether storage is behind, or the client with what it alone gets."""
        if self._execution is not None:
            return self._execution.congested
        return self._client.congested if self._passes else self._held_bytes > _BACKLOG_BYTES

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher
        self._client.watch(self)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Pass on a whole answer."""
        self._passes = True
        if self._is_gone:
            self._leave()
        else:
            self._client.send(status, headers, body)

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Begin a stream: what is replayed is passed on, what is made becomes a run."""
        if self._turn.is_replay:
            self._passes = True
            self._client.start(status, headers, length)
            return
        self._headers = [header for header in headers if header not in STREAM_HEADERS]
        self._held = []
        self._turn.keeps, self._turn.is_kept_by_run = False, True

    def write(self, data: bytes) -> None:
        """Take more of the stream."""
        if self._execution is not None:
            self._execution.write(data)
        elif self._held is not None:
            self._held.append(data)
            self._held_bytes += len(data)
            self._begin_once()
        else:
            self._client.write(data)

    def end(self) -> None:
        """The stream is over."""
        self._finish(Execution.end, self._client.end)

    def abort(self) -> None:
        """The answer broke off."""
        self._finish(Execution.abort, self._client.abort)

    def _finish(self, end: Callable[[Execution], None], pass_on: Callable[[], None]) -> None:
        if self._execution is not None:
            end(self._execution)
        elif self._held is not None:
            self._end = end
            self._begin_once()
        elif self._is_gone:
            self._leave()
        else:
            pass_on()

    # What the client's reply tells, until it has a tail.

    def on_writable(self) -> None:
        """The client has read enough."""
        if self._watcher is not None:
            self._watcher.on_writable()

    def on_sent(self) -> None:
        """The client has all that was passed on."""
        if self._watcher is not None:
            self._watcher.on_sent()

    def on_gone(self) -> None:
        """The client has left: it matters only where there is nothing to finish."""
        self._is_gone = True
        if self._passes:
            self._leave()

    # The run.

    def _begin_once(self) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        run_id = self._turn.response_id.decode()
        self._tasks.start(self._begin(), f"begin {run_id}", on_death=lambda: self._refuse(internal_error()))

    async def _begin(self) -> None:
        """Make the run, with the events that say that the response has begun."""
        retelling = Retelling(0, {}, tells_beginning=True)
        opening, rest = _cut(b"".join(self._held or ()), retelling)
        self._held = [rest]
        try:
            execution = await self._finishing.begin(self._turn, opening, retelling)
        except StoreFault as fault:
            self._refuse(fault)
            return
        held, self._held, self._held_bytes = self._held, None, 0
        self._execution = execution
        if not self._is_gone:
            self._finishing.follow(execution, self._client, self._headers)
        if self._watcher is not None:
            execution.watch(self._watcher)
        execution.write(b"".join(held))
        if self._end is not None:
            self._end(execution)
        elif self._watcher is not None:
            self._watcher.on_writable()

    def _refuse(self, fault: GatewayError) -> None:
        self._held, self._passes = None, True
        self._leave()
        refuse(self._client, self._turn.request_id, fault, self._turn.ask.dialect.errors)

    def _leave(self) -> None:
        """Nobody listens to the turn any more."""
        self._is_gone = True
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_gone()


def _cut(data: bytes, retelling: Retelling) -> tuple[list[bytes], bytes]:
    """Return the events that say that a response has begun, as they are told, and the rest of `data`."""
    reader = FrameReader(len(data) + 1)
    frames = reader.feed(data)
    opening: list[bytes] = []
    for frame in frames:
        told = retelling.feed(frame) if _begins(frame) else None
        if told is None:
            break
        opening.append(told)
    return opening, b"".join(frames[len(opening) :]) + reader.close()


def _begins(frame: bytes) -> bool:
    try:
        return begins(frame)
    except ValueError:
        return False
