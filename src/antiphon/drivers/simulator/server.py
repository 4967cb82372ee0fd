"""The simulator's HTTP server: one protocol per connection, one answer at a time."""

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, cast

import httptools

from antiphon.drivers.simulator.answers import Answer, Fault, Received, chunk, faulted

Answers = Answer | Sequence[Answer] | Callable[[Received], Answer]

_RESET = struct.pack("ii", 1, 0)
_NOTHING_PLANNED = Answer(status=404, body=b'{"error":{"message":"The simulator has no answer for this"}}')


class Simulator:
    """An upstream on a free port of the loopback interface; use with `async with`.

    Answers are given in order and the last one is repeated; a callable chooses by the request.
    """

    def __init__(
        self,
        answers: Answers = (),
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare; nothing listens before the context is entered."""
        self.calls: list[Received] = []
        self.connections = 0
        """How many connections were accepted so far."""
        self._open: set[_Connection] = set()
        self._port = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._choose: Callable[[Received], Answer] | None = None
        self._next: deque[Answer] = deque()
        self._close_after: int | None = None
        self._arrived = asyncio.Event()
        if callable(answers):
            self._choose = answers
        else:
            self.answer(*([answers] if isinstance(answers, Answer) else answers))

    @property
    def base_url(self) -> str:
        """Where clients find the simulator."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/v1"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    def answer(self, *answers: Answer) -> None:
        """Set the answers that come next, in place of all earlier ones."""
        self._choose = None
        self._next = deque(answers)

    def close_idle_after(self, answered: int | None) -> None:
        """Close each connection, unannounced, once it has answered so many requests. None: never."""
        self._close_after = answered

    async def wait_for_calls(self, count: int) -> None:
        """Return once `count` requests have arrived in all."""
        while len(self.calls) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def stop(self) -> None:
        """Close the port and reset all connections."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.reset()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, ssl=self._tls, backlog=4096
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _plan(self, received: Received) -> Answer:
        self.calls.append(received)
        self._arrived.set()
        if self._choose is not None:
            return self._choose(received)
        if not self._next:
            return _NOTHING_PLANNED
        return self._next.popleft() if len(self._next) > 1 else self._next[0]


class _Connection(asyncio.Protocol):
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._waiting: deque[Received] = deque()
        self._current: Received | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._answered = 0
        self._is_last = False
        self._number = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have everything that asyncio's have but the base class.
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        # With no buffer to fill, each write reaches the socket at once, under uvloop too.
        transport.set_write_buffer_limits(high=0)
        self._simulator.connections += 1
        self._number = self._simulator.connections
        self._simulator._open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._simulator._open.discard(self)
        if self._task is not None:
            self._task.cancel()
        if self._current is not None:
            self._current.aborted = True
            self._current.over.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def reset(self) -> None:
        self._current_is_over()
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # httptools calls these.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_last = not self._parser.should_keep_alive()
        received = Received(
            method=self._parser.get_method().decode(),
            path=self._url.decode("latin-1"),
            headers=self._headers,
            time=asyncio.get_running_loop().time(),
            connection=self._number,
            body=b"".join(self._body),
        )
        if self._current is None:
            self._start(received)
        else:
            self._waiting.append(received)

    # Answering.

    def _start(self, received: Received) -> None:
        self._current = received
        answer = faulted(self._simulator._plan(received))
        parts = answer.parts
        if answer.is_plain and sum(map(len, parts)) < 65536:
            write = self._transport.write
            write(answer.head())
            for part in parts:
                write(chunk(part) if answer.is_chunked else part)
                received.parts_sent += 1
            if answer.is_chunked:
                write(b"0\r\n\r\n")
            self._finish()
        else:
            self._task = asyncio.get_running_loop().create_task(
                self._play(answer, received), name=f"simulate {received.path}"
            )
            self._task.add_done_callback(self._played)

    def _played(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.reset()
            raise error
        if self._current is not None:
            self._finish()

    def _finish(self) -> None:
        self._current_is_over()
        self._task = None
        self._answered += 1
        if self._answered == self._simulator._close_after or self._is_last:
            self._transport.close()
        elif self._waiting and not self._transport.is_closing():
            self._start(self._waiting.popleft())

    def _current_is_over(self) -> None:
        if self._current is not None:
            self._current.over.set()
            self._current = None

    async def _play(self, answer: Answer, received: Received) -> None:
        if answer.fault is Fault.RESET_BEFORE_HEAD:
            self.reset()
            return
        if answer.fault is Fault.STALL and answer.at < 0:
            await asyncio.get_running_loop().create_future()
        head = answer.head()
        if answer.fault is Fault.RESET_IN_HEAD:
            await self._write(head[: len(head) // 2])
            self.reset()
            return
        if answer.fault is Fault.DRIP:
            await self._drip(answer, received)
            return
        await self._write(head)
        for index, part in enumerate(answer.parts):
            await self._wait_for(answer, index)
            data = chunk(part) if answer.is_chunked else part
            if index == answer.at and await self._broke(answer, data):
                return
            if answer.fault is Fault.NO_LAST_CHUNK and not answer.is_chunked:
                data = data[:-1] if index == len(answer.parts) - 1 else data
            await self._write(data)
            received.parts_sent += 1
        if answer.at >= len(answer.parts) and await self._broke(answer, b""):
            return
        if answer.fault is Fault.NO_LAST_CHUNK:
            self._current_is_over()
            self._transport.close()
        elif answer.is_chunked:
            await self._write(b"0\r\n\r\n")

    async def _wait_for(self, answer: Answer, index: int) -> None:
        gap = answer.gap(index)
        if gap:
            await asyncio.sleep(gap)
        if answer.gate is not None and index == answer.gate_at:
            await answer.gate.wait()

    async def _broke(self, answer: Answer, data: bytes) -> bool:
        match answer.fault:
            case Fault.STALL:
                await asyncio.get_running_loop().create_future()
            case Fault.RESET_BETWEEN_FRAMES:
                self.reset()
            case Fault.RESET_INSIDE_FRAME:
                await self._write(data[: len(data) // 2])
                self.reset()
            case _:
                return False
        return True

    async def _drip(self, answer: Answer, received: Received) -> None:
        pieces = [answer.head(), *(chunk(part) if answer.is_chunked else part for part in answer.parts)]
        if answer.is_chunked:
            pieces.append(b"0\r\n\r\n")
        for data in pieces:
            for index in range(len(data)):
                await self._write(data[index : index + 1])
                await asyncio.sleep(0)
        received.parts_sent = len(answer.parts)

    async def _write(self, data: bytes) -> None:
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()


@contextmanager
def refused_base_url() -> Iterator[str]:
    """Give a base URL where every connection is refused, for as long as the context lasts."""
    with socket.socket() as bound:
        # Bound but not listening: refused, and nobody else can be given the port meanwhile.
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
