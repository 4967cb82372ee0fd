"""Secrets that the gateway makes for itself: random, made once, the same for all workers and after a restart."""

import sqlite3
from collections.abc import Callable

from antiphon.drivers.sqlite.database import Database

SEALING = "sealing"
"""The name of the key that seals `encrypted_content`."""

_SELECT = "SELECT value FROM secrets WHERE name = ?"
_INSERT = "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"


def stored_secret(database: Database, name: str) -> bytes | None:
    """Return the secret, if one was ever made. Raises sqlite3.Error."""

    def work(connection: sqlite3.Connection) -> bytes | None:
        row = connection.execute(_SELECT, (name,)).fetchone()
        return None if row is None else bytes(row[0])

    return database.do_at_start(work)


def kept_secret(database: Database, name: str, make: Callable[[], bytes]) -> bytes:
    """Return the secret, made now if there is none; of several workers that make one, the first wins.

    Raises sqlite3.Error.
    """
    found = stored_secret(database, name)
    if found is not None:
        return found
    database.do_at_start(lambda connection: connection.execute(_INSERT, (name, make())))
    found = stored_secret(database, name)
    assert found is not None
    return found
