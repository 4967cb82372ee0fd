"""Recordings in SQLite: written once, found under cache keys and response ids, dropped when nobody holds them."""

import sqlite3

from antiphon.recording import Recording
from antiphon.recording.codec import encode

_IS_THERE = "SELECT 1 FROM recordings WHERE id = ?"
_INSERT = "INSERT INTO recordings (id, data, size, created_at) VALUES (?, ?, ?, ?)"
_ORPHANS = """
DELETE FROM recordings WHERE created_at < ?
AND id NOT IN (SELECT recording_id FROM cache_entries) AND id NOT IN (SELECT recording_id FROM responses)
"""
_ORPHAN_AGE_SECONDS = 60


def keep_recording(connection: sqlite3.Connection, recording: Recording) -> None:
    """Write the recording unless it is there already."""
    if connection.execute(_IS_THERE, (recording.id,)).fetchone() is None:
        data = encode(recording)
        connection.execute(_INSERT, (recording.id, data, len(data), recording.ended_at))


def drop_orphans(connection: sqlite3.Connection, now: float) -> None:
    """Delete recordings that no name leads to; very new ones may not have got theirs yet."""
    connection.execute(_ORPHANS, (now - _ORPHAN_AGE_SECONDS,))
