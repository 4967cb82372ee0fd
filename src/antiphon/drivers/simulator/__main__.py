"""The simulator as a process of its own, cheap enough to be the upstream of a benchmark.

`python -m antiphon.drivers.simulator --port 0 --json-bytes 1024 --frames 200 --gap 0` prints its port, and
answers until SIGTERM. All bytes are made before the first request; each frame is a socket write of its own.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import httptools
import msgspec
import uvloop

from antiphon.drivers.simulator import samples
from antiphon.drivers.simulator.answers import Answer, chunk

_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Served:
    """Everything that can be answered, as it goes out."""

    bodies: dict[bytes, bytes]
    """Whole answers by the end of the path: all but its first segment, of Gemini's what stands behind the model."""
    streams: dict[bytes, list[bytes]]
    """Pieces of streamed answers, likewise: the head first."""
    gap: float

    @classmethod
    def of_size(cls, json_bytes: int, frames: int, gap: float) -> "Served":
        """Make all answers."""
        bodies = {
            b"/chat/completions": samples.chat_body(json_bytes),
            b"/responses": samples.responses_body(json_bytes),
            b"/messages": samples.messages_body(json_bytes),
            b":generateContent": samples.gemini_body(json_bytes),
            b"/chat": samples.ollama_body(json_bytes),
            b"/messages/count_tokens": samples.count_tokens_body(),
            b"/embeddings": samples.embeddings_body(),
            b"/rerank": samples.rerank_body(),
            b"/audio/transcriptions": samples.transcription_body(json_bytes),
            b"/models": samples.models_body(),
        }
        streams = {
            b"/chat/completions": samples.chat_frames(frames),
            _COUNTED: samples.chat_frames(frames, usage=True),
            b"/responses": samples.responses_frames(frames),
            b"/audio/transcriptions": samples.transcription_frames(frames),
            b"/messages": samples.messages_frames(frames),
            b":streamGenerateContent": samples.gemini_frames(frames),
        }
        lines = samples.ollama_lines(frames)
        return cls(
            bodies={path: Answer(body=body).head() + body for path, body in bodies.items()},
            streams={
                **{path: _pieces(frames) for path, frames in streams.items()},
                b"/chat": _pieces(lines, "application/x-ndjson"),
            },
            gap=gap,
        )


def _pieces(frames: Sequence[bytes], content_type: str | None = None) -> list[bytes]:
    *chunks, last = (chunk(frame) for frame in frames)
    return [Answer(frames=frames, content_type=content_type).head(), *chunks, last + _LAST_CHUNK]


class _Ticker:
    """Gives every open stream its next piece once a gap: one timer, however many streams there are."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self._streams: dict[asyncio.Transport, tuple[list[bytes], int]] = {}
        self._running = False

    def play(self, transport: asyncio.Transport, pieces: list[bytes]) -> None:
        transport.write(pieces[0])
        self._streams[transport] = (pieces, 1)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_later(self.gap, self._tick)

    def _tick(self) -> None:
        for transport, (pieces, index) in list(self._streams.items()):
            if transport.is_closing():
                del self._streams[transport]
                continue
            transport.write(pieces[index])
            if index + 1 == len(pieces):
                del self._streams[transport]
            else:
                self._streams[transport] = (pieces, index + 1)
        self._running = bool(self._streams)
        if self._running:
            asyncio.get_running_loop().call_later(self.gap, self._tick)


class _Connection(asyncio.Protocol):
    __slots__ = ("_body", "_parser", "_served", "_ticker", "_transport", "_url")

    def __init__(self, served: Served, ticker: _Ticker) -> None:
        self._served = served
        self._ticker = ticker
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have everything that asyncio's have but the base class.
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        # With no buffer to fill, uvloop writes to the socket at once instead of gathering frames.
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._url[self._url.find(b"/", 1) :].partition(b"?")[0]
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._url, self._body = b"", []
        if b":" in path:
            path = path[path.rindex(b":") :]
        if path.startswith(b":stream") or any(mark in body for mark in _STREAMED):
            if path == b"/chat/completions" and _ASKS_USAGE in body:
                path = _COUNTED
            pieces = self._served.streams.get(path)
            if pieces is not None:
                self._stream(pieces)
                return
        if path == _EMBEDDINGS and (count := _inputs(body)) > 1:
            self._transport.write(_embeddings(count, base64=_BASE64 in body))
            return
        self._transport.write(self._served.bodies.get(path, _NOT_FOUND))

    def _stream(self, pieces: list[bytes]) -> None:
        if self._ticker.gap:
            self._ticker.play(self._transport, pieces)
            return
        write = self._transport.write
        for piece in pieces:
            write(piece)


_STREAMED = (b'"stream":true', b'"stream": true', b'name="stream"\r\n\r\ntrue')
"""How JSON and forms ask for a stream."""
_ASKS_USAGE = b'"include_usage":true'
_COUNTED = b"/chat/completions?usage"
"""The chat stream for those who ask for usage in it; no path has a question mark."""
_NOT_FOUND = Answer(status=404, body=b'{"error":{"message":"unknown path"}}').head() + (
    b'{"error":{"message":"unknown path"}}'
)


class _Embeddings(msgspec.Struct):
    input: msgspec.Raw


_EMBEDDINGS = b"/embeddings"
_BASE64 = b'"base64"'
_DIMENSIONS = 1536
"""Of the vectors of a list, as OpenAI's small model has them."""


def _inputs(body: bytes) -> int:
    try:
        return len(
            msgspec.json.decode(msgspec.json.decode(body, type=_Embeddings).input, type=list[msgspec.Raw])
        )
    except msgspec.DecodeError:
        return 1


@lru_cache(maxsize=8)
def _embeddings(count: int, *, base64: bool) -> bytes:
    body = samples.embeddings_body(count, _DIMENSIONS, base64=base64)
    return Answer(body=body).head() + body


async def _serve(host: str, port: int, served: Served) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    ticker = _Ticker(served.gap)
    server = await loop.create_server(lambda: _Connection(served, ticker), host, port, backlog=4096)
    with contextlib.closing(server):
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        gc.freeze()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m antiphon.drivers.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; it is printed")
    parser.add_argument("--json-bytes", type=int, default=1024, help="size of a JSON answer")
    parser.add_argument("--frames", type=int, default=200, help="frames of a streamed answer")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between two frames")
    chosen = parser.parse_args(arguments)
    served = Served.of_size(chosen.json_bytes, chosen.frames, chosen.gap)
    uvloop.run(_serve(chosen.host, chosen.port, served))


if __name__ == "__main__":
    main()
