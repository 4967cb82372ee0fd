"""`python -m bench`: measure, print, and write docs/benchmarks.md after a whole run."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import background, flights, footprint, lists, machine, second_level, semantic
from bench.contenders import FRAMES, GROUPS, PACED_GAP, Group, find, names
from bench.load import CONNECTIONS
from bench.processes import BenchError
from bench.profiling import profile
from bench.report import Report, Row, save
from bench.rounds import STREAM_CONNECTIONS, Bench, run_group
from bench.tables import Table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_TABLES = {
    "background": background,
    "lists": lists,
    "second-level": second_level,
    "semantic": semantic,
    "flights": flights,
}
_PARTS = (*GROUPS, *_TABLES, "memory", "start", "install")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if everything that can be measured here was."""
    chosen = _parser().parse_args(arguments)
    if not Path("/proc/self/stat").exists():
        print("Not possible here: CPU times and memory are read from /proc, which only Linux has.")
        return 1
    missing = machine.missing_tools()
    described = machine.describe()
    cores = machine.divide_cores()
    files = machine.open_many_files()
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
        bench = Bench(
            folder=Path(folder),
            cores=cores,
            nginx="nginx" not in missing,
            rounds=1 if chosen.quick else 3,
            seconds=1 if chosen.quick else 2,
            streams_each=1 if chosen.quick else 3,
        )
        if chosen.profile:
            return _profile(replace(bench, seconds=4), chosen.profile)
        report = Report(f"{datetime.now(UTC):%Y-%m-%d}", described, _method(bench))
        failed = _measure(bench, report, chosen.only or _PARTS, missing, files, quick=chosen.quick)
    if not (
        report.rows
        or any(table.rows for table in report.tables)
        or report.streams
        or report.starts
        or report.installed
    ):
        print("\n".join(["Nothing could be measured:", *report.missing]))
        return 1
    page = report.render()
    print(f"\n{page}")
    if chosen.quick or chosen.only:
        print("Not written to docs/benchmarks.md: only a whole run is.")
    else:
        save(PAGE, page)
        print("Written to docs/benchmarks.md.")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round: about 40 seconds, rough figures"
    )
    parser.add_argument(
        "--only", action="append", choices=_PARTS, help="measure this; may be given several times"
    )
    parser.add_argument(
        "--profile", choices=names(), metavar="ROW", help=f"where the CPU goes in: {', '.join(names())}"
    )
    return parser


def _profile(bench: Bench, name: str) -> int:
    found = find(name)
    assert found is not None
    group, contender = found
    if group.needs_wrk and machine.find_tool("wrk") is None:
        print("Not possible here: this row needs wrk, which is not installed.")
        return 1
    print(profile(bench, group, contender))
    return 0


def _measure(
    bench: Bench, report: Report, parts: Sequence[str], missing: Sequence[str], files: int, *, quick: bool
) -> bool:
    """Fill the report; whether something failed that should have been possible."""
    if "nginx" in missing:
        report.missing.append("Ratios: nginx is not installed (Debian: `apt-get install nginx-light`).")
    streams, frames = 1000, 50 if quick else 200
    failed = False

    def attempt(name: str, work: Callable[[], None]) -> None:
        nonlocal failed
        if name not in parts:
            return
        print(f"{name}:", flush=True)
        try:
            work()
        except BenchError as error:
            failed = True
            report.missing.append(f"{name}: {error}")
            print(f"  failed: {error}", flush=True)

    for name, make in GROUPS.items():
        group = make()
        if group.needs_wrk and "wrk" in missing and name in parts:
            report.missing.append(f"{name}: wrk is not installed (Debian: `apt-get install wrk`).")
        else:
            attempt(name, lambda group=group: report.rows.extend(_rows(bench, group)))
    for name, part in _TABLES.items():
        table = Table(part.TITLE, part.EXPLANATION)
        report.tables.append(table)
        attempt(name, lambda part=part, table=table: part.measure(bench, table, report.missing))
    if files < 2 * streams + 100:
        report.missing.append(
            f"memory: only {files} files may be open, which is too few for {streams} streams."
        )
    else:
        attempt("memory", lambda: report.streams.extend(footprint.open_streams(bench, streams, frames)))
    attempt("start", lambda: report.starts.update(footprint.start_times(bench, 3 if quick else 7)))
    if quick and parts is _PARTS:
        report.missing.append("install: left out of a quick run.")
    else:
        attempt("install", lambda: setattr(report, "installed", footprint.install(bench)))
    return failed


def _rows(bench: Bench, group: Group) -> list[Row]:
    results = run_group(bench, group)
    labels = {each.name: each.label for each in group.contenders}
    return [
        Row(
            each.label,
            each.budget,
            group.unit,
            results[each.name],
            results.get(each.reference),
            labels[each.reference],
            each.pair,
        )
        for each in group.contenders
        if each.server != "nginx"
    ]


def _method(bench: Bench) -> list[str]:
    apart = (
        "Servers run on one core; the load and the upstream share another."
        if bench.cores.server is not None
        else "There is only one core: servers, load and upstream share it, so take no figure here at its word."
    )
    return [
        apart,
        (
            f"Rounds: {bench.rounds}, interleaved, medians. wrk keeps {CONNECTIONS} connections busy for "
            f"{bench.seconds} s each time. Paced streams: {STREAM_CONNECTIONS} connections, {bench.streams_each} "
            f"streams of {FRAMES} frames each, one after the other, a frame every {PACED_GAP * 1000:g} ms on each, "
            "so that each frame travels alone."
        ),
        (
            "The upstream is `python -m antiphon.drivers.simulator`, for nginx and Antiphon alike: it answers from "
            "memory and writes each frame to the socket on its own. Frames are counted where it sends them; a "
            "translated stream has a few more at its beginning and end, which are paid for by the others."
        ),
        (
            "Antiphon runs as a user runs it, `antiphon serve` with its defaults: one worker, request log on (to a "
            "file), ledger and kept responses in SQLite, and a cache section only where a row says so. Work that "
            "it does after the answer, such as the ledger, is waited for and counted."
        ),
        (
            "nginx: one worker, keep-alive to the upstream, access log to a file (in its default form, a write "
            "for each request), `sendfile on`; its cache is asked with `proxy_cache_methods POST` and "
            '`proxy_cache_key "$request_uri|$request_body"`. Log, cache and SQLite files are in a temporary folder.'
        ),
        (
            "Requests and JSON answers have about 1 KB. *Body seen before*: the same bytes each time. *Other "
            "bytes*: members in another order and other blanks between them in each request; no two requests of "
            "a run are equal. Fetched and streamed answers: a prompt of its own in each request."
        ),
        (
            "The gateway's own counts are read after each round, which is void unless its requests were hits, "
            "misses or uncached, as the row says."
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
