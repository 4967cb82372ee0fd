"""Requests in flight that workers and hosts share: what a claim costs each miss, and how far followers are behind."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import uvloop

from bench.callers import ask
from bench.processes import BenchError, Server, wait_for_answer
from bench.requests import chat
from bench.rounds import Bench, stopping
from bench.servers import start_gateway, start_simulator
from bench.stores import Store, shared_stores
from bench.tables import Table

_MISSES = 3000
_CALLERS = 32
_FRAMES = 200
_GAP = 0.02
"""Seconds between two frames of the stream that is followed."""

TITLE = "Requests in flight that hosts share"
EXPLANATION = """\
A miss of about 1 KB with and without the claim that lets other workers and hosts follow it; CPU is that of the gateway \
alone. And a stream of 200 frames, one every 20 ms, that another gateway follows: how much later each frame reaches the \
follower's client than the leader's."""


def measure(bench: Bench, table: Table, missing: list[str]) -> None:
    """Measure with every place that there is."""
    with contextlib.ExitStack() as stack:
        places = shared_stores(bench, stack, missing, "flights")
        for _ in range(bench.rounds):
            for name, new in places.items():
                _misses(bench, new, lambda *told, name=name: table.note(name, *told))
                _following(bench, new, lambda *told, name=name: table.note(name, *told))


def _misses(bench: Bench, new: Callable[[], Store], note: Callable[[str, str, float], None]) -> None:
    body = chat()
    with stopping(start_simulator(bench.new_folder())) as upstream:
        for in_flight, name in (("worker", "miss, not claimed"), ("shared", "miss, claimed")):
            with _gateway(bench, upstream.port, new(), in_flight) as server:
                for callers in (1, _CALLERS):
                    before = server.settled_cpu_seconds()
                    asked = uvloop.run(ask(server.port, body, bench.serial(), callers=callers, most=_MISSES))
                    used = server.settled_cpu_seconds() - before
                    many = f"{name}, {callers} at once"
                    note(f"{many}: CPU", "µs", used / asked.count * 1e6)
                    note(f"{many}: time", "µs", asked.seconds / asked.count * callers * 1e6)


def _following(bench: Bench, new: Callable[[], Store], note: Callable[[str, str, float], None]) -> None:
    body = chat(stream=True)
    place = new()
    with (
        stopping(start_simulator(bench.new_folder(), gap=_GAP, frames=_FRAMES)) as upstream,
        _gateway(bench, upstream.port, place, "shared") as leader,
        _gateway(bench, upstream.port, place, "shared") as follower,
    ):
        request = body.request(bench.serial())
        before = [server.settled_cpu_seconds() for server in (leader, follower)]
        delays = sorted(uvloop.run(_both(leader.port, follower.port, request)))
        used = [
            server.settled_cpu_seconds() - cpu for server, cpu in zip((leader, follower), before, strict=True)
        ]
        note("a follower's frame behind its leader's, p50", "ms", statistics.median(delays) * 1000)
        note("…p99", "ms", delays[int(0.99 * (len(delays) - 1))] * 1000)
        note("CPU of a frame that is told, at the leader", "µs", used[0] / _FRAMES * 1e6)
        note("CPU of a frame that is followed, at the follower", "µs", used[1] / _FRAMES * 1e6)


@contextlib.contextmanager
def _gateway(bench: Bench, upstream: int, place: Store, in_flight: str) -> Iterator[Server]:
    server = start_gateway(
        bench.new_folder(),
        upstream,
        bench.cores.server,
        cache=False,
        storage=place.storage,
        more=place.configuration(f"lookup_timeout: 10s, in_flight: {in_flight}"),
    )
    with stopping(server):
        wait_for_answer(server, chat().request(bench.serial(), close=True))
        server.settled_cpu_seconds()
        yield server


async def _both(leader: int, follower: int, request: bytes) -> list[float]:
    """Read one stream at both; returns how much later each frame came at the second one."""
    first = asyncio.ensure_future(_times(leader, request))
    await asyncio.sleep(5 * _GAP)
    second = await _times(follower, request)
    times = await first
    if len(times) != len(second):
        raise BenchError(f"{len(times)} frames at the leader, {len(second)} at the follower")
    late = second.count(second[0])
    return [after - before for before, after in zip(times[late:], second[late:], strict=True)]


async def _times(port: int, request: bytes) -> list[float]:
    """Return when each frame came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    times: list[float] = []
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        data = await reader.read(1 << 18)
        if not data:
            raise BenchError(f"a stream broke off: {received[:200]!r}")
        received += data
        came = received.count(b"\n\n") - len(times)
        times += [time.perf_counter()] * came
    writer.close()
    return times
