"""Several processes that do the same work: started one by one, again when they die, and stopped together."""

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from antiphon.settings import ConfigurationError

_log = logging.getLogger("antiphon")

_RESTART_SECONDS = 1.0
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS = (*_STOP_SIGNALS, signal.SIGCHLD)
_UNUSABLE = 2
"""How a worker ends that cannot use the configuration."""

Work = Callable[[Callable[[], None], int], None]
"""(says that it is ready, descriptor that can be read when the parent is gone); returns when told to stop."""


class Workers:
    """The parent's view. It starts no threads, so that it can fork."""

    def __init__(self, count: int, work: Work) -> None:
        """Keep `count` processes doing `work`."""
        self._count = count
        self._work = work
        self._pids: set[int] = set()
        self._starting: tuple[int, int] | None = None
        """The process that is not ready yet, and the descriptor on which it says so."""
        self._due: list[float] = []
        self._announced = False
        self._stopping = False
        self._status = 0
        # Workers hold one end of this pipe: when the other goes with the parent, they stop too.
        self._abandoned, self._alive = os.pipe()
        self._woken, self._wake = os.pipe()

    def run(self, ready: Callable[[], None]) -> int:
        """Work until a signal says stop; `ready` is called when all are. Returns the exit code."""
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # heard through the pipe
        self._due = [0.0] * self._count
        while self._pids or not self._stopping:
            self._start_next(ready)
            self._hear()
            self._reap()
        return self._status

    def _start_next(self, ready: Callable[[], None]) -> None:
        """Start one worker at a time: the first one makes the database, and shows whether the settings work."""
        if self._stopping or self._starting is not None:
            return
        if not self._announced and len(self._pids) == self._count:
            self._announced = True
            ready()
        if self._due and self._due[0] <= time.monotonic():
            self._due.pop(0)
            self._start()

    def _start(self) -> None:
        is_ready, tell = os.pipe()
        # A signal between the fork and the worker's own handlers would be heard by the wrong one.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(is_ready)
            self._become_worker(tell)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(tell)
        self._pids.add(pid)
        self._starting = pid, is_ready

    def _become_worker(self, tell: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            for descriptor in (self._alive, self._woken, self._wake):
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._work(lambda: _say_ready(tell), self._abandoned)
            status = 0
        except ConfigurationError as error:
            sys.stderr.write(f"antiphon: {error}\n")
            status = _UNUSABLE
        except Exception:
            # The process ends here, without the interpreter's own last words.
            _log.exception("worker %d failed", os.getpid())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _hear(self) -> None:
        """Wait for a signal, for a worker that gets ready, or until one is due."""
        readable = [self._woken]
        if self._starting is not None:
            readable.append(self._starting[1])
        timeout = None
        if self._starting is None and not self._stopping and (self._due or not self._announced):
            timeout = max(0.0, self._due[0] - time.monotonic()) if self._due else 0.0
        heard, _, _ = select.select(readable, [], [], timeout)
        if self._starting is not None and self._starting[1] in heard:
            pid, is_ready = self._starting
            self._starting = None
            if os.read(is_ready, 1):
                _log.info("worker %d is ready", pid)
            else:
                self._ended(*os.waitpid(pid, 0))
            os.close(is_ready)
        if self._woken in heard and not _STOP_SIGNALS.isdisjoint(os.read(self._woken, 4096)):
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        self._pids.discard(pid)
        if self._starting is not None and self._starting[0] == pid:
            os.close(self._starting[1])
            self._starting = None
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(status)
        if self._announced:
            _log.error("worker %d ended with code %d and is started again", pid, code)
            self._due.append(time.monotonic() + _RESTART_SECONDS)
        else:
            # It cannot work here, and the next one could not either.
            self._status = code if code > 0 else 1
            self._stop()


def _say_ready(tell: int) -> None:
    os.write(tell, b"1")
    os.close(tell)
