"""Who of the workers that share a file is alive: each holds a lock for as long as its process lives.

The kernel lets a lock go when the process dies, however that happens, so that nobody has to wait for a lease to
run out. The lock is on one byte of a file beside the database, at a place that follows from the worker's name; the
file stays empty. Where the system has no such locks, nobody is ever said to be gone.
"""

import fcntl
import hashlib
import logging
import os
import secrets
import struct
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_FLOCK: Final = struct.Struct("hhqqi4x")
"""`struct flock`: type, whence, start, length, pid."""
# Locks of an open file, not of a process: they conflict within a process too, and no `close` elsewhere drops them.
_SET: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
_GET: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)

_LOCKED: Final = "lock-"
"""How the names of workers begin that hold a lock; of others nobody knows."""


class Attendance:
    """The workers of all processes that share a database."""

    def __init__(self, path: Path) -> None:
        """Lock in the file at `path`, which is made when the first worker enters."""
        self._path = path
        self._descriptor: int | None = None
        self._here: set[str] = set()

    def enter(self) -> str:
        """Return the name of a new worker, whose lock is held until it leaves, or the process ends."""
        name = secrets.token_hex(8)
        if _SET is None:
            return name
        locked = _LOCKED + name
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.fcntl(self._descriptor, _SET, _lock(fcntl.F_WRLCK, locked))
        except OSError as error:
            _log.warning("the death of this process will not be seen at once: %s", error)
            return name
        self._here.add(locked)
        return locked

    def leave(self, worker: str) -> None:
        """Let the lock go."""
        self._here.discard(worker)
        if self._descriptor is not None and not self._here:
            os.close(self._descriptor)
            self._descriptor = None

    def is_gone(self, worker: str) -> bool:
        """Whether it is certain that `worker` works no more."""
        if self._descriptor is None or worker in self._here or not worker.startswith(_LOCKED):
            return False
        assert _GET is not None
        try:
            found = fcntl.fcntl(self._descriptor, _GET, _lock(fcntl.F_WRLCK, worker))
        except OSError:
            return False
        return bool(_FLOCK.unpack(found)[0] == fcntl.F_UNLCK)


def _lock(kind: int, worker: str) -> bytes:
    digest = hashlib.blake2b(worker.encode(), digest_size=8).digest()
    return _FLOCK.pack(kind, os.SEEK_SET, int.from_bytes(digest) >> 2, 1, 0)
