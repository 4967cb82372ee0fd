"""Bringing a file's schema forward, when it is opened.

`PRAGMA user_version` is the oldest program that may use the file, which is all that programs of version 1 look at;
the table `schema_steps` tells what was done.
"""

import sqlite3
import time
from collections.abc import Iterator
from typing import Final

from antiphon.drivers.migrations import SchemaError, Step, missing, steps_of

STEPS: Final = steps_of("antiphon.drivers.sqlite")

_WAIT_SECONDS: Final = 600.0
"""For another process that is at it; a large file takes a while."""
_STEPS_DONE: Final = (
    "CREATE TABLE IF NOT EXISTS schema_steps (number INTEGER PRIMARY KEY, done_at REAL NOT NULL)"
)
_DONE: Final = "INSERT INTO schema_steps (number, done_at) VALUES (?, ?)"
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"


def is_behind(connection: sqlite3.Connection) -> bool:
    """Whether there are steps to do; writes nothing. Raises SchemaError if this program may not use the file."""
    connection.execute("BEGIN")  # what it looks at belongs together
    try:
        return bool(_missing(connection))
    finally:
        connection.execute("COMMIT")


def bring_forward(connection: sqlite3.Connection) -> None:
    """Do the steps that are missing, each in a transaction. Raises SchemaError, sqlite3.Error."""
    if not is_behind(connection):
        return
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(_WAIT_SECONDS * 1000)}")
    while _do_next(connection):
        pass
    connection.execute(f"PRAGMA busy_timeout = {usual}")


def _do_next(connection: sqlite3.Connection) -> bool:
    """Do one step, unless there is none; returns whether there are more."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        steps = _missing(connection)
        if steps:
            _do(connection, steps[0])
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return len(steps) > 1


def _do(connection: sqlite3.Connection, step: Step) -> None:
    for statement in _statements(step.sql):
        connection.execute(statement)
    connection.execute(_STEPS_DONE)
    connection.execute(_DONE, (step.number, time.time()))
    connection.execute(f"PRAGMA user_version = {step.oldest}")


def _missing(connection: sqlite3.Connection) -> list[Step]:
    (oldest,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute(_TABLES)}
    version = 0
    if "schema_steps" in tables:
        (version,) = connection.execute("SELECT max(number) FROM schema_steps").fetchone()
    elif oldest <= len(STEPS) and oldest != bool(tables):
        raise SchemaError("it is the database of another program, or of one that was never released")
    # Programs of version 1 have left no note of what they did: the first step adds what their file may lack.
    return list(missing(STEPS, version, oldest))


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: `executescript` would commit before the first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
