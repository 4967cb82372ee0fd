"""`antiphon serve`: one process, or several that share a port, until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable

import msgspec
import uvloop

from antiphon.app import Application
from antiphon.cli.workers import Workers
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.settings import Settings

_log = logging.getLogger("antiphon")

_LONGEST_STOP_SECONDS = 5.0
_CUT_SECONDS = 0.5


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record without anything that a client sent."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure_log(level: str) -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It warns of each malformed form and shows what is wrong with it: that is for the client, who is told.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


def serve(settings: Settings, ready: Callable[[int], None]) -> int:
    """Serve until SIGTERM or SIGINT; `ready` hears the port. Raises OSError, ConfigurationError."""
    configure_log(settings.log.level)
    _allow_connections()
    server = settings.server
    # Several sockets may share a port, those of another gateway too: ask for it alone first.
    sock = listening_socket(server.host, server.port, shared=False)
    if server.workers == 1:
        uvloop.run(_run(settings, sock, lambda: ready(_port_of(sock))))
        return 0
    sock.close()
    # Bound but never listening: it holds the port for the workers.
    holder = listening_socket(server.host, server.port, shared=True)
    port = _port_of(holder)

    def work(is_ready: Callable[[], None], abandoned: int) -> None:
        own = listening_socket(server.host, port, shared=True)
        uvloop.run(_run(settings, own, is_ready, abandoned))

    return Workers(server.workers, work).run(lambda: ready(port))


def _allow_connections() -> None:
    """A stream takes two descriptors, and many shells allow 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):  # macOS says that there is no limit, and has one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(
    settings: Settings, sock: socket.socket, ready: Callable[[], None], abandoned: int | None = None
) -> None:
    """Serve on `sock` until a signal comes, or until there is something to read on the descriptor `abandoned`."""
    application = await Application.open(settings)
    application.start()
    server = HttpServer(settings.server, application.gateway.handle, application.sessions)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if abandoned is not None:
        loop.add_reader(abandoned, _stop_once, loop, abandoned, stop)
    # What was made until here lives as long as the process: the collector need not look at it again, and
    # requests leave no cycles behind that would be worth looking for often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await server.start(sock)
    ready()
    await stop.wait()
    deadline = loop.time() + settings.server.shutdown_timeout
    application.retire()
    unfinished = await server.stop(deadline)
    await application.idempotency.finish(deadline - loop.time())
    await application.runs.finish(deadline - loop.time())
    if unfinished:
        _log.warning("stopping: %d answers are broken off", unfinished)

    async def drained() -> None:
        await server.drain(loop.time() + _LONGEST_STOP_SECONDS)
        # Whoever is still there hears now that it is over, so that the ledger does too before it is closed.
        server.abort()
        await server.drain(loop.time() + _CUT_SECONDS)

    await application.stop(drained)


def _stop_once(loop: asyncio.AbstractEventLoop, abandoned: int, stop: asyncio.Event) -> None:
    loop.remove_reader(abandoned)
    stop.set()


def _port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port
