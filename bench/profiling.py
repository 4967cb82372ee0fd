"""Where the CPU goes in one row: by Python function, and by program and kernel."""

import io
import pstats
import re
import subprocess
import sys
from pathlib import Path

from bench.contenders import Contender, Group
from bench.machine import find_tool
from bench.processes import Server
from bench.rounds import Bench, load, stopping

_LINES = 32


def profile(bench: Bench, group: Group, contender: Contender) -> str:
    """Run the row's load against a gateway that is watched, and say where the time went."""
    parts = [f"{contender.name}: {contender.label}"]
    with bench.simulator(gap=group.gap) as upstream:
        perf = find_tool("perf")
        if perf is not None:
            # From 3.12 on the interpreter tells perf the names of Python functions.
            wrapper = ("-X", "perf") if sys.version_info >= (3, 12) else ()
            with stopping(bench.start(contender, upstream, wrapper)) as server:
                load(bench, group, contender, server)
                parts += _sampled(bench, perf, group, contender, server)
        file = bench.folder / "profile"
        with stopping(bench.start(contender, upstream, ("-m", "cProfile", "-o", str(file)))) as server:
            seen = load(bench, group, contender, server)
        parts += [
            f"By Python function (cProfile, {seen.units} {group.unit}s, times inflated by it, start included):",
            _functions(file),
        ]
    return "\n\n".join(parts)


def _sampled(bench: Bench, perf: str, group: Group, contender: Contender, server: Server) -> list[str]:
    data = bench.folder / "perf.data"
    command = [
        perf,
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "2000",
        "-o",
        str(data),
        "-p",
        str(server.process.pid),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
        load(bench, group, contender, server)
        recorder.terminate()
    threads = {server.process.pid: "the event loop"}
    told = []
    for title, keys in (("thread", "pid"), ("library", "dso"), ("function", "dso,symbol")):
        report = [perf, "report", "--stdio", "-q", "-i", str(data), "--sort", keys, "--percent-limit", "0.7"]
        lines = subprocess.run(report, capture_output=True).stdout.decode().splitlines()
        shown = "\n".join(line.rstrip(" -") for line in lines[:_LINES] if line.strip())
        if keys == "pid":
            shown = re.sub(r"\S+:(\d+)|(\d+):\S+", lambda found: _thread(found, threads), shown)
        told += [f"By {title} (perf, share of the process's CPU):", shown]
    return told


def _thread(found: "re.Match[str]", threads: dict[int, str]) -> str:
    number = int(found[1] or found[2])
    return threads.setdefault(number, f"thread {len(threads)}")


def _functions(file: Path) -> str:
    text = io.StringIO()
    stats = pstats.Stats(str(file), stream=text)
    stats.sort_stats("tottime").print_stats(_LINES)
    _, _, table = text.getvalue().partition("   ncalls")
    # Names of modules say enough; folders of this machine do not belong into a report.
    return "   ncalls" + re.sub(r"\S*/(?:src|site-packages|python3\.\d+)/", "", table).rstrip()
