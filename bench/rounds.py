"""Interleaved rounds: every contender of a group runs in each round, the same load on the same core."""

import contextlib
import http.client
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvloop

from bench.contenders import FRAMES, Contender, Group
from bench.figures import Result, Round
from bench.load import CONNECTIONS, SERIALS_PER_RUN, run_wrk
from bench.machine import Cores, core_seconds
from bench.processes import BenchError, Server, wait_for_answer
from bench.servers import start_gateway, start_nginx, start_simulator
from bench.streams import Played, play

STREAM_CONNECTIONS = 100
_WARM_UP = 300
_COUNT = re.compile(rb'^antiphon_requests_total\{.*cache="(\w+)".*\} (\S+)$', re.MULTILINE)


@dataclass(slots=True)
class Bench:
    """What all measurements need."""

    folder: Path
    cores: Cores
    nginx: bool
    """Whether there is a reference."""
    rounds: int
    seconds: int
    """How long wrk runs, for each contender in each round."""
    streams_each: int
    """How many streams are played on each connection, likewise."""
    _serials: "itertools.count[int]" = field(default_factory=lambda: itertools.count(0, SERIALS_PER_RUN))
    _folders: "itertools.count[int]" = field(default_factory=itertools.count)

    def serial(self) -> int:
        """Return the first of a run's own serial numbers."""
        return next(self._serials)

    def new_folder(self) -> Path:
        """Make a folder for one process."""
        folder = self.folder / str(next(self._folders))
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def simulator(self, *, gap: float = 0.0, frames: int = FRAMES) -> Iterator[Server]:
        """Run the upstream."""
        with stopping(start_simulator(self.new_folder(), gap=gap, frames=frames)) as server:
            yield server

    def start(self, contender: Contender, upstream: Server, wrapper: tuple[str, ...] = ()) -> Server:
        """Start the server of a contender, and wait until it has answered."""
        folder, core = self.new_folder(), self.cores.server
        if contender.server == "nginx":
            server = start_nginx(folder, upstream.port, core)
        else:
            cache = contender.server == "cached"
            server = start_gateway(folder, upstream.port, core, cache=cache, wrapper=wrapper)
        try:
            wait_for_answer(server, contender.body.request(prefix=contender.prefix, close=True))
        except BaseException:
            server.stop()
            raise
        return server


@contextlib.contextmanager
def stopping(server: Server) -> Iterator[Server]:
    """Stop a server at the end."""
    try:
        yield server
    finally:
        server.stop()


def run_group(bench: Bench, group: Group) -> dict[str, Result]:
    """Run all rounds of a group; results by the names of the contenders."""
    rounds: dict[str, list[Round]] = {}
    contenders = [each for each in group.contenders if bench.nginx or each.server != "nginx"]
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(bench.simulator(gap=group.gap))
        servers: dict[str, Server] = {}
        for contender in contenders:
            servers[contender.name] = stack.enter_context(stopping(bench.start(contender, upstream)))
            _warm_up(bench, group, contender, servers[contender.name])
        for server in servers.values():
            server.settled_cpu_seconds()
        rounds_wanted = min(bench.rounds, group.rounds or bench.rounds)
        for number in range(rounds_wanted):
            for contender in contenders:
                one = _measure(bench, group, contender, servers[contender.name])
                rounds.setdefault(contender.name, []).append(one)
                print(
                    f"  {number + 1}/{rounds_wanted} {contender.name:28} {one.cpu_us:8.1f} µs per {group.unit}"
                    f"  {one.rate:9,.0f}/s",
                    flush=True,
                )
    return {name: Result(name, tuple(found)) for name, found in rounds.items()}


def load(bench: Bench, group: Group, contender: Contender, server: Server) -> Round:
    """Put load on a server once, and count what was served; CPU is left to the caller."""
    serial = bench.serial()
    if group.needs_wrk:
        script = contender.script(contender.body, contender.prefix, serial)
        loaded = run_wrk(bench.folder, server.port, script, bench.seconds)
        return Round(loaded.requests, loaded.requests, 0.0, loaded.seconds, loaded.percentiles_ms)
    streams_each = min(bench.streams_each, group.streams_each or bench.streams_each)
    played = _play(contender, server, serial, STREAM_CONNECTIONS, streams_each)
    waits = sorted(played.first_bytes)
    p50, p90, p99 = (waits[int(share * (len(waits) - 1))] * 1000 for share in (0.5, 0.9, 0.99))
    # Frames are those of the upstream: a translation may tell them in more or fewer.
    frames = played.streams * FRAMES
    return Round(played.streams, frames, 0.0, played.seconds, (p50, p90, p99), played.frames_per_read)


def _measure(bench: Bench, group: Group, contender: Contender, server: Server) -> Round:
    # Asking has the ledger written first, so nothing of an earlier round is left over.
    counted = cache_results(server) if contender.expects else Counter()
    core, before = core_seconds(bench.cores.server), server.cpu_seconds()
    seen = load(bench, group, contender, server)
    core, while_loaded = core_seconds(bench.cores.server) - core, server.cpu_seconds() - before
    used = server.settled_cpu_seconds() - before
    if contender.expects:
        _check(contender, seen.requests, cache_results(server) - counted)
    return replace(seen, cpu_seconds=used, others=max(0.0, core - while_loaded) / seen.wall_seconds)


def cache_results(server: Server) -> "Counter[str]":
    """Ask the gateway how often the cache did what."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read()
    finally:
        connection.close()
    results: Counter[str] = Counter()
    for result, count in _COUNT.findall(page):
        results[result.decode()] += int(float(count))
    return results


def _check(contender: Contender, requests: int, results: "Counter[str]") -> None:
    """See that what was measured is what the row says; the last requests of wrk may be cut off."""
    expected = results.pop(contender.expects, 0)
    others = sum(results.values())
    if expected < requests or others > CONNECTIONS:
        raise BenchError(
            f"{contender.name}: of {requests} requests {expected} were '{contender.expects}', and there were "
            f"{dict(results)}"
        )


def _warm_up(bench: Bench, group: Group, contender: Contender, server: Server) -> None:
    if not group.needs_wrk:
        _play(contender, server, bench.serial(), 10, 1)
        return
    serial = bench.serial() if contender.expects != "hit" and contender.reference else 0
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    status, cached = 0, ""
    for number in range(_WARM_UP):
        body = contender.body.text(serial + number if serial else 0)
        headers = {"content-type": "application/json"}
        connection.request("POST", contender.prefix + contender.body.path, body, headers)
        answer = connection.getresponse()
        answer.read()
        status, cached = answer.status, answer.getheader("x-cache", "")
    connection.close()
    is_hit = contender.expects == "hit" or contender.prefix == "/cached"
    if status != 200 or is_hit != cached.startswith("HIT"):
        raise BenchError(f"{contender.name}: status {status}, X-Cache {cached!r}")


def _play(contender: Contender, server: Server, serial: int, connections: int, streams_each: int) -> Played:
    return uvloop.run(
        play(
            server.port,
            contender.body,
            serial,
            prefix=contender.prefix,
            connections=connections,
            streams_each=streams_each,
        )
    )
