"""A server as the kernel sees it: CPU time and memory of a process and all its descendants."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 15.0
_ANSWER_SECONDS = 30.0


class BenchError(Exception):
    """Something is not as it must be for a figure to mean anything."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. PSS divides what processes share among them; RSS counts it for each."""

    pss: int
    rss: int


@dataclass(slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    lags: bool = False
    """Whether some of the work for a request is done after its answer: the ledger, the log, the cache."""

    def cpu_seconds(self) -> float:
        """User and system time used until now by the whole tree, reaped children included."""
        return sum(_ticks(pid) for pid in self._tree()) / _TICKS

    def settled_cpu_seconds(self) -> float:
        """Like `cpu_seconds`, once the work that was left for later is done."""
        if not self.lags:
            return self.cpu_seconds()
        # The ledger is written half a second after the first row of a batch.
        time.sleep(0.6)
        deadline = time.monotonic() + 20
        used = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(0.2)
            before, used = used, self.cpu_seconds()
            if used - before <= 1 / _TICKS:
                return used
        raise BenchError(f"{self.name} was still busy 20 seconds after the load had ended")

    def memory(self) -> Memory:
        """Memory of the whole tree."""
        found = [_memory(pid) for pid in self._tree()]
        return Memory(sum(each.pss for each in found), sum(each.rss for each in found))

    def stop(self) -> None:
        """End it as a service manager would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _tree(self) -> list[int]:
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
        tree = [self.process.pid]
        for pid in tree:
            tree.extend(parents.get(pid, ()))
        return tree


def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_answer(server: Server, request: bytes) -> float:
    """Ask until there is an answer with status 200; return the time when it came."""
    deadline = time.perf_counter() + _ANSWER_SECONDS
    said = b"nothing"
    while time.perf_counter() < deadline:
        if server.process.poll() is not None:
            raise BenchError(f"{server.name} ended with status {server.process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                connection.sendall(request)
                said = connection.recv(65536)
            if said.startswith(b"HTTP/1.1 200"):
                return time.perf_counter()
        except OSError:
            pass
        time.sleep(0.002)
    raise BenchError(f"{server.name} does not answer; it said {said[:200]!r}")


def _stat(pid: int) -> list[str]:
    """Read the fields of /proc/PID/stat from the third on: the second may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) if fields else 0


def _memory(pid: int) -> Memory:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return Memory(0, 0)
    sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return Memory(int(sizes["Pss"]) * 1024, int(sizes["Rss"]) * 1024)
