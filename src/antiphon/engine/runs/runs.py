"""Background answers of this process: accepted, run while there is a slot, looked after when their worker dies."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from antiphon.dialects.native import NativeRequest
from antiphon.dialects.responses.retelling import failed, opening, queued_response
from antiphon.engine.runs.execution import Execution
from antiphon.engine.runs.log import RunLog
from antiphon.engine.runs.logs import Logs
from antiphon.engine.runs.settling import cancelled, settled
from antiphon.engine.runs.tail import Tail
from antiphon.engine.runs.writing import LogWriter
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Owner, mint_response_id
from antiphon.engine.turns import Incoming, Route
from antiphon.ports.reply import Reply
from antiphon.ports.runs import Lease, NewRun, RunStore, StaleRun
from antiphon.ports.stores import ResponseStore
from antiphon.settings import Background
from antiphon.turn.chain import write_items
from antiphon.turn.history import Context
from antiphon.wire.errors import ClientFault, StoreFault
from antiphon.wire.json import write_members
from antiphon.wire.objects import write_object

_log = logging.getLogger(__name__)

_CLAIM_SECONDS: Final = 1.0
_REAP_SECONDS: Final = 5.0
_STALE_AT_ONCE: Final = 100
_TAKEN_OUT: Final = frozenset(
    {"input", "background", "stream", "stream_options", "store", "previous_response_id", "conversation"}
)
"""Members that the turn is not asked with, or with others."""
_KEPT_HEADERS: Final = frozenset({b"cache-control", b"x-antiphon-cache", b"x-antiphon-cache-tag"})
_OPENING: Final = 3
"""Events before anything of the answer: created, queued, in progress."""


class _Request(msgspec.Struct):
    """What is stored of a request, beside its input."""

    members: dict[str, bytes]
    headers: dict[bytes, bytes]
    owner: str
    project: str
    echo: dict[str, bytes]


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(_Request).decode


class Runs:
    """Accepts, executes, follows and cancels runs."""

    def __init__(
        self,
        store: RunStore,
        responses: ResponseStore,
        tasks: Tasks,
        *,
        settings: Background,
        retention: float,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep runs in `store` and their answers in `responses`, for `retention` seconds; `clock` is monotonic."""
        self.worker = secrets.token_hex(8)
        self.logs = Logs(store, responses)
        self._store = store
        self._responses = responses
        self._tasks = tasks
        self._settings = settings
        self._retention = retention
        self._now = wall_clock
        self._clock = clock
        self._writer = LogWriter(store, tasks, clock)
        self._executions: dict[str, Execution] = {}
        self._wanted = asyncio.Event()
        self._stopping = False
        self._route: Route | None = None
        self._answer: Callable[[Incoming], None] | None = None

    def start(self, route: Route, answer: Callable[[Incoming], None]) -> None:
        """Begin to work: turns are asked on `route`, of `answer`."""
        self._route, self._answer = route, answer
        self._tasks.start(self._claim(), "claim runs")
        self._tasks.start(self._renew(), "renew leases")
        self._tasks.start(self._reap(), "look after runs")
        self._tasks.start(self.logs.follow(lambda: None), "follow runs")
        self._tasks.start(self._store.watch(self.logs.hint), "watch runs")

    # What clients ask for.

    async def accept(self, incoming: Incoming, request: NativeRequest, context: Context) -> None:
        """Accept a background answer, and tell the client. Raises ClientFault, StoreFault."""
        run_id = (incoming.response_id or mint_response_id()).decode()
        now = self._now()
        echo = {**request.echo, "background": b"true", "store": b"true"}
        response = queued_response(request.members, run_id, int(now), echo)
        is_begun = len(self._executions) < self._settings.concurrency and not self._stopping
        statuses = ["queued", "queued", "in_progress"] if is_begun else ["queued", "queued"]
        frames = opening(response, statuses)
        stored = _Request(
            {name: bytes(raw) for name, raw in request.members.items() if name not in _TAKEN_OUT},
            {name: value for name, value in incoming.headers.items() if name in _KEPT_HEADERS},
            incoming.owner.name,
            incoming.owner.project,
            echo,
        )
        new = NewRun(
            id=run_id,
            owner=incoming.owner.name,
            request=_ENCODE(stored),
            context=context,
            frames=frames,
            is_public=request.stream,
            created_at=now,
            queue_deadline=now + self._settings.queue_timeout,
            deadline=now + self._settings.timeout,
        )
        lease = await self._store.create(new, self.worker if is_begun else None)
        log = self.logs.open(run_id, incoming.owner.name, "in_progress" if is_begun else "queued")
        log.grow(0, frames, [0] * len(frames), log.status)
        headers = ((b"x-request-id", incoming.request_id),)
        if lease is not None:
            self._execute(lease, log)
        if request.stream:
            Tail(log, incoming.reply, -1, headers, self.logs.release)
        else:
            body = write_object(response)
            incoming.reply.send(200, ((b"content-type", b"application/json"), *headers), body)
            self.logs.release(log)
        if lease is None:
            self._wanted.set()

    async def body(self, run_id: str, owner: str) -> bytes | None:
        """Return the response of the owner's run as it stands; None if there is no such run."""
        log = await self._open(run_id, owner)
        if log is None:
            return None
        snapshot = log.snapshot()
        response = cancelled(snapshot) if log.status == "cancelled" else snapshot.response
        if response is not None and log.status == "in_progress":
            response = response | {"status": "in_progress"}
        self.logs.release(log)
        return write_object(response or {})

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
        """Cancel the owner's run; False if there is none. What has ended stays as it ended."""
        if await self._store.state(run_id, owner) is None:
            return False
        if await self._store.end(run_id, "cancelled"):
            execution = self._executions.get(run_id)
            if execution is not None:
                execution.stop()
            self._tasks.start(self._settle(run_id, owner), f"settle {run_id}")
        return True

    async def delete(self, run_id: str, owner: str) -> bool:
        """Forget the owner's run, and stop it; False if there is none."""
        is_there = await self._store.delete(run_id, owner)
        execution = self._executions.get(run_id)
        if is_there and execution is not None:
            execution.stop()
        return is_there

    async def _open(self, run_id: str, owner: str) -> RunLog | None:
        """Return the owner's log with all that is committed."""
        state = await self._store.state(run_id, owner)
        if state is None:
            return None
        log = self.logs.open(run_id, owner, state.status)
        if len(log.frames) <= state.last_seq or log.status != state.status:
            await self.logs.refresh(log)
        return log

    # Executing.

    def _execute(self, lease: Lease, log: RunLog) -> None:
        stored = _DECODE(lease.request)
        members = {**stored.echo, "created_at": b"%d" % int(lease.created_at)}
        execution = Execution(lease, log, self._writer, self, members, self._now)
        self._executions[lease.run_id] = execution
        self.logs.written_here(log, is_so=True)
        self._tasks.start(
            self._ask(execution, stored),
            f"run {lease.run_id}",
            on_death=lambda: execution.fail("server_error", "The gateway could not run it."),
        )

    async def _ask(self, execution: Execution, stored: _Request) -> None:
        """Ask for the answer."""
        lease = execution.lease
        members: dict[str, bytes] = {**stored.members, "stream": b"true", "store": b"false"}
        try:
            if len(execution.log.frames) <= lease.last_seq:
                await self.logs.refresh(execution.log)
            if lease.history is not None:
                members["input"] = write_items(await self._responses.history(lease.history))
            if len(execution.log.frames) == _OPENING - 1:
                response = execution.log.snapshot().response or {}
                execution.add(opening(response, ["in_progress"], _OPENING - 1))
            assert self._route is not None and self._answer is not None  # noqa: PT018
            self._answer(
                Incoming(
                    self._route,
                    Owner(stored.owner, stored.project),
                    lease.run_id.encode(),
                    stored.headers,
                    write_members(members),
                    execution,
                    self._clock(),
                    response_id=lease.run_id.encode(),
                )
            )
        except StoreFault:
            execution.stop()  # its lease runs out, and somebody tries again
        except ClientFault as fault:
            execution.fail(fault.code or "invalid_prompt", fault.message)

    def on_over(self, execution: Execution, *, is_settled: bool) -> None:
        """Make room for the next run."""
        run_id = execution.lease.run_id
        if self._executions.get(run_id) is execution:
            del self._executions[run_id]
        self.logs.written_here(execution.log, is_so=False)
        self._wanted.set()
        if is_settled:
            self._tasks.start(self._settle(run_id, execution.lease.owner), f"settle {run_id}")

    # What goes on beside the requests.

    async def _claim(self) -> None:
        """Take queued runs while there are free slots."""
        while True:
            try:
                async with asyncio.timeout(_CLAIM_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            free = self._settings.concurrency - len(self._executions)
            if free <= 0 or self._stopping:
                continue
            try:
                for lease in await self._store.claim(self.worker, free):
                    self._execute(lease, self.logs.open(lease.run_id, lease.owner, "in_progress"))
            except StoreFault as fault:
                _log.warning("no run can be claimed: %s", fault.message)

    async def _renew(self) -> None:
        """Keep the leases; what is lost is stopped, and all if storage was silent for too long."""
        lease = self._settings.lease
        renewed_at = self._clock()
        while True:
            await asyncio.sleep(lease / 3)
            executions = dict(self._executions)
            held = [(run_id, each.lease.epoch) for run_id, each in executions.items()]
            try:
                kept = await self._store.renew(held) if held else set()
                renewed_at = self._clock()
            except StoreFault:
                if self._clock() - renewed_at < lease * 2 / 3:
                    continue
                kept = set()
            for run_id, execution in executions.items():
                if run_id not in kept:
                    execution.stop()

    async def _reap(self) -> None:
        """Look after runs whose worker is gone, that are too late, or that are not settled."""
        while True:
            try:
                for stale in await self._store.stale(_STALE_AT_ONCE):
                    await self._decide(stale)
            except StoreFault as fault:
                _log.warning("runs cannot be looked after: %s", fault.message)
            await asyncio.sleep(_REAP_SECONDS * (0.75 + secrets.randbelow(500) / 1000))

    async def _decide(self, stale: StaleRun) -> None:
        if stale.why == "ended":
            await self._settle(stale.id, stale.owner)
            return
        is_last = stale.attempt >= self._settings.max_attempts
        may_restart = not (stale.is_shown and stale.is_public) and not stale.has_effect and not is_last
        if stale.why == "lease" and may_restart:
            await self._store.restart(stale.id, stale.state, min(_OPENING, stale.state.last_seq + 1))
            self._wanted.set()
            return
        code, message = _WHY[stale.why]
        log = RunLog(stale.id, stale.state.status)
        page = await self._store.read(stale.id, -1)
        log.grow(0, page.frames, page.times, stale.state.status)
        frame = failed(log.snapshot(), stale.state.last_seq + 1, code, message)
        if await self._store.end(stale.id, "failed", [frame], stale.state):
            execution = self._executions.get(stale.id)
            if execution is not None:
                execution.stop()
            await self._settle(stale.id, stale.owner)

    async def _settle(self, run_id: str, owner: str) -> None:
        """Move an ended run among the kept responses."""
        try:
            page = await self._store.read(run_id, -1)
            if page.state is None:
                return
            now = self._now()
            kept = settled(
                run_id,
                owner,
                page.frames,
                page.times,
                status=page.state.status,
                created_at=page.state.created_at,
                ended_at=now,
                expires_at=now + self._retention,
            )
            await self._store.settle(kept)
            self.logs.hint()
        except StoreFault as fault:
            _log.warning("run %s is settled later: %s", run_id, fault.message)


_WHY: Final[Mapping[str, tuple[str, str]]] = {
    "lease": ("server_error", "The worker that made this answer was lost; what it had told is kept."),
    "queue_deadline": ("server_error", "It waited too long to be begun."),
    "deadline": ("server_error", "It took too long."),
}
