"""Load for paced streams: many connections in this process, reading as cheaply as Python can."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from bench.processes import BenchError
from bench.requests import Body

_TOGETHER = 50
_LONGEST_SECONDS = 120.0
_END = b"0\r\n\r\n"


@dataclass(slots=True)
class Played:
    """What all streams saw."""

    streams: int = 0
    frames: int = 0
    reads: int = 0
    longest_silence: float = 0.0
    """Seconds between two reads of one stream."""
    first_bytes: list[float] = field(default_factory=list)
    """Seconds from a request to the first byte of its answer."""
    seconds: float = 0.0

    @property
    def frames_per_read(self) -> float:
        """Close to 1: each frame travelled alone."""
        return self.frames / max(1, self.reads - self.streams)


class _Reader(asyncio.Protocol):
    """Asks for one stream after the other on one connection."""

    def __init__(self, requests: Iterator[bytes], played: Played, on_finished: Callable[[str], None]) -> None:
        self._requests = requests
        self._played = played
        self._on_finished = on_finished
        self._transport: asyncio.Transport
        self._asked_at = 0.0
        self._heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._on_finished("")
            self._transport.close()
            return
        self._heard_at = 0.0
        self._asked_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        played = self._played
        if self._heard_at:
            silence = now - self._heard_at
            played.longest_silence = max(played.longest_silence, silence)
        else:
            played.first_bytes.append(now - self._asked_at)
            if not data.startswith(b"HTTP/1.1 200"):
                self._on_finished(f"a stream began with {data[:200]!r}")
                self._transport.abort()
                return
        self._heard_at = now
        played.reads += 1
        played.frames += data.count(b"data: ")
        if data.endswith(_END):
            played.streams += 1
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_finished(f"a stream broke off: {exc}")


async def play(
    port: int,
    body: Body,
    serial: int,
    *,
    prefix: str = "",
    connections: int,
    streams_each: int,
    while_open: Callable[[int], None] | None = None,
) -> Played:
    """Play `streams_each` streams on each of so many connections; each stream has a prompt of its own.

    `while_open` hears five times a second how many streams have ended.
    """
    loop = asyncio.get_running_loop()
    played = Played()
    serials = itertools.count(serial + 1)
    outcomes: list[asyncio.Future[str]] = []
    began = time.perf_counter()

    def reader() -> _Reader:
        outcome: asyncio.Future[str] = loop.create_future()
        outcomes.append(outcome)
        requests = (body.request(next(serials), prefix) for _ in range(streams_each))
        return _Reader(requests, played, lambda fault: None if outcome.done() else outcome.set_result(fault))

    for _ in range(0, connections, _TOGETHER):
        many = min(_TOGETHER, connections - len(outcomes))
        await asyncio.gather(*(loop.create_connection(reader, "127.0.0.1", port) for _ in range(many)))
    finished = asyncio.gather(*outcomes)
    while not finished.done():
        await asyncio.wait([finished], timeout=0.2)
        if while_open is not None:
            while_open(played.streams)
        if time.perf_counter() - began > _LONGEST_SECONDS:
            finished.cancel()
            raise BenchError(f"{played.streams} streams had ended after {_LONGEST_SECONDS:g} seconds")
    played.seconds = time.perf_counter() - began
    for fault in finished.result():
        if fault:
            raise BenchError(fault)
    return played
