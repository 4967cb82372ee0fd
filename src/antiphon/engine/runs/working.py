"""The worker: claims runs while it has free slots, executes them, and keeps their leases."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from antiphon.dialects.responses.retelling import Retelling, opening
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.runs.admission import limits_of
from antiphon.engine.runs.execution import End, Execution
from antiphon.engine.runs.log import RunLog
from antiphon.engine.runs.logs import Logs
from antiphon.engine.runs.settling import Settling
from antiphon.engine.runs.stored_request import StoredRequest, decode_request
from antiphon.engine.runs.writing import LogWriter
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Owner
from antiphon.engine.waking import woken
from antiphon.ports.runs import Lease, RunStore
from antiphon.ports.stores import ResponseStore
from antiphon.settings import Background
from antiphon.turn.chain import write_items
from antiphon.turn.history import Context
from antiphon.wire.errors import GatewayError, StoreFault
from antiphon.wire.json import write_members

_log = logging.getLogger(__name__)

_CLAIM_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.02
_HEED_SECONDS: Final = 0.5
"""How often it is asked what is still held, even if no hint comes."""
_UNRENEWED: Final = 2 / 3
"""Of a lease, without a successful renewal: then its runs are given up, before somebody else may have them."""
_AGAIN: Final = 1 / 15
"""Of a lease, between attempts to renew after one has failed."""
OPENING: Final = 3
"""Events before anything of the answer: created, queued, in progress."""


class Worker:
    """Executes runs."""

    def __init__(
        self,
        store: RunStore,
        responses: ResponseStore,
        tasks: Tasks,
        logs: Logs,
        settling: Settling,
        *,
        settings: Background,
        claims: bool,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take runs from `store`, whose input is among `responses`; `clock` is monotonic.

        Without `claims` it only holds what begins elsewhere.
        """
        self.name = store.enter()
        self._store = store
        self._responses = responses
        self._tasks = tasks
        self._logs = logs
        self._settling = settling
        self._settings = settings
        self._claims = claims
        self._limits = limits_of(settings)
        self._now = wall_clock
        self._clock = clock
        self._writer = LogWriter(store, tasks, settings.lease * _UNRENEWED, logs.tell_others)
        self._executions: dict[str, Execution] = {}
        self._foreground: set[str] = set()
        """Those of them that take no slot, since somebody waits for their answer, or has waited."""
        self._given_up: list[tuple[str, int]] = []
        """Runs, by id and epoch, that storage did not take: they are let go as soon as it does."""
        self._wanted = asyncio.Event()
        self._moved = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping = False
        self._route: Route | None = None
        self._answer: Callable[[Incoming], None] | None = None

    def start(self, route: Route, answer: Callable[[Incoming], None]) -> None:
        """Begin to work: turns are asked on `route`, of `answer`."""
        self._route, self._answer = route, answer
        if self._claims:
            self._tasks.start(self._claim(), "claim runs")
        self._tasks.start(self._renew(), "renew leases")
        self._tasks.start(self._heed(), "heed what happens to runs elsewhere")

    @property
    def is_free(self) -> bool:
        """Whether there is a free slot."""
        return self._claims and self._free > 0 and not self._stopping

    @property
    def _free(self) -> int:
        return self._settings.concurrency - len(self._executions) + len(self._foreground)

    def hint(self, run_ids: Sequence[str] = ()) -> None:
        """Something may have happened elsewhere to these runs, or to any, if none is named."""
        if not run_ids or not self._executions.keys().isdisjoint(run_ids):
            self._moved.set()

    def retire(self) -> None:
        """Begin no more runs."""
        self._stopping = True
        if not self._executions:
            self._idle.set()

    async def finish(self, seconds: float) -> None:
        """Wait until the runs have ended that are executed, but no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("stopping: %d runs are handed over", len(self._executions))

    async def hand_over(self) -> None:
        """Stop what is executed still, and let it go: somebody else may have it at once. Raises StoreFault."""
        executions = tuple(self._executions.values())
        for execution in executions:
            execution.stop()
        await self._writer.flush()
        held = [(execution.lease.run_id, execution.lease.epoch) for execution in executions]
        await self._release([*held, *self._given_up])

    def leave(self) -> None:
        """Be gone."""
        self._store.leave(self.name)

    @property
    def running(self) -> int:
        """How many runs are executed."""
        return len(self._executions)

    def wake(self) -> None:
        """There may be something to claim."""
        self._wanted.set()

    def stop_run(self, run_id: str) -> None:
        """Do nothing more for a run: it has ended elsewhere."""
        execution = self._executions.get(run_id)
        if execution is not None:
            execution.stop()

    def execute(self, lease: Lease, log: RunLog) -> None:
        """Execute a run that this worker holds."""
        stored = decode_request(lease.request)
        members = {**stored.echo, "created_at": b"%d" % int(lease.created_at)}
        tells_truncation = self._settings.on_unterminated != "completed"
        retelling = Retelling(lease.last_seq + 1, members, tells_truncation=tells_truncation)
        execution = self._keep(lease, log, retelling)
        self._tasks.start(
            self._ask(execution, stored),
            f"run {lease.run_id}",
            on_death=lambda: execution.fail("server_error", "The gateway could not run it."),
        )

    def hold(self, lease: Lease, log: RunLog, retelling: Retelling) -> Execution:
        """Hold a run whose turn is under way already; it takes no slot."""
        execution = self._keep(lease, log, retelling)
        self._foreground.add(lease.run_id)
        return execution

    def _keep(self, lease: Lease, log: RunLog, retelling: Retelling) -> Execution:
        execution = Execution(lease, log, self._writer, self, retelling, self._now)
        self._executions[lease.run_id] = execution
        self._logs.written_here(log, is_so=True)
        return execution

    async def _ask(self, execution: Execution, stored: StoredRequest) -> None:
        """Ask for the answer."""
        lease = execution.lease
        members: dict[str, bytes] = {**stored.members, "stream": b"true", "store": b"false"}
        try:
            log = execution.log
            if log.epoch != lease.epoch or len(log.frames) <= lease.last_seq:
                await self._logs.refresh(log)
            if log.epoch != lease.epoch:
                execution.fenced()  # it has moved on already
                return
            context: Context | None = None
            if lease.history is not None:
                items = await self._responses.history(lease.history)
                members["input"] = write_items(items)
                context = Context(None, items, items, stored.inherited, stored.is_text)
            if len(log.frames) == OPENING - 1:
                response = log.snapshot().response or {}
                execution.add(opening(response, ["in_progress"], OPENING - 1))
            execution.carriage.told = tuple(log.frames)
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
                    context=context,
                    carriage=execution.carriage,
                )
            )
        except StoreFault:
            execution.given_up()
        except GatewayError as fault:
            execution.fail(fault.code or "invalid_prompt", fault.message)

    def on_over(self, execution: Execution, end: End) -> None:
        """Make room for the next run."""
        run_id = execution.lease.run_id
        if self._executions.get(run_id) is execution:
            del self._executions[run_id]
            self._foreground.discard(run_id)
        self._logs.written_here(execution.log, is_so=False)
        self._wanted.set()
        if end is End.COMMITTED:
            self._settling.soon(run_id, execution.lease.owner)
        elif end is End.GIVEN_UP:
            self._given_up.append((run_id, execution.lease.epoch))
        if self._stopping and not self._executions:
            self._idle.set()

    async def _claim(self) -> None:
        """Take queued runs while there are free slots."""
        while True:
            await woken(self._wanted, _CLAIM_SECONDS)
            if not self.is_free:
                continue
            try:
                if not await self._store.queued():
                    continue
                for lease in await self._store.claim(self.name, self._free, self._limits):
                    self.execute(lease, self._logs.open(lease.run_id, lease.owner, "in_progress"))
            except StoreFault as fault:
                _log.warning("no run can be claimed: %s", fault.message)
            finally:
                # Where others write a lot there are as many hints.
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _renew(self) -> None:
        """Keep the leases; what is lost is stopped, and all if storage was silent for too long."""
        lease = self._settings.lease
        renewed_at = self._clock()
        while True:
            is_late = self._clock() - renewed_at > lease / 3
            await asyncio.sleep(lease * (_AGAIN if is_late else 1 / 3))
            asked_at = self._clock()
            executions = dict(self._executions)
            try:
                async with asyncio.timeout(max(renewed_at + lease * _UNRENEWED - asked_at, lease * _AGAIN)):
                    await self._renew_once(executions)
                renewed_at = asked_at
            except (StoreFault, TimeoutError):
                if self._clock() < renewed_at + lease * _UNRENEWED:
                    continue
                if executions:
                    _log.error("storage takes no renewals: %d runs are given up", len(executions))
                for execution in executions.values():
                    execution.given_up()

    async def _renew_once(self, executions: Mapping[str, Execution]) -> None:
        """Prolong what is held, and let go of what was given up. Raises StoreFault."""
        held = [(run_id, each.lease.epoch) for run_id, each in executions.items()]
        if held:
            kept = await self._store.renew(held)
            for run_id, execution in executions.items():
                if run_id not in kept and not execution.is_ending:
                    execution.fenced()
        await self._release(tuple(self._given_up))

    async def _release(self, held: Sequence[tuple[str, int]]) -> None:
        if held:
            await self._store.release(held)
            self._given_up = [run for run in self._given_up if run not in held]

    async def _heed(self) -> None:
        """Stop what has ended elsewhere or was taken away, also where the upstream says nothing."""
        while True:
            await woken(self._moved, _HEED_SECONDS)
            executions = dict(self._executions)
            if not executions:
                continue
            try:
                held = [(run_id, each.lease.epoch) for run_id, each in executions.items()]
                kept = await self._store.mine(held)
            except StoreFault:
                continue  # nobody can have said anything
            for run_id, execution in executions.items():
                if run_id not in kept and not execution.is_ending:
                    execution.stop()
