"""A gateway in this process, as it runs without a configuration file and without keys."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from antiphon.app import Application
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.ports.upstream import AnswerSink, Call, Upstream, UpstreamRequest
from antiphon.settings import Log, Model, Settings, Storage, checked, load

MODEL = "demo"
PRICED_AS = "gpt-5.2"
"""The public model whose price the ledger is to take: that of the cassette is nothing."""
_PROVIDER = "tape"
_STOP_SECONDS = 2.0
_BY_RESULT = """
SELECT cache, count(*), sum(total_tokens), sum(cost), sum(cost_saved) FROM usage
GROUP BY cache ORDER BY min(rowid)
"""


@dataclass(frozen=True, slots=True)
class Sum:
    """What the ledger says of all requests with one cache result; dollars are None where no price is known."""

    result: str
    requests: int
    tokens: int
    cost: float | None
    saved: float | None


class CountedUpstream:
    """Implements `ports.upstream.Upstream` by another one, and counts how often it is asked."""

    def __init__(self, upstream: Upstream) -> None:
        """Count from zero."""
        self._upstream = upstream
        self.asked = 0

    def send(self, request: UpstreamRequest, sink: AnswerSink) -> Call:
        """Start a request."""
        self.asked += 1
        return self._upstream.send(request, sink)

    async def close(self) -> None:
        """Close all connections."""
        await self._upstream.close()


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[str, CountedUpstream]]:
    """Serve on a free port until the block ends; all writes are finished then. Yields the address and the upstream."""
    application = await Application.open(settings, environ={})
    source = application._sources[_PROVIDER]
    upstream = CountedUpstream(source.upstream)
    application._sources[_PROVIDER] = replace(source, upstream=upstream)
    application.start()
    server = HttpServer(application.settings.server, application.gateway.handle, application.sessions)
    sock = listening_socket(application.settings.server.host, 0, shared=False)
    host, port = sock.getsockname()[:2]
    await server.start(sock)
    loop = asyncio.get_running_loop()
    try:
        yield f"http://{host}:{port}", upstream
    finally:
        await server.stop(loop.time() + _STOP_SECONDS)
        await application.stop(lambda: server.drain(loop.time() + _STOP_SECONDS))
        server.abort()


def ledger(settings: Settings) -> list[Sum]:
    """Read the ledger of a gateway that has stopped."""
    with contextlib.closing(sqlite3.connect(settings.storage.url.removeprefix("sqlite:///"))) as connection:
        return [Sum(*row) for row in connection.execute(_BY_RESULT)]


def demo_settings(folder: Path) -> Settings:
    """Return what holds without a configuration file and keys, but with a model that has a price, and no log."""
    return checked(
        structs.replace(
            load(None, {}, folder),
            models={MODEL: Model(target=f"{_PROVIDER}/{PRICED_AS}")},
            storage=Storage(url=f"sqlite:///{folder / 'antiphon.db'}"),
            log=Log(requests=False),
        )
    )
