"""Several workers on one storage in one thread: each has an event loop of its own, which runs only when it is let.

A worker that is frozen is one whose loop is not run: what it had asked of storage happens, and it does not hear of it.
A worker that is killed is never run again. Time stands still until it is moved, for all of them.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any

from antiphon.drivers.storage import open_storage
from antiphon.engine.contexts import Contexts, Limits
from antiphon.engine.references import References
from antiphon.engine.runs.runs import Runs
from antiphon.engine.tasks import Tasks
from antiphon.gateway.gateway import RESPONSES_ROUTE
from antiphon.settings import Background, Responses, Server, Settings, Storage
from drivers.stores.place import Place
from property.runs.upstream import Turn

BEGIN = 1_800_000_000.0
RETENTION = 30 * 86400.0
_UNUSED: Any = None
"""No request here names a conversation, or an item of another."""
SETTINGS = Background(concurrency=2, lease=3, max_attempts=3, queue_timeout=60, timeout=150)  # type: ignore[arg-type]


class Clock:
    """The time that has passed, in seconds."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return BEGIN + self.passed


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def time(self) -> float:
        return self._clock.passed


class Process:
    """An event loop with the storage opened in it."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.loop = Loop(clock)
        settings = Settings(
            storage=Storage(url=place.url, pool_size=2),
            server=Server(workers=2),  # others keep things there too
            responses=Responses(background=SETTINGS),
        )
        self.opened = self.loop.run_until_complete(open_storage(settings, clock.wall))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.loop.run_until_complete(self.opened.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Gate:
    """A store as its worker reaches it: calls are counted, and may be where the worker stops."""

    def __init__(self, store: Any, worker: "Worker") -> None:
        self._store = store
        self._worker = worker

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name == "watch":
            return self._worker.watch
        if name == "enter":
            return self._worker.enter
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._worker.through(name, found, arguments, named)

        return call


class Worker(Process):
    """One process of the gateway, as far as runs are concerned."""

    def __init__(self, name: str, place: Place, clock: Clock, turns: list[Turn]) -> None:
        super().__init__(place, clock)
        self.name = name
        self.is_frozen = False
        self.is_dead = False
        self.fuse: tuple[str, str] | None = None
        """The next call of this store method stops the worker, `before` or `after` it is done."""
        self._in_flight = 0
        self._landed = asyncio.Event()
        self._turn = asyncio.Lock()
        """Storage does one thing after the other: which of two is first must not be chance."""
        self._thawed = asyncio.Event()
        self._changed: Callable[[tuple[str, ...]], object] = lambda _: None
        self._entered: list[str] = []
        self._asked: list[tuple[asyncio.Task[Any], Callable[[Any], None]]] = []
        self._tasks = Tasks()
        self.store, self.responses = Gate(self.opened.runs, self), Gate(self.opened.responses, self)
        self._turns = turns
        self.run(self._start(clock))

    async def _start(self, clock: Clock) -> None:
        self.runs = Runs(
            self.store,
            self.responses,
            {},
            self._tasks,
            settings=SETTINGS,
            retention=RETENTION,
            wall_clock=clock.wall,
            clock=clock.monotonic,
        )
        self.contexts = Contexts(
            self.responses,
            self.store,
            self.runs.settle,
            _UNUSED,
            References(_UNUSED),
            Limits(10_000, 1_000_000, 0),
        )
        self.runs.start(
            RESPONSES_ROUTE, lambda incoming: self._turns.append(Turn(self, incoming, len(self._turns)))
        )

    # What the machine does.

    @property
    def is_up(self) -> bool:
        return not (self.is_frozen or self.is_dead)

    def ask(self, work: Coroutine[Any, Any, Any], then: Callable[[Any], None]) -> None:
        """Begin `work`; `then` hears its result (or its fault), now or when the worker was woken."""
        self._asked.append((self.loop.create_task(work), then))

    def come_to_rest(self) -> None:
        """Run until there is nothing to do before time passes."""
        if self.is_up:
            self.run(self._rest())
        answered = [asked for asked in self._asked if asked[0].done()]
        self._asked = [asked for asked in self._asked if not asked[0].done()]
        for task, then in answered:
            then(task.exception() or task.result())

    def hint(self) -> None:
        if self.is_up:
            self._changed(())

    def freeze(self) -> None:
        self.is_frozen = True
        self._thawed.clear()

    def thaw(self) -> None:
        self.is_frozen, self.fuse = False, None
        self._thawed.set()

    def kill(self, *, is_seen: bool = True) -> None:
        """Let it end in the middle of whatever it does; `is_seen`: as a process of a host that lives on."""
        self.is_dead = True
        for name in self._entered if is_seen else ():
            self.opened.runs.leave(name)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for _ in range(10):
            self.run(asyncio.sleep(0))
        self._asked.clear()
        self.close()

    # What its stores call.

    async def through(self, name: str, call: Callable[..., Any], arguments: Any, named: Any) -> Any:
        await self._stop_at((name, "before"))
        self._in_flight += 1
        self._landed.clear()
        try:
            async with self._turn:
                result = await call(*arguments, **named)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._landed.set()
        await self._stop_at((name, "after"))
        return result

    def enter(self) -> str:
        self._entered.append(self.opened.runs.enter())
        return self._entered[-1]

    async def watch(self, changed: Callable[[tuple[str, ...]], object]) -> None:
        self._changed = changed
        await self.loop.create_future()

    async def _stop_at(self, place: tuple[str, str]) -> None:
        if self.fuse == place and not self.is_dead:
            self.freeze()
        while self.is_frozen and not self.is_dead:
            await self._thawed.wait()
        if self.is_dead:
            raise asyncio.CancelledError

    async def _rest(self) -> None:
        quiet = 0
        while quiet < 3 and self.is_up:
            await asyncio.sleep(0)
            if self._in_flight:
                await self._landed.wait()
            elif self.opened.queued > 0:
                time.sleep(0.0001)  # noqa: ASYNC251 - nothing else may happen in this loop
            is_waiting = self._in_flight > 0 or self.opened.queued > 0
            quiet = 0 if is_waiting or self.loop._ready else quiet + 1  # type: ignore[attr-defined]
