"""One SQLite file, written by one thread that commits everything that has queued up, read by two others.

Waiting for a commit is for those who ask for it; all others hand over their write and go on.
"""

import asyncio
import contextlib
import errno
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, TypeVar

from antiphon.drivers.sqlite.busy import WAL, execute_when_free, primary_code
from antiphon.drivers.sqlite.migrating import bring_forward, is_behind
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
Write = Callable[[sqlite3.Connection], None]

_BATCH = 512
_GATHER_SECONDS = 0.005
"""For more of what nobody waits for."""
_RETRY_SECONDS = 1.0
_FOR_NOW = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Another process writes, the disk is full, or is gone."""
_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a power cut may lose commits that nobody has waited for, never the file
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8192",
    "PRAGMA wal_autocheckpoint = 4000",  # pages written several times meanwhile are copied once
)


def inspect(path: Path) -> bool:
    """Look whether `Database(path)` could be opened, leaving everything as it is; False if it would be made.

    Raises OSError, sqlite3.Error, SchemaError.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the folder cannot be written to", str(path.parent))
        return False
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "it cannot be written to", str(path))
    # With a log beside it the log must be read too. Without one, reading as usual would make it.
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() else "immutable=1"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
        is_behind(connection)
    return True


class Database:
    """The threads and what they were asked to do."""

    def __init__(
        self, path: Path, *, max_queued_bytes: int = 64 * 1024 * 1024, busy_seconds: float = 10.0
    ) -> None:
        """Open the file, made if absent and readable by its owner alone. Raises OSError, sqlite3.Error, SchemaError.

        `busy_seconds` is how long another process that writes is waited for.
        """
        self.path = path
        self._busy_seconds = busy_seconds
        make_private(path)
        with contextlib.ExitStack() as opened:
            connection = opened.enter_context(contextlib.closing(self._connect()))
            bring_forward(connection)
            self._reader = _Reader(self._connect, "antiphon-read")
            self._reader.open()
            opened.pop_all()
        # So that nobody who wants a row waits for somebody who wants ten thousand.
        self._long_reader = _Reader(self._connect, "antiphon-read-much")
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._max_queued_bytes = max_queued_bytes
        self._lock = threading.Lock()
        self._urgent = threading.Event()
        """Whether somebody may wait for what is queued."""
        self._queued_bytes = 0
        self._closed = False
        self.queued = 0
        self.dropped = 0
        self.failed = 0
        self.is_refusing = False
        """Whether the file took nothing when it was last written to: another process has it, the disk is full, or gone."""
        self._thread = threading.Thread(
            target=self._work, args=(connection,), name="antiphon-write", daemon=True
        )
        self._thread.start()

    def write(
        self,
        work: Write,
        size: int = 0,
        *,
        may_drop: bool = False,
        is_urgent: bool = False,
        is_sweep: bool = False,
        on_done: Callable[[], object] | None = None,
    ) -> bool:
        """Do `work` in the next transaction; False if the queue is full and the work may be dropped, or closed.

        While the file takes nothing, because it is locked or the disk is full, the work is tried again and again.
        `is_urgent`: somebody waits for it. `is_sweep`: it makes room, and may be done before others. `on_done` is
        called on the event loop when the work was committed or has failed.
        """
        if self._closed:
            _log.error("a write came after storage was closed")
            return False
        with self._lock:
            if may_drop and self._queued_bytes + size > self._max_queued_bytes:
                self.dropped += 1
                return False
        loop = asyncio.get_running_loop() if on_done is not None else None

        def done(error: Exception | None) -> None:
            if error is not None:
                _log.error("a write to storage failed: %s", error)
            if loop is not None and on_done is not None:
                _tell(loop, on_done)

        self._put(_Job(work, size, done, is_urgent=is_urgent, is_sweep=is_sweep))
        return True

    def when_written(self, tell: Callable[[], object]) -> bool:
        """Call `tell` on the event loop when everything handed over so far was committed or has failed.

        False if it is closed.
        """
        return self.write(lambda connection: None, is_urgent=True, on_done=tell)  # noqa: ARG005

    def write_in_slices(self, work: Callable[[sqlite3.Connection], bool]) -> None:
        """Do `work` again and again, each time in a transaction of its own, until it says that there is no more.

        So nobody who has something to write waits for all of it.
        """
        more: list[bool] = []

        def again() -> None:
            if any(more) and not self._closed:
                self.write_in_slices(work)

        self.write(lambda connection: more.append(work(connection)), on_done=again, is_sweep=True)

    async def written(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` in a transaction and wait until it is committed, and safe from a power cut. Raises StoreFault."""
        if self._closed:
            raise _store_fault("it is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        results: list[_T] = []

        def done(error: Exception | None) -> None:
            if error is None:
                _tell(loop, _set_result, future, results[-1])
            else:
                _tell(loop, _set_exception, future, _store_fault(error))

        def job(connection: sqlite3.Connection) -> None:
            results.append(work(connection))

        self._put(_Job(job, 0, done, is_awaited=True, is_urgent=True))
        return await future

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be promised: the file takes nothing, or too much waits for it in memory."""
        return self.is_refusing or self._queued_bytes > self._max_queued_bytes

    def _put(self, job: "_Job") -> None:
        with self._lock:
            self._queued_bytes += job.size
            self.queued += 1
        self._queue.put(job)
        if job.is_urgent:
            self._urgent.set()

    def do_at_start(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` at once, and wait for it as one may before anybody is served. Raises sqlite3.Error."""
        return self._reader.read_now(work)

    async def read(self, work: Callable[[sqlite3.Connection], _T], *, is_long: bool = False) -> _T:
        """Do `work` on a thread that reads; what may take long has one of its own. Raises StoreFault."""
        if self._closed:
            raise _store_fault("it is closed")
        try:
            return await (self._long_reader if is_long else self._reader).read(work)
        except sqlite3.Error as error:
            raise _store_fault(error) from error

    async def close(self) -> None:
        """Finish all writes and close the file."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._urgent.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._reader.close()
        self._long_reader.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            is_behind(connection)  # it says if this is no file for us, before anything is written
            execute_when_free(connection, WAL, self._busy_seconds)
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _work(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 0")  # see `_commit`
        waiting: list[_Job] = []
        ended = False
        while not ended:
            batch = waiting + self._next_jobs(may_wait=not (waiting or self.is_refusing))
            if not any(job is None or job.is_urgent for job in batch):
                # Nobody waits: a commit for each answer would cost more than the answers.
                self._urgent.wait(_GATHER_SECONDS)
                batch += self._drained(_BATCH - len(batch))
            self._urgent.clear()
            ended = None in batch
            waiting = self._commit(connection, [job for job in batch if job is not None])
        self._finish(waiting, StoreFault("storage was closed before it could be written"))
        connection.close()

    def _next_jobs(self, *, may_wait: bool) -> "list[_Job | None]":
        """Take what has queued up; where something is left to be tried again, not without a pause."""
        batch: list[_Job | None] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self._queue.get(timeout=None if may_wait else _RETRY_SECONDS))
        return batch + self._drained(_BATCH - len(batch))

    def _drained(self, most: int) -> "list[_Job | None]":
        """Take what is there, without waiting."""
        jobs: list[_Job | None] = []
        with contextlib.suppress(queue.Empty):
            while len(jobs) < most:
                jobs.append(self._queue.get_nowait())
        return jobs

    def _commit(self, connection: sqlite3.Connection, batch: "list[_Job]") -> "list[_Job]":
        """Do a batch, and return what is to be tried again: nobody waits for it, and the file takes nothing now.

        After that, an empty one sees whether the file takes something again.
        """
        if not batch and not self.is_refusing:
            return []
        try:
            # Who waits for a commit has promised something.
            is_awaited = any(job.is_awaited for job in batch)
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_awaited else 'NORMAL'}")
            # SQLite itself would look again only every 100 ms.
            execute_when_free(connection, "BEGIN IMMEDIATE", self._busy_seconds)
            for job in batch:
                job.work(connection)
            connection.execute("COMMIT")
        except Exception as error:
            # Whatever it is, this thread lives on: without it nothing is ever written again, and nobody is told.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if _is_for_now(error):
                return self._put_off(connection, batch, error)
            if len(batch) <= 1:
                self._finish(batch, error)
                return []
            # One bad write must not take the others with it.
            return [left for job in batch for left in self._commit(connection, [job])]
        self.is_refusing = False
        self._finish(batch, None)
        return []

    def _put_off(
        self, connection: sqlite3.Connection, batch: "list[_Job]", error: sqlite3.Error
    ) -> "list[_Job]":
        """Tell who waits, and return the others, which stay in their order: it is no job's fault."""
        sweeps = [job for job in batch if job.is_sweep]
        rest = [job for job in batch if not job.is_sweep]
        if sweeps and rest and primary_code(error) == sqlite3.SQLITE_FULL:
            # Perhaps they make room.
            return [*self._commit(connection, sweeps), *self._commit(connection, rest)]
        self.is_refusing = True
        self._finish([job for job in batch if job.is_awaited], error)
        return [job for job in batch if not job.is_awaited]

    def _finish(self, batch: list["_Job"], error: Exception | None) -> None:
        if error is not None:
            self.failed += len(batch)
        for job in batch:
            job.done(error)
        # Last, so that nothing is left to be told of when nothing is queued.
        with self._lock:
            self._queued_bytes -= sum(job.size for job in batch)
            self.queued -= len(batch)


