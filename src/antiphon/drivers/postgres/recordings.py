"""Recordings in PostgreSQL: written once, found under cache keys and response ids, dropped when nobody holds them."""

from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import NOW
from antiphon.recording import Recording
from antiphon.recording.codec import encode

_ORPHAN_SECONDS: Final = 60
# A name for a recording, and the sweep on another host, meet at the row: whoever comes second sees the other's work.
_HOLD = f"""
SELECT held_at > {NOW} - {_ORPHAN_SECONDS / 2} FROM recordings WHERE id = $1 FOR UPDATE
"""  # noqa: S608 - constants
_TOUCH = f"UPDATE recordings SET held_at = {NOW} WHERE id = $1"  # noqa: S608
_INSERT = f"""
INSERT INTO recordings (id, data, size, held_at) VALUES ($1, $2, $3, {NOW})
ON CONFLICT (id) DO UPDATE SET held_at = EXCLUDED.held_at
"""  # noqa: S608
DROP_ORPHANS: Final = f"""
DELETE FROM recordings WHERE held_at < {NOW} - {_ORPHAN_SECONDS}
AND NOT EXISTS (SELECT FROM cache_entries WHERE recording_id = recordings.id)
AND NOT EXISTS (SELECT FROM responses WHERE recording_id = recordings.id)
"""  # noqa: S608
"""Deletes recordings that no name leads to; one that has just got its name is safe, wherever that was."""


async def keep_recording(connection: Connection, recording: Recording) -> None:
    """Write the recording unless it is there already, and keep the sweep away from it until it has its name."""
    is_held = await connection.fetchval(_HOLD, recording.id)
    if is_held is None:
        data = encode(recording)
        await connection.execute(_INSERT, recording.id, data, len(data))
    elif not is_held:
        await connection.execute(_TOUCH, recording.id)
