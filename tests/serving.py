"""A gateway on a real socket, in the test's own event loop, and settings to start it with."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from antiphon.app import Application
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.settings import Cache, Log, Provider, Secret, Server, Settings, Storage
from antiphon.settings.quantities import Timeout

UNHURRIED = Timeout(10.0)
"""For look-ups in the second level: a machine that is busy with other tests must not make hits misses."""


@dataclass
class Running:
    """A gateway that serves."""

    application: Application
    server: HttpServer
    url: str
    """Without a path: `http://127.0.0.1:PORT`."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def stop(self, seconds: float = 5.0) -> None:
        """Stop as SIGTERM does."""
        loop = asyncio.get_running_loop()
        await self.server.stop(loop.time() + seconds)
        await self.application.stop(lambda: self.server.drain(loop.time() + 2))
        self.server.abort()


class Clock:
    """Wall time that a test moves."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def settings_for(folder: Path, upstream_url: str, **changes: object) -> Settings:
    """Two providers, `up` (openai) and `chat` (openai-chat), at one upstream; a cache with defaults."""
    fields: dict[str, object] = {
        "server": Server(port=0),
        "providers": {
            "up": Provider(
                type="openai", base_url=upstream_url, api_key=Secret("sk-upstream"), models=("gpt-test",)
            ),
            "chat": Provider(type="openai-chat", base_url=upstream_url, models=()),
        },
        "cache": Cache(lookup_timeout=UNHURRIED),
        "storage": Storage(url=f"sqlite:///{folder}/antiphon.db"),
        "log": Log(requests=False),
    }
    return Settings(**{**fields, **changes})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def serving(settings: Settings, clock: Callable[[], float] | None = None) -> AsyncIterator[Running]:
    """Serve until the block ends."""
    application = await Application.open(settings, environ={}, **({"wall_clock": clock} if clock else {}))
    application.start()
    server = HttpServer(settings.server, application.gateway.handle, application.sessions)
    sock = listening_socket(settings.server.host, settings.server.port, shared=False)
    await server.start(sock)
    running = Running(application, server, f"http://127.0.0.1:{sock.getsockname()[1]}")
    try:
        yield running
    finally:
        await running.stop(0.2)
