"""Workers that share one database file and one upstream, and die when a test says so."""

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from antiphon.app import Application
from antiphon.drivers.simulator import Answer, Simulator
from antiphon.drivers.sqlite.storage import SqliteStorage
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.settings import Background, Provider, Responses, Settings
from antiphon.wire.sealing import NONCE_BYTES, Sealer
from e2e.plain_client import PlainClient, plain_client
from e2e.samples import responses_frames
from invariants import Reading, Witnessed, frames_of, violations
from serving import Clock, settings_for
from waiting import eventually

PATH = "/v1/responses"
ASKED = {"model": "p/m", "input": "Hi", "background": True}
SHOWN = 5
"""Frames of an answer until something of its text was told."""
LOGGED = 6
"""Events of its run then."""


class Mortal:
    """A store of runs that does nothing more, and never answers, as soon as its worker is dead."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            await self.before(name)
            if self.is_dead:
                await asyncio.Event().wait()
            result = await method(*arguments, **named)
            await self.after(name)
            if self.is_dead:
                await asyncio.Event().wait()
            return result

        return call

    async def before(self, name: str) -> None:
        """The store is about to be asked."""

    async def after(self, name: str) -> None:
        """The store has done it; the worker does not know yet."""


class Worker:
    """One gateway in the test's own process."""

    def __init__(
        self, application: Application, server: HttpServer, port: int, store: Mortal, client: PlainClient
    ) -> None:
        self.application = application
        self.server = server
        self.port = port
        self.store = store
        self.client = client
        self.is_gone = False

    async def ask(self, **changes: Any) -> dict[str, Any]:
        """Ask for a background answer."""
        return (await self.client.post(PATH, ASKED | changes)).json()  # type: ignore[no-any-return]

    async def get(self, response_id: str) -> dict[str, Any]:
        return (await self.client.get(f"{PATH}/{response_id}")).json()  # type: ignore[no-any-return]

    async def ended(self, response_id: str) -> dict[str, Any]:
        """Return the response as soon as it has ended."""

        async def poll() -> dict[str, Any] | None:
            got = await self.get(response_id)
            return got if got["status"] not in {"queued", "in_progress"} else None

        return await eventually(poll)  # type: ignore[return-value]

    async def look(self) -> None:
        """Look after runs, as it does every few seconds."""
        await self.application.runs._reaper.look()

    def abandon(self, *, is_seen: bool = True) -> None:
        """Die, as far as storage knows: `is_seen` lets its lock go, as the end of a process does."""
        self.store.is_dead = True
        if is_seen:
            self.application.runs._worker.leave()

    async def die(self, *, is_seen: bool = True) -> None:
        """Die: nothing more is written, nobody is told anything, all connections are gone."""
        self.abandon(is_seen=is_seen)
        self.is_gone = True
        await self.server.stop(0)
        self.server.abort()
        await self.application._tasks.stop()
        for source in self.application._sources.values():
            await source.upstream.close()

    async def stop(self, seconds: float = 0.2) -> None:
        """Stop as SIGTERM does."""
        self.is_gone = True
        loop = asyncio.get_running_loop()
        self.application.retire()
        deadline = loop.time() + seconds
        await self.server.stop(deadline)
        await self.application.runs.finish(deadline - loop.time())
        await self.application.stop(lambda: self.server.drain(loop.time() + 1))
        self.server.abort()


class Follower:
    """A client that follows a response over any number of connections, to any worker."""

    def __init__(self, response_id: str = "") -> None:
        self.response_id = response_id
        self.readings: list[Reading] = []
        self._body = b""

    @property
    def frames(self) -> list[bytes]:
        """Everything that came, in its order."""
        return [frame for reading in self.readings for frame in reading.frames]

    @property
    def is_whole(self) -> bool:
        return bool(self.readings) and self.readings[-1].is_whole

    async def follow(self, worker: Worker, *, asking: dict[str, Any] | None = None) -> None:
        """Read until the end, or until the connection breaks; goes on after the last event that came."""
        reading = Reading(len(self.frames) - 1)
        self.readings.append(reading)
        async with plain_client(worker.port) as client:
            if asking is None:
                after = "" if reading.after < 0 else f"&starting_after={reading.after}"
                client.send("GET", f"{PATH}/{self.response_id}?stream=true{after}", b"")
            else:
                client.send("POST", PATH, ASKED | asking | {"stream": True})
            body = b""
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                status, _ = await client.head()
                assert status == 200
                while size := int(await client.reader.readuntil(b"\r\n"), 16):
                    body += (await client.reader.readexactly(size + 2))[:-2]
                    reading.frames, reading.is_whole = frames_of(body)
                    if not self.response_id and self.frames:
                        self.response_id = events_of(self.frames)[0]["response"]["id"]


