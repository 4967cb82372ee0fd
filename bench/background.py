"""Background answers, which are on disk before anybody sees them: accepted, followed, read again, and kept waiting."""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator

import uvloop

from bench.callers import ask
from bench.processes import BenchError, Server, wait_for_answer
from bench.requests import chat, responses
from bench.rounds import Bench, stopping
from bench.servers import MODEL, start_gateway, start_simulator
from bench.stores import noting, postgres
from bench.streams import play
from bench.tables import Table

_CALLERS = 32
_LIVE = 50
_GAPS = {500: 0.1, 2500: 0.02}
"""Seconds between two frames of each of the live answers, by the events that they make a second."""
_FRAMES = 150
_LONG = 10_000
_WAITING = 10_000
_MOST_SECONDS = 120.0

_CONFIGURATION = "responses: {{background: {{concurrency: {concurrency}, max_queued: 1000000}}}}"

TITLE = "Background answers"
EXPLANATION = """\
Whole requests over HTTP to one worker, with `synchronous=FULL` or `synchronous_commit=on`: what is answered as accepted, \
and every event that is shown, is on disk. CPU is that of the gateway alone, PostgreSQL's own is not in it. The longest delay is the longest time \
between two reads of one stream, less the time that the upstream takes between two events."""


def measure(bench: Bench, table: Table, missing: list[str]) -> None:
    """Measure with every storage that there is."""
    with contextlib.ExitStack() as stack:
        new_storages = {"SQLite": lambda: "sqlite:///antiphon.db"}
        with noting(missing, "background with PostgreSQL"):
            new_storages["PostgreSQL"] = stack.enter_context(postgres())
        for _ in range(bench.rounds):
            for store, new in new_storages.items():
                each = _Measuring(bench, new, lambda *told, store=store: table.note(store, *told))
                each.accepting()
                each.first_events()
                for offered, gap in _GAPS.items():
                    each.following(offered, gap)
                each.resuming()
                each.keeping()