class _Reader:
    """A thread that reads through a connection of its own, opened when it is first needed.

    Nobody else may use the connection meanwhile: Python's module lets several threads have one, and crashes when one
    of them closes it in the middle of another's statement.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        self._connect = connect
        self.connection: sqlite3.Connection | None = None
        self.pool = ThreadPoolExecutor(1, name)

    def open(self) -> sqlite3.Connection:
        if self.connection is None:
            self.connection = self._connect()
        return self.connection

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, self._do, work)

    def read_now(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        return self.pool.submit(self._do, work).result()

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        return work(self.open())

    def close(self) -> None:
        self.pool.shutdown(wait=True)
        if self.connection is not None:
            self.connection.close()


@dataclass(frozen=True, slots=True)
class _Job:
    work: Write
    size: int
    done: Callable[[Exception | None], None]
    is_awaited: bool = False
    """Whether somebody was promised that it is safe when it is done."""
    is_urgent: bool = False
    is_sweep: bool = False


def _is_for_now(error: Exception) -> TypeGuard[sqlite3.Error]:
    return isinstance(error, sqlite3.OperationalError) and primary_code(error) in _FOR_NOW


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback, *arguments)


def _set_result(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[_T], fault: StoreFault) -> None:
    if not future.done():
        future.set_exception(fault)


def _store_fault(error: Exception | str) -> StoreFault:
    _log.error("storage failed: %s", error)
    return StoreFault(
        "Storage is not available.", code="storage_unavailable", headers=((b"retry-after", b"5"),)
    )


def make_private(path: Path) -> None:
    """Make the file if it is not there, to be read by its owner alone. Raises OSError."""
    # SQLite gives its journal files the mode of the database file.
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
