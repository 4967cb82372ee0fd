"""The storages under test: what one has to do, the others have to do too."""

import shutil
import sqlite3
import tempfile
from pathlib import Path

from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.responses import SqliteResponses
from antiphon.drivers.sqlite.runs import SqliteRuns
from property.runs.stage import Clock

_EMPTY_AT_LAST = ("runs", "run_requests", "run_events", "responses", "history")
_IN_MEMORY = Path("/dev/shm")


class SqliteStorage:
    """One file."""

    def __init__(self) -> None:
        # What a disk does to a commit is tested elsewhere, by pulling the plug; here there are thousands.
        where = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="antiphon-runs-", dir=where))

    async def open(self, clock: Clock, lease: float) -> "OpenedFile":
        return OpenedFile(self._folder / "antiphon.db", clock, lease)

    def close(self) -> None:
        shutil.rmtree(self._folder)


class OpenedFile:
    """The file as one process has it open."""

    def __init__(self, path: Path, clock: Clock, lease: float) -> None:
        self._database = Database(path)
        self.runs = SqliteRuns(self._database, lease, clock.wall)
        self.responses = SqliteResponses(self._database, clock.wall)

    def is_busy(self) -> bool:
        return self._database.queued > 0

    async def left(self) -> dict[str, int]:
        return await self._database.read(_count)

    async def close(self) -> None:
        await self._database.close()


def _count(connection: sqlite3.Connection) -> dict[str, int]:
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _EMPTY_AT_LAST
    }