class _Measuring:
    """One round with one storage; each measurement has a gateway and a database of its own."""

    def __init__(
        self, bench: Bench, new_storage: Callable[[], str], note: Callable[[str, str, float], None]
    ) -> None:
        self._bench = bench
        self._new_storage = new_storage
        self._note = note

    def accepting(self) -> None:
        """Accept while only one answer is made at a time, and that slowly; then let many wait."""
        body = responses(store=True, background=True)
        with self._gateway(frames=100, gap=60.0, concurrency=1) as server:
            before = server.settled_cpu_seconds()
            alone = uvloop.run(
                ask(server.port, body, self._bench.serial(), callers=1, seconds=self._bench.seconds)
            )
            together = uvloop.run(
                ask(server.port, body, self._bench.serial(), callers=_CALLERS, seconds=self._bench.seconds)
            )
            used = server.settled_cpu_seconds() - before
            self._note("accepted, one client after its own answer", "/s", alone.rate)
            self._note(f"accepted, {_CALLERS} clients at once", "/s", together.rate)
            self._note("accepted: CPU", "µs", used / (alone.count + together.count) * 1e6)
        with self._gateway(frames=100, gap=60.0, concurrency=1) as server:
            server.settled_cpu_seconds()
            idle = server.memory().rss
            uvloop.run(ask(server.port, body, self._bench.serial(), callers=_CALLERS, most=_WAITING))
            server.settled_cpu_seconds()
            self._note(f"memory for {_WAITING:,} that wait", "MB", (server.memory().rss - idle) / 1e6)

    def first_events(self) -> None:
        """Ask with `stream`, one after the other, of an upstream that answers at once."""
        with self._gateway(frames=5, gap=0.0, concurrency=64) as server:
            for background in (True, False):
                body = responses(store=True, background=background, stream=True)
                played = uvloop.run(
                    play(server.port, body, self._bench.serial(), connections=1, streams_each=100)
                )
                waits = sorted(played.first_bytes)
                what = "first event" if background else "first event of a stored foreground stream"
                self._note(f"{what}, p50", "ms", statistics.median(waits) * 1000)
                self._note(f"{what}, p99", "ms", waits[int(0.99 * (len(waits) - 1))] * 1000)

    def following(self, offered: int, gap: float) -> None:
        """Follow live answers, whose upstream sends so many events a second in all."""
        body = responses(store=True, background=True, stream=True)
        with self._gateway(frames=_FRAMES, gap=gap, concurrency=_LIVE) as server:
            before = server.settled_cpu_seconds()
            played = uvloop.run(
                play(server.port, body, self._bench.serial(), connections=_LIVE, streams_each=1)
            )
            used = server.settled_cpu_seconds() - before
            self._note(
                f"{_LIVE} followed, {offered:,} events/s offered: got", "/s", played.frames / played.seconds
            )
            self._note(f"…{offered:,} offered: CPU of an event", "µs", used / played.frames * 1e6)
            silence = (played.longest_silence - gap) * 1000
            self._note(f"…{offered:,} offered: longest delay", "ms", max(0.0, silence))

    def resuming(self) -> None:
        """Read a long answer again, after it has ended."""
        body = responses(store=True, background=True, stream=True)
        with self._gateway(frames=_LONG, gap=0.0, concurrency=1) as server:
            began = server.settled_cpu_seconds()
            response_id, seconds = uvloop.run(_read_one(server.port, body.request(self._bench.serial())))
            made = server.settled_cpu_seconds() - began
            self._note(f"{_LONG:,} events made and followed at once", "ms", seconds * 1000)
            self._note(f"{_LONG:,} events made and followed: CPU of an event", "µs", made / _LONG * 1e6)
            path = f"/v1/responses/{response_id}?stream=true&starting_after=0"
            again = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            before = server.settled_cpu_seconds()
            _, seconds = uvloop.run(_read_one(server.port, again))
            self._note(f"{_LONG:,} events read again", "ms", seconds * 1000)
            self._note(
                f"{_LONG:,} events read again: CPU of an event",
                "µs",
                (server.settled_cpu_seconds() - before) / _LONG * 1e6,
            )

    def keeping(self) -> None:
        """Ask for whole answers, which are kept or not."""
        costs = {}
        with self._gateway(frames=5, gap=0.0, concurrency=1) as server:
            for store in (False, True):
                body = responses(store=store)
                before = server.settled_cpu_seconds()
                asked = uvloop.run(
                    ask(
                        server.port, body, self._bench.serial(), callers=_CALLERS, seconds=self._bench.seconds
                    )
                )
                costs[store] = (server.settled_cpu_seconds() - before) / asked.count * 1e6
        self._note("foreground answer, `store: false`: CPU", "µs", costs[False])
        self._note("foreground answer that is stored: CPU", "µs", costs[True])

    @contextlib.contextmanager
    def _gateway(self, *, frames: int, gap: float, concurrency: int) -> Iterator[Server]:
        bench = self._bench
        with stopping(start_simulator(bench.new_folder(), gap=gap, frames=frames)) as upstream:
            server = start_gateway(
                bench.new_folder(),
                upstream.port,
                bench.cores.server,
                cache=False,
                storage=self._new_storage(),
                more=_CONFIGURATION.format(concurrency=concurrency),
            )
            with stopping(server):
                wait_for_answer(server, chat(model=f"chat/{MODEL}").request(close=True))
                yield server
                server.process.kill()  # it would wait for answers that take an hour


async def _read_one(port: int, request: bytes) -> tuple[str, float]:
    """Read one stream to its end; returns the id of its response, and the seconds that it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(request)
    received = bytearray()
    async with asyncio.timeout(_MOST_SECONDS):
        while not received.endswith(b"0\r\n\r\n"):
            data = await reader.read(1 << 18)
            if not data:
                raise BenchError(f"a stream broke off; it began with {bytes(received[:200])!r}")
            received += data
    seconds = time.perf_counter() - began
    writer.close()
    _, _, rest = bytes(received[:100_000]).partition(b'"id":"resp_')
    return "resp_" + json.loads(b'"' + rest.partition(b'"')[0] + b'"'), seconds
