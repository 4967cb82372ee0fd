"""Many streams at once through one gateway in a process of its own, some of whose clients do not read."""

import asyncio
import contextlib
import json
import re
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from antiphon.dialects.chat.dialect import CHAT
from antiphon.drivers.simulator import Answer, Received, Simulator, samples
from antiphon.settings import Cache
from antiphon.wire.sse import write_frame
from serving import serving, settings_for
from waiting import PATIENCE, eventually, settled

STREAMS = 1000
SLOW = 10
MIB = 1024 * 1024
PORT = re.compile(rb"http://127\.0\.0\.1:(\d+)/v1")
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)")
NEEDED_FILES = 2 * STREAMS + 200

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory of a process is read from /proc, which is absent"
)


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Sockets are files: allow this process and those it starts as many as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        pytest.skip(f"{NEEDED_FILES} open files are needed, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED_FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Gateway:
    """`antiphon serve` in a process of its own."""

    pid: int
    port: int

    @property
    def memory(self) -> float:
        """Resident MiB."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024


CONFIGURATION = """
server: {{port: 0, shutdown_timeout: 0}}
providers:
  up: {{type: openai-chat, base_url: "{url}", models: [gpt-test]}}
cache: {{}}
storage: {{url: "sqlite:///{folder}/antiphon.db"}}
log: {{requests: false}}
"""


@contextlib.asynccontextmanager
async def gateway(upstream: Simulator, folder: Path) -> AsyncIterator[Gateway]:
    """Serve with the defaults, and stop as a user does."""
    file = folder / "antiphon.yaml"
    file.write_text(CONFIGURATION.format(url=upstream.base_url, folder=folder))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antiphon", "serve", "--config", str(file), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            greeting = await process.stderr.readline()
            found = PORT.search(greeting)
            assert found, greeting
            yield Gateway(process.pid, int(found[1]))
    finally:
        process.send_signal(signal.SIGTERM)
        await process.stderr.read()
        await process.wait()


class Client(asyncio.Protocol):
    """One that asks for a stream, and reads unless it is told not to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)
        self.end = (self.end + data[-7:])[-7:]

    @property
    def is_whole(self) -> bool:
        if self.end == b"\r\n0\r\n\r\n":
            return True
        head, blank, _ = self.parts[0].partition(b"\r\n\r\n") if self.parts else (b"", b"", b"")
        length = LENGTH.search(head)
        return bool(length) and self.size == len(head + blank) + int(length[1])

    @property
    def body(self) -> bytes:
        """What the chunks hold, once all are here."""
        head, _, raw = b"".join(self.parts).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        if LENGTH.search(head):
            return raw
        pieces, position = [], 0
        while position < len(raw):
            start = raw.index(b"\r\n", position) + 2
            size = int(raw[position : start - 2], 16)
            pieces.append(raw[start : start + size])
            position = start + size + 2
        return b"".join(pieces)


@contextlib.asynccontextmanager
async def client(
    port: int, question: str, *, reads: bool = True, stream: bool = True
) -> AsyncIterator[Client]:
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    if not reads:
        # The kernel is to hold as little as possible of what is not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    transport, protocol = await loop.create_connection(Client, sock=sock)
    if not reads:
        transport.pause_reading()
    asked = {"model": "gpt-test", "stream": stream, "messages": [{"role": "user", "content": question}]}
    body = json.dumps(asked).encode()
    transport.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    try:
        yield protocol
    finally:
        transport.abort()


