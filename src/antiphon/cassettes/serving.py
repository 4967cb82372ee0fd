"""A gateway in a thread of its own with its own event loop, so that programs with and without one can use it.

The thread and its port last; for each cassette a gateway is opened behind them that knows nothing of those before.
"""

import asyncio
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from antiphon.app import Application
from antiphon.cassettes.composing import Wanted, settings_for
from antiphon.cassettes.handle import CassetteGateway
from antiphon.cassettes.variables import variables_for
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.settings import Settings

_T = TypeVar("_T")

_HOST = "127.0.0.1"
_STOP_SECONDS = 0.5
_DRAIN_SECONDS = 1.0


class ServingThread:
    """Serves one gateway after the other at one address."""

    def __init__(self) -> None:
        """Start the thread, and take a free port; use with `with`."""
        self._socket = listening_socket(_HOST, 0, shared=False)
        self.url = f"http://{_HOST}:{self._socket.getsockname()[1]}"
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="antiphon", daemon=True)
        self._thread.start()
        self._served: _Served | None = None

    def open(self, wanted: Wanted, environ: Mapping[str, str]) -> CassetteGateway:
        """Open a gateway. Raises ConfigurationError."""
        self.close_gateway()
        scratch = tempfile.TemporaryDirectory(prefix="antiphon-", ignore_cleanup_errors=True)
        try:
            settings = settings_for(wanted, environ, Path.cwd(), Path(scratch.name))
            self._served = self._run(_Served.open(settings, self._socket.dup(), environ, scratch))
        except BaseException:
            scratch.cleanup()
            raise
        self._served.gateway = gateway = CassetteGateway(
            self.url,
            variables_for(self.url, environ, is_offline=wanted.is_offline),
            self._served.application.deck,
        )
        return gateway

    def close_gateway(self) -> None:
        """Close the gateway that there is: what it was recording is written."""
        served, self._served = self._served, None
        if served is not None:
            if served.gateway is not None:
                served.gateway.close_clients()
            self._run(served.close())
            served.scratch.cleanup()

    def close(self) -> None:
        """Close everything."""
        self.close_gateway()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    def __enter__(self) -> Self:
        """Serve until the block ends."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Served:
    """A gateway that is open."""

    def __init__(
        self, application: Application, server: HttpServer, scratch: "tempfile.TemporaryDirectory[str]"
    ) -> None:
        self.application = application
        self.scratch = scratch
        self.gateway: CassetteGateway | None = None
        self._server = server

    @classmethod
    async def open(
        cls,
        settings: Settings,
        sock: Any,
        environ: Mapping[str, str],
        scratch: "tempfile.TemporaryDirectory[str]",
    ) -> "_Served":
        try:
            application = await Application.open(settings, environ=environ)
        except BaseException:
            sock.close()
            raise
        application.start()
        server = HttpServer(settings.server, application.gateway.handle, application.sessions)
        await server.start(sock)
        return cls(application, server, scratch)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await self._server.stop(loop.time() + _STOP_SECONDS)
        await self.application.stop(lambda: self._server.drain(loop.time() + _DRAIN_SECONDS))
        self._server.abort()
