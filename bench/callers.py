"""Clients that ask one thing after the other, each with a prompt of its own."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import cast

from bench.processes import BenchError
from bench.requests import Body

_MOST_SECONDS = 120.0


class Asked:
    """What callers saw."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds


class _Caller(asyncio.Protocol):
    """Sends one request after the other."""

    def __init__(self, requests: Iterator[bytes], asked: Asked, over: asyncio.Future[None]) -> None:
        self._requests = requests
        self._asked = asked
        self._over = over
        self._held = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        held = self._held = self._held + data
        head, end, rest = held.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._held = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(BenchError(f"a request was answered with {held[:200]!r}"))
            return
        self._asked.count += 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(BenchError(f"a connection broke off: {exc}"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._end(None)
        else:
            self._transport.write(request)

    def _end(self, fault: BenchError | None) -> None:
        if not self._over.done():
            self._over.set_result(None) if fault is None else self._over.set_exception(fault)
            self._transport.close()


async def ask(
    port: int, body: Body, serial: int, *, callers: int, seconds: float = _MOST_SECONDS, most: int = 1 << 30
) -> Asked:
    """Ask for `seconds`, or until there are `most` answers; each request has a prompt of its own."""
    loop, asked = asyncio.get_running_loop(), Asked()
    serials = itertools.count(serial + 1)
    began = time.perf_counter()
    end = began + seconds

    def requests() -> Iterator[bytes]:
        while time.perf_counter() < end and (number := next(serials)) <= serial + most:
            yield body.request(number)

    overs = [loop.create_future() for _ in range(callers)]
    for over in overs:
        await loop.create_connection(lambda over=over: _Caller(requests(), asked, over), "127.0.0.1", port)
    await asyncio.gather(*overs)
    asked.seconds = time.perf_counter() - began
    return asked
