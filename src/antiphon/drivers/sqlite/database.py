"""One SQLite file, written by one thread that commits everything that has queued up, read by another.

Waiting for a commit is for those who ask for it; all others hand over their write and go on.
"""

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
Write = Callable[[sqlite3.Connection], None]

_SCHEMA_VERSION = 1
_BATCH = 512
_BUSY_SECONDS = 10.0
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and the writer do not wait for each other
    "PRAGMA synchronous = NORMAL",  # a power cut may lose the last commits, never the file
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8192",
    "PRAGMA mmap_size = 268435456",
)


class SchemaError(RuntimeError):
    """The file was written by another version."""


class Database:
    """The two threads and what they were asked to do."""

    def __init__(self, path: Path, *, max_queued_bytes: int = 64 * 1024 * 1024) -> None:
        """Open the file, made if absent and readable by its owner alone. Raises OSError, sqlite3.Error, SchemaError."""
        self._path = path
        _make_private(path)
        connection = self._connect()
        _migrate(connection)
        self._reader = self._connect()
        self._read_pool = ThreadPoolExecutor(1, "antiphon-read")
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._max_queued_bytes = max_queued_bytes
        self._lock = threading.Lock()
        self._queued_bytes = 0
        self.queued = 0
        self.dropped = 0
        self.failed = 0
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
        on_done: Callable[[], object] | None = None,
    ) -> bool:
        """Do `work` in the next transaction; False if the queue is full and the work may be dropped.

        `on_done` is called on the event loop when the work was committed or has failed.
        """
        with self._lock:
            if may_drop and self._queued_bytes + size > self._max_queued_bytes:
                self.dropped += 1
                return False
        loop = asyncio.get_running_loop() if on_done is not None else None

        def done(error: sqlite3.Error | None) -> None:
            if error is not None:
                _log.error("a write to storage failed: %s", error)
            if loop is not None and on_done is not None and not loop.is_closed():
                loop.call_soon_threadsafe(on_done)

        self._put(_Job(work, size, done))
        return True

    async def written(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` in a transaction and wait until it is committed. Raises StoreFault."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        results: list[_T] = []

        def done(error: sqlite3.Error | None) -> None:
            if error is None:
                loop.call_soon_threadsafe(_set_result, future, results[-1])
            else:
                loop.call_soon_threadsafe(_set_exception, future, _store_fault(error))

        self._put(_Job(lambda connection: results.append(work(connection)), 0, done))
        return await future

    def _put(self, job: "_Job") -> None:
        with self._lock:
            self._queued_bytes += job.size
            self.queued += 1
        self._queue.put(job)

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` on the reading thread. Raises StoreFault."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_pool, work, self._reader)
        except sqlite3.Error as error:
            raise _store_fault(error) from error

    async def close(self) -> None:
        """Finish all writes and close the file."""
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._read_pool.shutdown(wait=True)
        self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection

    def _work(self, connection: sqlite3.Connection) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            ended = None in batch
            self._commit(connection, [job for job in batch if job is not None])
        connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list["_Job"]) -> None:
        try:
            _transact(connection, batch)
        except sqlite3.Error as error:
            if len(batch) > 1:
                # One bad write must not take the others with it.
                for job in batch:
                    self._commit(connection, [job])
                return
            self.failed += 1
            batch[0].done(error)
        else:
            for job in batch:
                job.done(None)
        with self._lock:
            self._queued_bytes -= sum(job.size for job in batch)
            self.queued -= len(batch)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Write
    size: int
    done: Callable[[sqlite3.Error | None], None]


def _transact(connection: sqlite3.Connection, batch: list[_Job]) -> None:
    if not batch:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for job in batch:
            job.work(connection)
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _set_result(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[_T], fault: StoreFault) -> None:
    if not future.done():
        future.set_exception(fault)


def _store_fault(error: sqlite3.Error) -> StoreFault:
    _log.error("storage failed: %s", error)
    return StoreFault(
        "Storage is not available.", code="storage_unavailable", headers=((b"retry-after", b"5"),)
    )


def _make_private(path: Path) -> None:
    # SQLite gives its journal files the mode of the database file.
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.close(descriptor)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        schema = files("antiphon.drivers.sqlite").joinpath("schema.sql").read_text("utf-8")
        for statement in schema.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version not in {0, _SCHEMA_VERSION}:
        raise SchemaError(
            f"the database has schema version {version}; this release of Antiphon knows {_SCHEMA_VERSION}"
        )
