"""The second level of the cache: what a hit there costs with each of the stores, and what it costs to write one."""

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator

import uvloop

from bench.callers import ask
from bench.processes import BenchError, Server, wait_for_answer
from bench.requests import chat
from bench.rounds import Bench, cache_results, stopping
from bench.servers import start_gateway, start_simulator
from bench.stores import Store, shared_stores
from bench.tables import Table

_ENTRIES = 4000
_CALLERS = 32
_MOST_SECONDS = 120.0
_NOTHING_IN_MEMORY = "memory: {max_bytes: 1}, lookup_timeout: 10s"
_ALL_IN_MEMORY = "lookup_timeout: 10s"

TITLE = "The second level of the cache"
EXPLANATION = """\
Chat completions of about 1 KB. CPU is that of the gateway alone, not the store's. *Alone*: one client, which asks after \
its own answer, so that a request shares nothing with another; *32 at once*: as many clients. Memory that can hold \
nothing has every hit come from the second level."""


def measure(bench: Bench, table: Table, missing: list[str]) -> None:
    """Measure with every store that there is."""
    with contextlib.ExitStack() as stack:
        stores = {
            "none": lambda: Store(f"sqlite:///{bench.new_folder()}/antiphon.db", cache="store: none"),
            "SQLite": lambda: Store(f"sqlite:///{bench.new_folder()}/antiphon.db"),
            **shared_stores(bench, stack, missing, "second level"),
        }
        for _ in range(bench.rounds):
            for name, new in stores.items():
                _measure_store(
                    bench, new(), lambda *told, name=name: table.note(name, *told), hits=name != "none"
                )


def _measure_store(
    bench: Bench, store: Store, note: Callable[[str, str, float], None], *, hits: bool
) -> None:
    body, serial = chat(), bench.serial()
    with stopping(start_simulator(bench.new_folder())) as upstream:

        @contextlib.contextmanager
        def gateway(cache: str) -> Iterator[Server]:
            server = start_gateway(
                bench.new_folder(),
                upstream.port,
                bench.cores.server,
                cache=False,
                storage=store.storage,
                more=store.configuration(cache),
            )
            with stopping(server):
                wait_for_answer(server, body.request(bench.serial(), close=True))
                server.settled_cpu_seconds()
                yield server

        def asked(server: Server, name: str, first: int, count: int, callers: int, expected: str) -> None:
            before, counted = server.settled_cpu_seconds(), cache_results(server)
            seen = uvloop.run(ask(server.port, body, first, callers=callers, most=count))
            note(f"{name}: CPU", "µs", (server.settled_cpu_seconds() - before) / seen.count * 1e6)
            if callers == 1:
                note(f"{name}: time", "µs", seen.seconds / seen.count * 1e6)
            results = cache_results(server) - counted
            if set(results) != {expected}:
                raise BenchError(f"{name}: these were to be {expected}: {dict(results)}")

        with gateway(_ALL_IN_MEMORY) as server:
            asked(server, "miss, fetched and written, 32 at once", serial, _ENTRIES, _CALLERS, "miss")
            _wait_until_written(server)
        if not hits:
            return
        with gateway(_NOTHING_IN_MEMORY) as server:
            asked(server, "hit, nothing in memory, alone", serial, _ENTRIES, 1, "hit")
            asked(server, "hit, nothing in memory, 32 at once", serial, _ENTRIES, _CALLERS, "hit")
        with gateway(_ALL_IN_MEMORY) as server:
            asked(server, "hit that fills memory, alone", serial, _ENTRIES, 1, "hit")
            asked(server, "the same again, from memory, alone", serial, _ENTRIES, 1, "hit")


def _wait_until_written(server: Server) -> None:
    """Wait for the store, which may be slower than the gateway."""
    deadline = time.monotonic() + _MOST_SECONDS
    address = f"http://127.0.0.1:{server.port}/metrics"
    while time.monotonic() < deadline:
        with urllib.request.urlopen(address) as page:
            if b"antiphon_storage_queued_writes 0.0" in page.read():
                return
        time.sleep(0.1)
    raise BenchError("the store is too slow to take what is put there")
