"""Waiting for a file that another process uses, where SQLite itself would not wait, or for too long at a time."""

import random
import sqlite3
import time
from typing import Final

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01
WAL: Final = "PRAGMA journal_mode = WAL"
"""Readers and the writer do not wait for each other. Who sets it is refused at once while another sets it too."""


def execute_when_free(connection: sqlite3.Connection, statement: str, seconds: float) -> None:
    """Do a statement as soon as nobody else is in its way, for which `seconds` are waited. Raises sqlite3.Error."""
    give_up_at = time.monotonic() + seconds
    pause = _SHORTEST_PAUSE
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
        time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - so that nobody keeps step with another
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary code; extended ones say more in higher bits."""
    return error.sqlite_errorcode & 0xFF
