"""Recordings in PostgreSQL: written once, found under cache keys and response ids, dropped when nobody holds them."""

from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.recording import Recording
from antiphon.recording.codec import encode

# Whoever gives a recording a name, and the sweep on another host, meet at its row: the second sees the first's work.
_IS_THERE = "SELECT 1 FROM recordings WHERE id = $1 FOR UPDATE"
_INSERT = """
INSERT INTO recordings (id, data, size, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id
"""
_RELEASED = "SELECT DISTINCT id FROM (SELECT id FROM released_recordings LIMIT $1) AS released ORDER BY id"
_LOCK = "SELECT FROM recordings WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"
_DROP = """
DELETE FROM recordings WHERE id = ANY($1::text[])
AND NOT EXISTS (SELECT FROM cache_entries WHERE recording_id = recordings.id)
AND NOT EXISTS (SELECT FROM responses WHERE recording_id = recordings.id)
"""
_LOOKED_AT = "DELETE FROM released_recordings WHERE id = ANY($1::text[])"
_AT_ONCE: Final = 200


async def keep_recording(connection: Connection, recording: Recording) -> None:
    """Write the recording unless it is there already, and keep the sweep away from it until it has its name."""
    if await connection.fetchval(_IS_THERE, recording.id) is None:
        data = encode(recording)
        await connection.execute(_INSERT, recording.id, data, len(data), recording.ended_at)


async def drop_released_recordings(connection: Connection) -> bool:
    """Delete recordings that no name leads to any more, up to a number; returns whether there may be others."""
    released = [row[0] for row in await connection.fetch(_RELEASED, _AT_ONCE)]
    if not released:
        return False
    await connection.execute(_LOCK, released)
    # The next one is told what those who held the locks have done.
    await connection.execute(_LOOKED_AT, released)
    await connection.execute(_DROP, released)
    return True
