"""An HTTP client that hides nothing: bytes as they came, headers as they were, one connection kept open."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def is_hit(self) -> bool:
        return self.headers.get("x-cache") == "HIT (exact)"

    @property
    def cache_status(self) -> str:
        return self.headers["cache-status"]

    def json(self) -> Any:
        return json.loads(self.body)


class PlainClient:
    """Requests one after the other over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a body, JSON unless it is bytes; `X_Y="v"` sends the header `X-Y: v`."""
        self.send("POST", path, body, **headers)
        return await self.answer()

    async def get(self, path: str, **headers: str) -> Answer:
        self.send("GET", path, b"", **headers)
        return await self.answer()

    async def delete(self, path: str, **headers: str) -> Answer:
        self.send("DELETE", path, b"", **headers)
        return await self.answer()

    def send(self, method: str, path: str, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: antiphon", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + data)

    def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        self._writer.transport.abort()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def answer(self) -> Answer:
        status, headers = await self.head()
        return Answer(status, headers, await self.rest(headers))

    async def rest(self, headers: dict[str, str]) -> bytes:
        """Read the body. Raises IncompleteReadError where it is cut off."""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def chunk(self) -> bytes:
        """Read one chunk of a body; the last is empty."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]


@contextlib.asynccontextmanager
async def plain_client(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[PlainClient]:
    """Connect; with a small `receive_buffer` a client that does not read soon stops the server's writing."""
    sock = socket.socket()
    sock.setblocking(False)
    limit = 1 << 16
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        limit = receive_buffer
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
    try:
        yield PlainClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
