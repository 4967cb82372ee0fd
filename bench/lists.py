"""Lists of 1,000 inputs to embed, of which some are cached: what a list costs, and how long it takes."""

import http.client
import itertools
import json
import statistics
import time
from collections.abc import Iterator

from bench.processes import BenchError, Server, wait_for_answer
from bench.requests import head
from bench.rounds import Bench, stopping
from bench.servers import PASSED, PROVIDERS, start_gateway, start_nginx
from bench.tables import Table

_PATH = "/v1/embeddings"
_MODEL = f"{next(iter(PROVIDERS))}/text-embedding-3-small"
_INPUTS = 1000
_TEXT = "A passage of some two hundred characters, as they are cut from documents to be found again: it says who did what, when and why. [{}]"
_LISTS = 5
"""Asked one after the other, in each round."""
_CACHED = (0, 900, 1000)

TITLE = "Lists of embeddings"
EXPLANATION = (
    "1,000 texts of 150 bytes, vectors of 1,536 numbers, lists one after the other: milliseconds until the last byte "
    "of an answer has come, and CPU of the server for one, with all that it does afterwards (what is fetched is written "
    "into SQLite, an entry for each text). *No cache*: passed through."
)


def measure(bench: Bench, table: Table, missing: list[str]) -> None:  # noqa: ARG001 - as the others
    """Measure each form of vectors: through nginx, through the gateway, and with some of them in its cache."""
    for _ in range(bench.rounds):
        with bench.simulator() as upstream:
            for form in ("base64", "float"):
                for column, server, prefix, cached in _servers(bench, upstream):
                    seconds, used = _ask(server, prefix, form, cached)
                    table.note(column, f"{_INPUTS:,} inputs, {form}", "ms", statistics.median(seconds) * 1000)
                    table.note(column, f"…{form}: CPU of a list", "ms", used / _LISTS * 1000)


def _servers(bench: Bench, upstream: Server) -> Iterator[tuple[str, Server, str, int]]:
    """Start what is compared, one after the other: its name, the server, a prefix, and how many inputs it has."""
    core = bench.cores.server
    if bench.nginx:
        with stopping(start_nginx(bench.new_folder(), upstream.port, core)) as server:
            wait_for_answer(server, _request(PASSED, "base64", ["warm"], close=True))
            yield "nginx", server, PASSED, 0
    with stopping(start_gateway(bench.new_folder(), upstream.port, core, cache=False)) as server:
        wait_for_answer(server, _request("", "base64", ["warm"], close=True))
        yield "no cache", server, "", 0
    for cached in _CACHED:
        with stopping(start_gateway(bench.new_folder(), upstream.port, core, cache=True)) as server:
            wait_for_answer(server, _request("", "base64", ["warm"], close=True))
            yield f"{cached / _INPUTS:.0%} cached", server, "", cached


def _ask(server: Server, prefix: str, form: str, cached: int) -> tuple[list[float], float]:
    """Ask for lists; returns seconds from the first byte of each request to the last of its answer, and CPU seconds."""
    serials = itertools.count()
    known = [_TEXT.format(f"known {next(serials)}") for _ in range(cached)]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    if known:
        _one(connection, prefix, form, known)
    lists = [known + [_TEXT.format(next(serials)) for _ in range(_INPUTS - cached)] for _ in range(_LISTS)]
    before = server.settled_cpu_seconds()
    seconds = [_one(connection, prefix, form, inputs) for inputs in lists]
    used = server.settled_cpu_seconds() - before
    connection.close()
    return seconds, used


def _one(connection: http.client.HTTPConnection, prefix: str, form: str, inputs: list[str]) -> float:
    body = _body(form, inputs)
    began = time.perf_counter()
    connection.request("POST", prefix + _PATH, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    got = answer.read()
    seconds = time.perf_counter() - began
    if answer.status != 200 or got.count(b'"index"') != len(inputs):
        raise BenchError(f"a list was answered with {answer.status}: {got[:200]!r}")
    return seconds


def _request(prefix: str, form: str, inputs: list[str], *, close: bool) -> bytes:
    body = _body(form, inputs)
    return head(prefix + _PATH, len(body), close=close).encode() + body


def _body(form: str, inputs: list[str]) -> bytes:
    return json.dumps({"input": inputs, "model": _MODEL, "encoding_format": form}).encode()
