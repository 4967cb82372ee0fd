"""`antiphon serve`: one process, or several that share a port, until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop

from antiphon.app import Application
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.settings import Settings

_log = logging.getLogger("antiphon")

_RESTART_SECONDS = 1.0
_LONGEST_STOP_SECONDS = 5.0


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


def serve(settings: Settings, ready: Callable[[int], None]) -> int:
    """Serve until SIGTERM or SIGINT; `ready` hears the port. Raises OSError, ConfigurationError."""
    configure_log(settings.log.level)
    server = settings.server
    if server.workers == 1:
        sock = listening_socket(server.host, server.port, shared=False)
        uvloop.run(_run(settings, sock, ready))
        return 0
    return _supervise(settings, ready)


async def _run(settings: Settings, sock: socket.socket, ready: Callable[[int], None]) -> None:
    application = Application(settings)
    application.start()
    server = HttpServer(settings.server, application.gateway.handle)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What was made until here lives as long as the process: the collector need not look at it again, and
    # requests leave no cycles behind that would be worth looking for often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await server.start(sock)
    ready(sock.getsockname()[1])
    await stop.wait()
    unfinished = await server.stop(loop.time() + settings.server.shutdown_timeout)
    if unfinished:
        _log.warning("stopping: %d answers are broken off", unfinished)
    await application.stop(lambda: server.drain(loop.time() + _LONGEST_STOP_SECONDS))
    server.abort()


def _supervise(settings: Settings, ready: Callable[[int], None]) -> int:
    """Run the workers, start those again that die, and stop them all when told to."""
    server = settings.server
    # Bound but never listening: it holds the port for the workers.
    holder = listening_socket(server.host, server.port, shared=True)
    port = holder.getsockname()[1]
    workers: set[int] = set()
    stopping = False

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 - signal's shape
        nonlocal stopping
        stopping = True
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for _ in range(server.workers):
        workers.add(_start_worker(settings, server.host, port))
    ready(port)
    while workers:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        workers.discard(pid)
        if not stopping:
            _log.error("worker %d ended with status %d and is started again", pid, status)
            time.sleep(_RESTART_SECONDS)
            workers.add(_start_worker(settings, server.host, port))
    return 0


def _start_worker(settings: Settings, host: str, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    status = 1
    try:
        sock = listening_socket(host, port, shared=True)
        uvloop.run(_run(settings, sock, lambda _port: None))
        status = 0
    finally:
        os._exit(status)
