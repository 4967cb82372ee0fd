"""Gateways as processes, of which some are killed, frozen and started again."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from ports import free_port

SOURCES = Path(__file__).resolve().parents[2] / "src"
_START_SECONDS = 60.0

_CONFIGURATION = """\
server: {{port: {port}, workers: {workers}}}
providers:
  up: {{type: openai, base_url: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream, models: [m]}}
storage: {{url: "{storage}"}}
responses: {{background: {{lease: 2s, max_attempts: 5, queue_timeout: 3600, concurrency: {concurrency}}}}}
log: {{level: warning, requests: false}}
"""


def environment() -> dict[str, str]:
    """Leave proxies out: nothing here leaves the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PYTHONPATH": str(SOURCES)}


class Upstream:
    """The simulator, which answers slowly."""

    def __init__(self, frames: int, gap: float) -> None:
        command = [sys.executable, "-m", "antiphon.drivers.simulator"]
        self._process = subprocess.Popen(
            [*command, "--frames", str(frames), "--gap", str(gap)], env=environment(), stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        with self._process.stdout:
            self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Gateway:
    """`antiphon serve` on a port of its own."""

    def __init__(
        self, folder: Path, name: str, storage: str, upstream: int, *, workers: int, concurrency: int
    ) -> None:
        self.port = free_port()
        self.name = name
        self.log = folder / f"{name}.log"
        self._is_group = workers > 1
        self._configuration = folder / f"{name}.yaml"
        self._configuration.write_text(
            _CONFIGURATION.format(
                port=self.port, workers=workers, upstream=upstream, storage=storage, concurrency=concurrency
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.frozen: set[int] = set()

    async def start(self) -> None:
        """Start, and wait until it answers."""
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes a few milliseconds
                [sys.executable, "-m", "antiphon", "serve", "--config", str(self._configuration)],
                env=environment(),
                stdout=log,
                stderr=log,
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while True:
            if process.poll() == -signal.SIGKILL:
                return  # that was us again, and so somebody starts it
            assert process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
            assert loop.time() < deadline, f"{self.name} does not start"
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.02)

    def workers(self) -> list[int]:
        """Return the processes that do the work: those of a group, or the one."""
        if self._process is None or self._process.poll() is not None:
            return []
        if not self._is_group:
            return [self._process.pid]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill(self, pid: int) -> bool:
        """Kill a worker; whether the gateway is gone with it."""
        _send(pid, signal.SIGKILL)
        self.frozen.discard(pid)
        if self._is_group:
            return False
        assert self._process is not None
        self._process.wait()
        return True

    def freeze(self, pid: int) -> None:
        self.frozen.add(pid)
        _send(pid, signal.SIGSTOP)

    def thaw(self, pid: int) -> None:
        self.frozen.discard(pid)
        _send(pid, signal.SIGCONT)

    def stop(self) -> None:
        for pid in tuple(self.frozen):
            self.thaw(pid)
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                for pid in {*self.workers(), self._process.pid}:
                    _send(pid, signal.SIGKILL)
                self._process.wait()


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
