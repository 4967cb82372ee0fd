"""Real Redis servers for the tests: of their own on free ports, with or without TLS, alone or as a cluster."""

import itertools
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.settings import Redis
from certificates import authority
from ports import free_port
from waiting import PATIENCE

_PROGRAMS = ("valkey-server", "redis-server")
_SLOTS = 16384


class RedisServer:
    """A server that keeps nothing, and that a test may pause, or kill and start again at the same address."""

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        self._command = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *options]
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Redis:
        """How a gateway reaches it."""
        return Redis(url=self.url)

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._process = subprocess.Popen(
            [*self._command, *self._listening()], cwd=self._folder, stdout=subprocess.DEVNULL
        )
        until(self._is_there)

    def kill(self) -> None:
        """Let it vanish."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    def pause(self) -> None:
        """Let it say nothing more, although connections are taken."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """Give the server a command from outside, and return its reply as it is written."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(_written(words) + _written(["QUIT"]))
            said = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return said.removesuffix(b"+OK\r\n").decode()

    def _listening(self) -> list[str]:
        return ["--port", str(self.port)]

    def _is_there(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class TlsServer(RedisServer):
    """A server that asks each client for a certificate."""

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        authority(folder)

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}"

    @property
    def settings(self) -> Redis:
        ca, certificate, key = (str(self._folder / name) for name in ("ca.pem", "server.pem", "server.key"))
        return Redis(url=self.url, ca_file=ca, certificate_file=certificate, key_file=key)

    def _listening(self) -> list[str]:
        files = [
            ("--tls-ca-cert-file", "ca.pem"),
            ("--tls-cert-file", "server.pem"),
            ("--tls-key-file", "server.key"),
        ]
        return ["--port", "0", "--tls-port", str(self.port), *itertools.chain.from_iterable(files)]


class RedisCluster:
    """Three nodes with a third of the slots each."""

    def __init__(self, program: str, folder: Path) -> None:
        self.nodes = [_Node(program, folder, number) for number in range(3)]

    @property
    def settings(self) -> Redis:
        return Redis(url=tuple(node.url for node in self.nodes[:2]))

    def start(self) -> None:
        """Start, and wait until each node knows the others."""
        for node in self.nodes:
            node.start()
        bounds = [number * _SLOTS // len(self.nodes) for number in range(len(self.nodes) + 1)]
        for node, (first, after) in zip(self.nodes, itertools.pairwise(bounds), strict=True):
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(after - 1))
            node.ask("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port), str(self.nodes[0].bus))
        for node in self.nodes:
            until(lambda node=node: self._is_joined(node))

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Let all go on, and wait until they have found each other again."""
        for node in self.nodes:
            node.resume()
        for node in self.nodes:
            until(lambda node=node: self._is_joined(node))

    def move(self, slot: str, source: "_Node", target: "_Node", *, wholly: bool = True) -> None:
        """Move what is in a slot from one node to another, and, if `wholly`, the slot."""
        ids = [node.ask("CLUSTER", "MYID").split("\r\n")[1] for node in (source, target)]
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, "100").split("\r\n")[2::2]
        source.ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
        for node in (target, source) if wholly else ():
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[1])

    def _is_joined(self, node: "_Node") -> bool:
        said = node.ask("CLUSTER", "INFO")
        return "cluster_state:ok" in said and f"cluster_known_nodes:{len(self.nodes)}" in said


class _Node(RedisServer):
    def __init__(self, program: str, folder: Path, number: int) -> None:
        self.bus = free_port()
        options = {
            "--cluster-enabled": "yes",
            "--cluster-port": str(self.bus),
            "--cluster-config-file": f"node-{number}.conf",
            "--cluster-node-timeout": "3000",
        }
        super().__init__(program, folder, *itertools.chain.from_iterable(options.items()))


def until(condition: Callable[[], bool]) -> None:
    """Wait for a server; not inside of an event loop."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not start"
        time.sleep(0.01)


def _written(words: object) -> bytes:
    given = [str(word).encode() for word in words]  # type: ignore[attr-defined]
    return b"*%d\r\n" % len(given) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in given)


def find_program() -> str | None:
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


def _program() -> str:
    program = find_program()
    if program is None:
        pytest.skip(f"none of {', '.join(_PROGRAMS)} is on this machine")
    return program


def _running(server: RedisServer | RedisCluster) -> Iterator[RedisServer | RedisCluster]:
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running server; skips the test, by name, where none is installed."""
    yield from _running(RedisServer(_program(), tmp_path))  # type: ignore[misc]


@pytest.fixture
def redis_tls_server(tmp_path: Path) -> Iterator[TlsServer]:
    """A running server that speaks TLS."""
    yield from _running(TlsServer(_program(), tmp_path))  # type: ignore[misc]


@pytest.fixture
def redis_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """A running cluster."""
    yield from _running(RedisCluster(_program(), tmp_path))  # type: ignore[misc]
