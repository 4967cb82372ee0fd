"""Background answers as clients know them: accepted, told as they stand, followed, cancelled, deleted."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from antiphon.dialects.native import NativeRequest
from antiphon.dialects.responses.retelling import opening, queued_response
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.runs.admission import limits_of, priority_of, refused
from antiphon.engine.runs.finishing import Finishing
from antiphon.engine.runs.log import RunLog
from antiphon.engine.runs.logs import Logs
from antiphon.engine.runs.reaping import Reaper
from antiphon.engine.runs.settling import Settling, body_of, settled
from antiphon.engine.runs.stored_request import StoredRequest
from antiphon.engine.runs.tail import Tail
from antiphon.engine.runs.working import Worker
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.ports.hints import Hints
from antiphon.ports.reply import Reply
from antiphon.ports.runs import ENDED, NewRun, QueueFull, RunStore
from antiphon.ports.stores import ResponseStore
from antiphon.settings import Background
from antiphon.turn.history import Context
from antiphon.wire.errors import ClientFault, StoreFault
from antiphon.wire.objects import write_object

_log = logging.getLogger(__name__)


class Runs:
    """Accepts, follows and cancels runs; behind it one worker executes them, and a reaper looks after all."""

    def __init__(
        self,
        store: RunStore,
        responses: ResponseStore,
        sources: Mapping[str, Source],
        tasks: Tasks,
        *,
        settings: Background,
        retention: float,
        finishes: bool = False,
        claims: bool = True,
        hints: Hints | None = None,
        notices: Callable[[str], Sequence[tuple[str, str]]] = lambda _: (),
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep runs in `store` and their answers in `responses`, for `retention` seconds; `clock` is monotonic.

        `finishes`: foreground answers whose client leaves are finished too, if it says nothing else.
        `claims`: background answers are run here, not only accepted. `hints`: what other processes say, beside
        what storage does. `sources` may carry answers themselves. `notices`: whom to tell that a run of an owner
        has ended.
        """
        self.logs = Logs(store, responses, hints)
        self._notices = notices
        self.queued = 0
        """How many runs of all workers wait, when somebody looked last."""
        self._store = store
        self._hints = hints
        self._tasks = tasks
        self._settings = settings
        self._limits = limits_of(settings)
        self._now = wall_clock
        self._sources = sources
        self._settling = Settling(
            store,
            sources,
            tasks,
            self.logs,
            retention=retention,
            ttl=settings.ttl,
            patience=settings.timeout,
            wall_clock=wall_clock,
        )
        self._worker = Worker(
            store,
            responses,
            tasks,
            self.logs,
            self._settling,
            settings=settings,
            claims=claims,
            wall_clock=wall_clock,
            clock=clock,
        )
        self.finishing = Finishing(
            store,
            self._worker,
            self.logs,
            tasks,
            timeout=settings.timeout,
            is_usual=finishes,
            wall_clock=wall_clock,
        )
        self._reaper = Reaper(store, tasks, self._settling, self._worker, settings)

    def start(self, route: Route, answer: Callable[[Incoming], None]) -> None:
        """Begin to work: turns are asked on `route`, of `answer`."""
        self._worker.start(route, answer)
        self._reaper.start()
        self._tasks.start(self.logs.follow(), "follow runs")
        self._tasks.start(self._store.watch(self._hint), "watch runs")
        if self._hints is not None:
            self._tasks.start(self._hints.send(), "send hints")
            self._tasks.start(self._hints.watch(self._hint), "watch hints")

    def _hint(self, run_ids: Sequence[str]) -> None:
        self.logs.hint(run_ids)
        self._worker.hint(run_ids)
        self._worker.wake()

    def keep_alive(self) -> None:
        """Let clients hear something who have heard nothing since this was called last."""
        self.logs.keep_alive()

    def retire(self) -> None:
        """Begin no more runs; who follows those of others may do so elsewhere."""
        self._worker.retire()
        self.logs.cut(elsewhere=True)

    async def finish(self, seconds: float) -> None:
        """Wait until the runs of this process have ended, but no longer than `seconds`."""
        await self._worker.finish(seconds)

    async def hand_over(self) -> None:
        """Let go of the runs that have not ended, and decide about them; who follows what goes on may come back."""
        try:
            await self._worker.hand_over()
            await self._reaper.look()
            await self.logs.look()
        except StoreFault as fault:
            _log.warning("runs cannot be handed over: %s", fault.message)
        self.logs.cut(elsewhere=False)
        self._worker.leave()

    async def look_after(self) -> None:
        """Decide now about the runs that nobody looks after, or that are too late. Raises StoreFault."""
        await self._reaper.look()

    # What operators look at.

    @property
    def running(self) -> int:
        """How many runs this process executes."""
        return self._worker.running

    async def count(self) -> None:
        """Look how many runs wait; `queued` says so then. Raises StoreFault."""
        self.queued = await self._store.queued()

    # What clients ask for.

    async def accept(self, incoming: Incoming, request: NativeRequest, context: Context) -> None:
        """Accept a background answer, and tell the client. Raises ClientFault, StoreFault."""
        run_id = incoming.new_id().decode()
        now = self._now()
        echo = {**request.echo, "background": b"true", "store": b"true"}
        response = queued_response(request.members, run_id, int(now), echo)
        frames = opening(response, ["queued", "queued", "in_progress"])
        owner = incoming.owner
        stored = StoredRequest.of(request.members, incoming.headers, owner.name, owner.project, echo, context)
        new = NewRun(
            id=run_id,
            owner=owner.name,
            request=stored.encode(),
            context=context,
            frames=frames[:-1],
            begun=frames[-1:],
            notices=self._notices(owner.name),
            is_public=request.stream,
            priority=priority_of(incoming.headers, request.members),
            created_at=now,
            queue_deadline=now + self._settings.queue_timeout,
            deadline=now + self._settings.timeout,
        )
        try:
            lease = await self._store.create(
                new, self._worker.name if self._worker.is_free else None, self._limits
            )
        except QueueFull as full:
            raise refused(full) from full
        status = "queued" if lease is None else "in_progress"
        log = self.logs.open(run_id, owner.name, status)
        log.epoch = 0 if lease is None else lease.epoch
        told = [*new.frames, *(() if lease is None else new.begun)]
        log.grow(0, told, [0] * len(told), status)
        headers = ((b"x-request-id", incoming.request_id),)
        if lease is not None:
            self._worker.execute(lease, log)
        if request.stream:
            Tail(log, incoming.reply, -1, headers, self.logs.release)
        else:
            body = write_object(response)
            incoming.reply.send(200, ((b"content-type", b"application/json"), *headers), body)
            self.logs.release(log)
        if lease is None:
            self._worker.wake()
            self.logs.moved([run_id])

    async def settle(self, run_id: str, owner: str) -> None:
        """Move the owner's run, which has ended, among the kept responses now."""
        await self._settling.settle(run_id, owner)

    async def body(self, run_id: str, owner: str) -> bytes | None:
        """Return the response of the owner's run as it stands; None if there is no such run."""
        log = await self._open(run_id, owner)
        if log is None:
            return None
        self.logs.release(log)
        if log.has_ended and log.frames:
            # The very bytes that are read when it is settled.
            now = self._now()
            return body_of(
                settled(
                    run_id,
                    owner,
                    log.frames,
                    log.times,
                    status=log.status,
                    created_at=now,
                    ended_at=now,
                    expires_at=now,
                )
            )
        is_begun = log.status == "in_progress" or (log.status == "queued" and log.epoch > 0)
        response = log.snapshot().response or {}
        return write_object(response | ({"status": "in_progress"} if is_begun else {}))

    async def tail(
        self,
        run_id: str,
        owner: str,
        after: int,
        reply: Reply,
        request_id: bytes,
        change: Callable[[bytes], bytes] | None = None,
    ) -> bool:
        """Stream the events of the owner's run after number `after`; False if there is no such run."""
        if await self._store.state(run_id, owner) is None:
            return False
        await self._store.publish(run_id)
        log = await self._open(run_id, owner)
        if log is None:
            return False
        Tail(log, reply, after, ((b"x-request-id", request_id),), self.logs.release, change)
        return True

    async def cancel(self, run_id: str, owner: str) -> bool:
        """Cancel the owner's run; False if there is none. What has ended stays as it ended. Raises ClientFault."""
        log = await self._open(run_id, owner)
        if log is None:
            return False
        response = log.snapshot().response or {}
        self.logs.release(log)
        if not response.get("background"):
            raise ClientFault("Cannot cancel a synchronous response.")
        if await self._store.end(run_id, "cancelled"):
            self._worker.stop_run(run_id)
            self.logs.moved([run_id])
            self._settling.soon(run_id, owner)
        return True

    async def delete(self, run_id: str, owner: str) -> bool:
        """Forget the owner's run, and stop it; False if there is none."""
        state = await self._store.state(run_id, owner)
        is_there = await self._store.delete(run_id, owner)
        if is_there:
            self._worker.stop_run(run_id)
            self.logs.moved([run_id])
        if is_there and state is not None and state.carried is not None and state.status not in ENDED:
            self._tasks.start(self._settling.forget(state.carried), f"cancel {run_id} upstream")
        return is_there

    async def _open(self, run_id: str, owner: str) -> RunLog | None:
        """Return the owner's log with all that is committed."""
        state = await self._store.state(run_id, owner)
        if state is None:
            return None
        log = self.logs.open(run_id, owner, state.status)
        if len(log.frames) <= state.last_seq or log.status != state.status or log.epoch != state.epoch:
            await self.logs.refresh(log)
        return log