def large_stream(size: int) -> list[bytes]:
    """A chat stream of about `size` bytes in frames of 64 KiB."""
    first, *_, finish, done = samples.chat_frames(4)
    delta = {"index": 0, "delta": {"content": "x" * 65_400}, "finish_reason": None}
    frame = write_frame(json.dumps({"id": "chatcmpl-simulated", "choices": [delta]}).encode())
    return [first, *[frame] * (size // len(frame)), finish, done]


def report(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


def test_a_thousand_streams_at_once(tmp_path):
    """All are open together, all come whole, those that do not read for a while too, and memory is bounded."""
    uvloop.run(run_a_thousand(tmp_path))


async def run_a_thousand(folder: Path) -> None:
    gate = asyncio.Event()
    small = Answer(frames=samples.chat_frames(40), gate=gate, gate_at=1)
    large = Answer(frames=large_stream(4 * MIB), gate=gate, gate_at=1)

    def choose(received: Received) -> Answer:
        return large if b'"slow ' in received.body else small

    async with (
        Simulator(choose) as upstream,
        gateway(upstream, folder) as running,
        contextlib.AsyncExitStack() as stack,
    ):
        idle = running.memory
        slow = [
            await stack.enter_async_context(client(running.port, f"slow {number}", reads=False))
            for number in range(SLOW)
        ]
        quick = [
            await stack.enter_async_context(client(running.port, f"quick {number}"))
            for number in range(STREAMS - SLOW)
        ]
        await upstream.wait_for_calls(STREAMS)
        await eventually(lambda: all(each.size for each in quick))
        opened = running.memory
        gate.set()
        await eventually(lambda: all(each.is_whole for each in quick))
        most = running.memory
        report(
            f"{STREAMS} open streams: {opened - idle:.0f} MiB more than {idle:.0f} MiB; at most {most - idle:.0f}"
        )

        assert {b"".join(small.parts)} == {each.body for each in quick}
        for each in slow:
            each.transport.resume_reading()
        await eventually(lambda: all(each.is_whole for each in slow))
        most = max(most, running.memory)
        assert {b"".join(large.parts)} == {each.body for each in slow}
        report(f"{SLOW} slow ones have read on: {running.memory - idle:.0f} MiB more")
        assert most - idle < 150


def test_an_upstream_is_held_back_for_a_client_that_does_not_read(tmp_path):
    """Neither the gateway nor anybody else holds 50 MB; when the client reads, all of it comes."""
    uvloop.run(run_unread(tmp_path))


async def run_unread(folder: Path) -> None:
    answer = Answer(frames=large_stream(50_000_000))
    async with Simulator(answer) as upstream, gateway(upstream, folder) as running:
        idle = running.memory
        async with client(running.port, "slow", reads=False) as one:
            await upstream.wait_for_calls(1)
            call = upstream.calls[0]
            await settled(lambda: call.parts_sent)
            held, memory = call.parts_sent * 65536 / MIB, running.memory - idle
            report(f"the upstream was held back after {held:.1f} MiB, memory grew by {memory:.1f} MiB")
            assert call.parts_sent < len(answer.parts) / 2
            assert memory < 30

            one.transport.resume_reading()
            await eventually(lambda: one.is_whole)
            assert one.body == b"".join(answer.parts)
            report(f"all of it was read: {running.memory - idle:.0f} MiB more")


def test_who_joins_a_slow_client_is_not_slow(tmp_path):
    """Of two who share an answer one does not read: the upstream is read on for the other."""

    async def main() -> None:
        answer = Answer(frames=large_stream(16 * MIB))
        async with (
            Simulator(answer) as upstream,
            serving(settings_for(tmp_path, upstream.base_url, cache=Cache(store="none"))) as running,
            client(running.port, "the same", reads=False) as slow,
        ):
            await upstream.wait_for_calls(1)
            await settled(lambda: upstream.calls[0].parts_sent)
            assert not upstream.calls[0].over.is_set()
            async with client(running.port, "the same", stream=False) as quick:
                await eventually(lambda: quick.is_whole)
                slow.transport.resume_reading()
                await eventually(lambda: slow.is_whole)

                assert quick.body == CHAT.fold(answer.parts)
                assert slow.body == b"".join(answer.parts)
                assert len(upstream.calls) == 1

    uvloop.run(main())
