"""Ports for servers that may vanish and come back at the same address."""

import random
import socket
from pathlib import Path
from typing import Final

_LOWEST: Final = 20_000
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL: Final = 32_768

_given: set[int] = set()


def free_port() -> int:
    """Return a port that is free, and stays so while its server is away.

    It is none of those that the system gives to whoever asks for any: a server or a client of another test would
    have it soon, and take what was meant for a server that was killed.
    """
    highest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _USUAL
    while True:
        port = random.SystemRandom().randrange(_LOWEST, max(highest, _LOWEST + 1000))
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
