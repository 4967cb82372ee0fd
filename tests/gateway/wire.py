"""Both ends of a connection without the gateway behind: a raw client, and a server that shows what it was asked."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from antiphon.gateway.http1 import Connection, Handler, Listening
from antiphon.gateway.request import Request
from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.ports.reply import Reply
from antiphon.settings import Server
from waiting import PATIENCE

JSON = ((b"content-type", b"application/json"),)


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD_OF_POST = b"POST /b HTTP/1.1\r\nHost: x\r\n"


def post(body, path=b"/b", *headers):
    """A request whose body has a length."""
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def chunked(*chunks, path=b"/b"):
    """A request whose body comes in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body


class Held:
    """A handler that keeps replies until the test goes on, and hears what becomes of them."""

    def __init__(self):
        self.requests = []
        self.replies = []
        self.heard = []

    def __call__(self, request, reply):
        number = len(self.replies)
        self.requests.append(request)
        self.replies.append(reply)
        reply.watch(Watcher(self.heard, number))


class Watcher:
    """Notes what a reply tells it."""

    def __init__(self, heard, number):
        self._heard = heard
        self._number = number

    def on_writable(self):
        self._heard.append(("writable", self._number))

    def on_sent(self):
        self._heard.append(("sent", self._number))

    def on_gone(self):
        self._heard.append(("gone", self._number))


def describing(request: Request, reply: Reply) -> None:
    """Answer at once with what was asked."""
    body = {
        "method": request.method.decode(),
        "path": request.path.decode(),
        "query": request.query.decode(),
        "headers": {name.decode(): value.decode("latin-1") for name, value in request.headers.items()},
        "body": request.body.decode("latin-1"),
    }
    reply.send(200, JSON, json.dumps(body).encode())


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an error in OpenAI's envelope."""
        error = self.json()["error"]
        assert {"message", "type", "param", "code"} == set(error)
        assert self.headers["content-type"] == "application/json"
        return self.status, error["code"]


class Wire:
    """A client that sends bytes and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, path: str, **headers: str) -> None:
        self.request("GET", path, None, **headers)

    def request(self, method: str, path: str, body: Any, **headers: str) -> None:
        """Send a body, JSON unless it is bytes; `X_Y="v"` sends the header `X-Y: v`."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: antiphon", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        self.request(method, path, body, **headers)
        return await self.answer(head_only=method == "HEAD")

    async def answer(self, *, head_only: bool = False) -> Answer:
        async with asyncio.timeout(PATIENCE):
            status, headers = await self.head()
            return Answer(status, headers, b"" if head_only else await self.body(headers))

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def body(self, headers: dict[str, str]) -> bytes:
        """Read to the end of the body. Raises IncompleteReadError where it is cut off."""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if "transfer-encoding" not in headers:
            return await self.reader.read()
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readexactly(2)
        return b"".join(parts)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def wire(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """Connect; with a small `receive_buffer` a client that does not read soon stops the server's writing."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 1 << 16)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(handler: Handler = describing, **limits: Any) -> AsyncIterator[tuple[HttpServer, int]]:
    """Serve `handler` on a free port until the block ends."""
    server = HttpServer(Server(**limits), handler)
    sock = listening_socket("127.0.0.1", 0, shared=False)
    await server.start(sock)
    try:
        yield server, sock.getsockname()[1]
    finally:
        await server.stop(0)
        server.abort()
        await server.drain(asyncio.get_running_loop().time() + 5)


class Loop:
    """As much of an event loop as a connection needs: what is due runs when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._ready: list[tuple[Any, tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *arguments: Any) -> None:
        self._ready.append((callback, arguments))

    def run(self) -> None:
        while self._ready:
            callback, arguments = self._ready.pop(0)
            callback(*arguments)


class Cable:
    """A connection without a socket: a transport that remembers, and the protocol at its end."""

    def __init__(self, handler: Handler = describing, **limits: Any) -> None:
        self.loop = Loop()
        self.listening = Listening(Server(**limits), handler, self.loop)  # type: ignore[arg-type]
        self.out = bytearray()
        self.unsent = 0
        self.is_paused = False
        self.is_half_closed = False
        self.is_closed = False
        self._waiting = bytearray()
        self.connection = Connection(self.listening)
        self.connection.connection_made(self)  # type: ignore[arg-type]

    def receive(self, *pieces: bytes, turns: bool = True) -> bytes:
        """Let the client's bytes arrive; return what was answered by then."""
        for piece in pieces:
            self._waiting += piece
            while self._waiting and not self.is_paused and not self.is_closed:
                data, self._waiting = bytes(self._waiting), bytearray()
                self.connection.data_received(data)
                if turns:
                    self.loop.run()
        return bytes(self.out)

    def settle(self) -> bytes:
        """Let everything happen that needs no further byte and no time."""
        self.loop.run()
        return self.receive(b"")

    def pass_time(self, seconds: float) -> bytes:
        self.loop.now += seconds
        self.listening.sweep()
        return self.settle()

    # A transport's side.

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.is_half_closed, "nothing can be written after write_eof"
        if not self.is_closed:
            self.out += data

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        self.is_half_closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False
        self.loop.call_soon(self.receive, b"")

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.loop.call_soon(self.connection.connection_lost, None)

    abort = close


def answers_in(raw: bytes) -> list[Answer]:
    """Read all the answers of a connection; fail where there is something else."""
    answers = []
    while raw:
        head, blank, raw = raw.partition(b"\r\n\r\n")
        assert blank, head
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        answers.append(Answer(int(status), headers, raw[:size]))
        assert len(answers[-1].body) == size
        raw = raw[size:]
    return answers
