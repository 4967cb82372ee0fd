"""What the tests of HTTP out share: a server that writes raw bytes, and a sink that remembers."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from antiphon.drivers.http import HttpUpstream, Limits, Proxy
from antiphon.ports.upstream import UpstreamRequest
from antiphon.wire.errors import UpstreamFault
from waiting import PATIENCE

ASK = UpstreamRequest("chat", "/chat/completions", b'{"model":"m"}')
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Heard:
    """A sink that remembers all it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.pieces: list[bytes] = []
        self.ends = 0
        self.fault: UpstreamFault | None = None
        self.began = asyncio.Event()
        self.over = asyncio.Event()
        self.got_data = asyncio.Event()

    def head(self, status, headers) -> None:
        assert not self.status
        assert not self.over.is_set()
        self.status = status
        self.headers = headers
        self.began.set()

    def data(self, data: bytes) -> None:
        assert self.status
        assert not self.over.is_set()
        assert data
        self.pieces.append(data)
        self.got_data.set()

    def end(self) -> None:
        assert not self.over.is_set()
        self.ends += 1
        self.over.set()

    def broken(self, fault: UpstreamFault) -> None:
        assert not self.over.is_set()
        self.fault = fault
        self.over.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def code(self) -> str | None:
        return None if self.fault is None else self.fault.code

    async def finished(self) -> "Heard":
        await soon(self.over)
        return self


async def soon(event: asyncio.Event) -> None:
    """Wait for an event, not for ever."""
    async with asyncio.timeout(PATIENCE):
        await event.wait()


class Line:
    """The server's side of one connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """Read one whole request, body included."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        return head + (await self.reader.readexactly(int(length[1])) if length else b"")

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        while await self.reader.read(65536):
            pass


class RawServer:
    """Runs a script for each connection; connections close where their script ends."""

    def __init__(self, script: Callable[[Line], Awaitable[None]]) -> None:
        self.script = script
        self.lines: list[Line] = []
        self.closed = 0
        self.a_line_closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(len(self.lines), reader, writer)
        self.lines.append(line)
        task = asyncio.get_running_loop().create_task(self._run(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, line: Line) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(line)
        finally:
            line.writer.close()
            self.closed += 1
            self.a_line_closed.set()

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["RawServer"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for line in self.lines:
                line.writer.transport.abort()
            await server.wait_closed()


@contextlib.asynccontextmanager
async def asked(
    script: Callable[[Line], Awaitable[None]],
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    trust: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
    host: str = "127.0.0.1",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> AsyncIterator[tuple[RawServer, HttpUpstream]]:
    """Run a server and an upstream that points at it."""
    async with RawServer(script).running(tls) as server:
        scheme = "https" if tls else "http"
        upstream = HttpUpstream(
            f"{scheme}://{host}:{server.port}/v1",
            limits=limits,
            ssl_context=trust,
            proxy=proxy,
            headers=headers,
        )
        try:
            yield server, upstream
        finally:
            await upstream.close()


def answers(*answer: bytes, then: str = "wait") -> Callable[[Line], Awaitable[None]]:
    """A script: on each connection answer request after request with these bytes, then close, reset or wait."""

    async def script(line: Line) -> None:
        for data in answer:
            await line.request()
            line.send(data)
        await line.writer.drain()
        if then == "wait":
            await line.gone()
        elif then == "reset":
            line.reset()

    return script


async def ask(upstream: HttpUpstream, request: UpstreamRequest = ASK) -> Heard:
    """Send a request and wait for the end of its answer."""
    heard = Heard()
    upstream.send(request, heard)
    return await heard.finished()
