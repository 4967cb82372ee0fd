"""Recordings in SQLite: written once, found under cache keys and response ids, dropped when nobody holds them."""

import sqlite3

from antiphon.recording import Recording
from antiphon.recording.codec import encode

_IS_THERE = "SELECT 1 FROM recordings WHERE id = ?"
_INSERT = "INSERT INTO recordings (id, data, size, created_at) VALUES (?, ?, ?, ?)"
_RELEASED = "SELECT id FROM released_recordings LIMIT ?"
_LOOKED_AT = "DELETE FROM released_recordings WHERE id = ?"
_DROP = """
DELETE FROM recordings WHERE id = :id
AND NOT EXISTS (SELECT 1 FROM cache_entries WHERE recording_id = :id)
AND NOT EXISTS (SELECT 1 FROM responses WHERE recording_id = :id)
"""
_AT_ONCE = 200


def keep_recording(connection: sqlite3.Connection, recording: Recording) -> None:
    """Write the recording unless it is there already."""
    if connection.execute(_IS_THERE, (recording.id,)).fetchone() is None:
        data = encode(recording)
        connection.execute(_INSERT, (recording.id, data, len(data), recording.ended_at))


def drop_released_recordings(connection: sqlite3.Connection) -> bool:
    """Delete recordings that no name leads to any more, up to a number; returns whether there are others."""
    released = connection.execute(_RELEASED, (_AT_ONCE,)).fetchall()
    for (recording_id,) in released:
        connection.execute(_DROP, {"id": recording_id})
        connection.execute(_LOOKED_AT, (recording_id,))
    return len(released) == _AT_ONCE
