"""The machine: its cores, what runs on it, and what is missing."""

import contextlib
import os
import platform
import re
import resource
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

TOOLS = {"nginx": "nginx-light", "wrk": "wrk"}
"""Programs, and the packages of Debian that bring them."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where servers run, and where everything else does; None where there are no two cores to keep apart."""

    server: int | None
    load: int | None


def divide_cores() -> Cores:
    """Give the first core to the servers, and this process and what it starts the second."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return Cores(None, None)
    cores = Cores(available[0], available[1])
    os.sched_setaffinity(0, {available[1]})
    return cores


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Start processes on `core`: they inherit it, so that not even their start runs elsewhere."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def core_seconds(core: int | None) -> float:
    """Return how long a core has been busy, with whatever it was."""
    if core is None:
        return 0.0
    line = re.search(rf"^cpu{core} (.+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert line is not None
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, line[1].split()[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def open_many_files() -> int:
    """Raise the limit of open files as far as it goes, for the processes started from here, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def missing_tools() -> list[str]:
    """Install what is not there, where that may be done, and return the names of what is still missing."""
    missing = [name for name in TOOLS if find_tool(name) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [TOOLS[name] for name in missing]
        print(f"Installing {', '.join(packages)} …", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True)
            if done.returncode:
                print(done.stderr.decode(errors="replace").strip(), flush=True)
    return [name for name in missing if find_tool(name) is None]


def find_tool(name: str) -> str | None:
    """Find a program; Debian keeps nginx where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def describe() -> list[tuple[str, str]]:
    """Say what is measured on: names of things, and nothing that names the machine itself."""
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return [
        ("processor", f"{len(os.sched_getaffinity(0))} cores of {_processor()}"),
        ("load before the run", f"{load} (1, 5, 15 minutes)"),
        ("kernel", f"{platform.system()} {platform.release().partition('-')[0]}, {platform.machine()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}, {_optimised()}"),
        ("libraries", ", ".join(f"{name} {version(name)}" for name in ("uvloop", "httptools", "msgspec"))),
        ("nginx", _nginx_version()),
        ("clock tick", f"{1000 / os.sysconf('SC_CLK_TCK'):g} ms: the resolution of all CPU times"),
    ]


def _processor() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.machine()


def _optimised() -> str:
    """Whether the interpreter was built with profile-guided optimisation, which makes it a fifth faster."""
    flags = " ".join(
        str(sysconfig.get_config_var(name) or "")
        for name in ("CONFIG_ARGS", "PY_CFLAGS_NODIST", "PY_CORE_CFLAGS")
    )
    return f"built {'with' if 'optimizations' in flags or '-fprofile-use' in flags else 'without'} PGO"


def _nginx_version() -> str:
    nginx = find_tool("nginx")
    if nginx is None:
        return "missing"
    said = subprocess.run([nginx, "-v"], capture_output=True).stderr.decode()
    return said.strip().rpartition("nginx/")[2] or "of unknown version"
