"""A client with nothing between the test and the socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Got:
    """What came before the connection ended or the answer was whole."""

    raw: bytes = b""
    error: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        raw = self.raw.partition(b"\r\n\r\n")[2]
        if b"transfer-encoding: chunked" not in self.head:
            return raw
        whole = b""
        while raw:
            size, _, raw = raw.partition(b"\r\n")
            whole += raw[: int(size, 16)]
            raw = raw[int(size, 16) + 2 :]
        return whole

    @property
    def is_whole(self) -> bool:
        head, blank, body = self.raw.partition(b"\r\n\r\n")
        if not blank:
            return False
        if b"chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        return len(body) == int(length.partition(b":")[2])


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, body: bytes = b"{}", path: str = "/v1/chat/completions", method: str = "POST") -> None:
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Mark: Here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def answer(self) -> Got:
        """Read to the end of the answer or of the connection."""
        got = Got()
        try:
            while not got.is_whole:
                data = await self.reader.read(65536)
                if not data:
                    break
                got.raw += data
        except ConnectionError as error:
            got.error = error
        return got

    async def until(self, end: bytes) -> bytes:
        return await self.reader.readuntil(end)


@contextlib.asynccontextmanager
async def connected(base_url: str, ssl=None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(base_url).port, ssl=ssl)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(base_url: str, body: bytes = b"{}", path: str = "/v1/chat/completions") -> Got:
    async with connected(base_url) as client:
        client.send(body, path)
        return await client.answer()