def events_of(frames: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(frame.partition(b"data: ")[2]) for frame in frames]


class Host:
    """The file, the upstream, the clock, and the workers that were started."""

    def __init__(self, folder: Path, simulator: Simulator, settings: Settings, clock: Clock) -> None:
        self.folder = folder
        self.simulator = simulator
        self.settings = settings
        self.clock = clock
        self.gate = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()

    async def worker(self, mortal: Callable[[Any], Mortal] = Mortal) -> Worker:
        """Start one."""
        storage = await SqliteStorage.open(self.settings, self.clock)
        store = mortal(storage.runs)
        storage.runs = store  # type: ignore[assignment]
        sealer = Sealer([b"k" * 32], lambda: b"n" * NONCE_BYTES)
        application = Application(self.settings, storage, sealer, environ={}, wall_clock=self.clock)
        application.start()
        server = HttpServer(self.settings.server, application.gateway.handle, application.sessions)
        sock = listening_socket("127.0.0.1", 0, shared=False)
        port = sock.getsockname()[1]
        await server.start(sock)
        client = await self._stack.enter_async_context(plain_client(port))
        worker = Worker(application, server, port, store, client)

        async def gone() -> None:
            if not worker.is_gone:
                await (worker.die() if store.is_dead else worker.stop())
            await storage.close()

        self._stack.push_async_callback(gone)
        return worker

    def hold(self, after: int, *, frames: list[bytes] | None = None) -> None:
        """Let the upstream's next answer stop after so many of its frames, and those that follow it go on."""
        frames = responses_frames() if frames is None else frames
        self.gate = asyncio.Event()
        self.simulator.answer(
            Answer(frames=frames, gate=self.gate, gate_at=after), Answer(frames=responses_frames())
        )

    async def logged(self, worker: Worker, response_id: str, count: int) -> None:
        """Wait until so many events of a response are in the log."""

        async def is_there() -> bool:
            page = await worker.store.store.read(response_id, -1)
            return len(page.frames) >= count

        await eventually(is_there)

    async def witnessed(
        self, worker: Worker, response_id: str, *followers: Follower, **seen: Any
    ) -> Witnessed:
        """Look at a response when it has ended, and read it all."""
        final = await worker.ended(response_id)
        again = Follower(response_id)
        await again.follow(worker)
        readings = [reading for follower in followers for reading in follower.readings]
        return Witnessed(response_id, again.frames, final, [*readings, *again.readings], **seen)

    async def check(self, worker: Worker, response_id: str, *followers: Follower, **seen: Any) -> Witnessed:
        """The same, and check the invariants."""
        witnessed = await self.witnessed(worker, response_id, *followers, **seen)
        assert violations(witnessed) == []
        return witnessed


@contextlib.asynccontextmanager
async def host(
    folder: Path, *, provider: dict[str, Any] | None = None, **background: Any
) -> AsyncIterator[Host]:
    """Prepare the file and an upstream `p` of the Responses API, whose answer is "Hello there"."""
    async with Simulator([Answer(frames=responses_frames())]) as simulator:
        settings = settings_for(
            folder,
            simulator.base_url,
            providers={
                "p": Provider(type="openai", base_url=simulator.base_url, models=(), **(provider or {}))
            },
            responses=Responses(background=Background(**background)),
        )
        this = Host(folder, simulator, settings, Clock())
        async with this._stack:
            yield this


def text_of(response: dict[str, Any]) -> str:
    return "".join(
        part["text"] for item in response["output"] for part in item.get("content", ()) if "text" in part
    )
