"""What the gateway needs beside CPU: memory, time to start, room on the disk."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from bench.contenders import Contender
from bench.processes import BenchError, Memory, Server
from bench.report import Installed, OpenStreams
from bench.requests import chat, responses
from bench.rounds import Bench, stopping
from bench.servers import MODEL, PASSED, UNBUFFERED
from bench.streams import Played, play

_GAP = 0.05
_INSTALLERS = frozenset({"pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack"})


def open_streams(bench: Bench, streams: int, frames: int) -> list[OpenStreams]:
    """Open so many streams at once on each server, and read memory while all of them are open."""
    body, translated = chat(stream=True), responses(stream=True, model=f"chat/{MODEL}")
    contenders = [
        Contender("gateway", "Antiphon", "cached", body),
        Contender("translated", "Antiphon, chat to Responses", "cached", translated),
    ]
    if bench.nginx:
        contenders.insert(0, Contender("nginx", "nginx", "nginx", body, prefix=UNBUFFERED))
    found = []
    with bench.simulator(gap=_GAP, frames=frames) as upstream:
        for contender in contenders:
            with stopping(bench.start(contender, upstream)) as server:
                found.append(_open(bench, server, contender, streams))
    return found


def _open(bench: Bench, server: Server, contender: Contender, streams: int) -> OpenStreams:
    server.settled_cpu_seconds()
    idle = server.memory()
    most = idle

    def look(ended: int) -> None:
        nonlocal most
        if not ended:
            now = server.memory()
            most = Memory(max(most.pss, now.pss), max(most.rss, now.rss))

    played: Played = uvloop.run(
        play(
            server.port,
            contender.body,
            bench.serial(),
            prefix=contender.prefix,
            connections=streams,
            streams_each=1,
            while_open=look,
        )
    )
    print(
        f"  {contender.label:28} {idle.rss / 1e6:8.1f} MB idle, {most.rss / 1e6:.1f} MB with {streams} streams open, "
        f"longest silence {played.longest_silence * 1000:.0f} ms",
        flush=True,
    )
    return OpenStreams(contender.label, streams, idle, most, played.longest_silence, _GAP)


def start_times(bench: Bench, times: int) -> dict[str, list[float]]:
    """Start each server several times, in turns; seconds from exec to the first answer that it fetched."""
    contenders = [Contender("gateway", "Antiphon", "cached", chat())]
    if bench.nginx:
        contenders.insert(0, Contender("nginx", "nginx", "nginx", chat(), prefix=PASSED))
    found: dict[str, list[float]] = {}
    with bench.simulator() as upstream:
        for _ in range(times):
            for contender in contenders:
                began = time.perf_counter()
                server = bench.start(contender, upstream)
                found.setdefault(server.name, []).append(time.perf_counter() - began)
                server.stop()
    for name, seconds in found.items():
        print(f"  {name:28} {statistics.median(seconds):8.2f} s to the first answer", flush=True)
    return found


def install(bench: Bench) -> Installed:
    """Install the project without extras into a new virtualenv, and count what came with it."""
    folder = bench.new_folder() / "venv"
    project = Path(__file__).resolve().parents[1]
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(folder / "bin/python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            str(project),
        ],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or "no reason given"
            raise BenchError(f"`python {' '.join(command[1:3])}` failed: {said.splitlines()[-1]}")
    packages = next((folder / "lib").glob("python*/site-packages"))
    kept = [entry for entry in packages.iterdir() if entry.name.partition("-")[0] not in _INSTALLERS]
    count = sum(entry.name.endswith(".dist-info") for entry in kept)
    size = sum(file.stat().st_size for entry in kept for file in (entry, *entry.rglob("*")) if file.is_file())
    print(f"  {'fresh install':28} {count} packages, {size / 1e6:.1f} MB", flush=True)
    return Installed(count, size)
