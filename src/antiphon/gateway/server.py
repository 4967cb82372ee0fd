"""Listening, sweeping and stopping: the life of one worker's HTTP server."""

import asyncio
import contextlib
import socket
from email.utils import formatdate

from antiphon.gateway.http1 import Connection, Handler, Listening
from antiphon.gateway.sessions import Sessions
from antiphon.settings import Server

_SWEEP_SECONDS = 0.25


class HttpServer:
    """Serves one handler on one listening socket."""

    def __init__(self, settings: Server, handler: Handler, sessions: Sessions | None = None) -> None:
        """Prepare to serve within the limits of `settings`, and WebSockets where there are `sessions`."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._listening = Listening(settings, handler, self._loop, sessions)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._listening.connections)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._listening.stopping

    async def start(self, sock: socket.socket) -> None:
        """Accept connections on `sock`."""
        self._sweep()
        self._server = await self._loop.create_server(
            lambda: Connection(self._listening), sock=sock, backlog=2048
        )

    async def stop(self, deadline: float) -> int:
        """Accept no more and wait for answers under way until the loop's clock says `deadline`.

        Returns how many were not finished; their connections are still open.
        """
        assert self._server is not None
        self._server.close()
        self._listening.stop()
        return await self.drain(deadline)

    async def drain(self, deadline: float) -> int:
        """Wait until all connections are closed or the loop's clock says `deadline`; return how many are not."""
        listening = self._listening
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while listening.connections:
                    listening.emptied.clear()
                    await listening.emptied.wait()
        return len(listening.connections)

    def abort(self) -> None:
        """Cut what is still open."""
        for connection in list(self._listening.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        self._listening.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"
        self._listening.sweep()
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)


def listening_socket(host: str, port: int, *, shared: bool) -> socket.socket:
    """Bind a TCP socket; `shared` lets several workers bind the same port. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
