"""Claims of requests with an idempotency key, in SQLite; implements `ports.idempotency.ClaimStore`."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.drivers.claims import ROW_BYTES, ClaimRow, answer_id_of, verdict, write_outcome
from antiphon.drivers.sqlite.attendance import Attendance
from antiphon.drivers.sqlite.database import Database
from antiphon.ports.idempotency import Claimed, Found, Outcome
from antiphon.settings import Idempotency

_SELECT: Final = """
SELECT fingerprint, answer_id, holder, held_until, expires_at, has_ended, outcome FROM idempotency WHERE identity = ?
"""
_HOLD: Final = """
REPLACE INTO idempotency (identity, fingerprint, answer_id, holder, held_until, expires_at, size)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_PROLONG: Final = "UPDATE idempotency SET held_until = ?, expires_at = ? WHERE identity = ? AND holder = ? AND NOT has_ended"
_FINISH: Final = """
UPDATE idempotency SET holder = NULL, has_ended = 1, outcome = ?, expires_at = ?, size = ?
WHERE identity = ? AND holder = ? AND NOT has_ended
"""
_RELEASE: Final = "UPDATE idempotency SET holder = NULL WHERE identity = ? AND holder = ? AND NOT has_ended"
_DROP: Final = "DELETE FROM idempotency WHERE identity = ? AND holder = ? AND NOT has_ended"
_FORGET: Final = (
    "UPDATE idempotency SET holder = NULL, has_ended = 1, outcome = NULL, size = ? WHERE answer_id = ?"
)
_EXPIRED: Final = "SELECT rowid FROM idempotency WHERE expires_at < ? AND held_until < ? LIMIT ?"
_TOTAL: Final = "SELECT coalesce(sum(size), 0) FROM idempotency"
_OLDEST: Final = "SELECT rowid, size FROM idempotency WHERE has_ended ORDER BY expires_at LIMIT ?"
_DELETE: Final = "DELETE FROM idempotency WHERE rowid = ?"
_AT_ONCE: Final = 500


class SqliteClaims:
    """Claims of all workers that share the file."""

    def __init__(
        self, database: Database, settings: Idempotency, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Keep claims in `database`."""
        self._database = database
        self._settings = settings
        self._now = wall_clock
        self._attendance = Attendance(database.path.with_name(database.path.name + "-workers"))
        self._name = ""

    async def claim(self, identity: bytes, fingerprint: bytes, answer_id: str, seconds: float) -> Found:
        """Hold the claim, if it is free."""
        self._name = self._name or self._attendance.enter()
        found = await self._database.read(lambda connection: self._look(connection, identity, fingerprint)[1])
        if found is not None:
            return found

        def work(connection: sqlite3.Connection) -> Found:
            row, found = self._look(connection, identity, fingerprint)
            if found is not None:
                return found
            now = self._now()
            kept_id, is_again = answer_id_of(row, answer_id, now)
            expires_at = now + max(self._settings.ttl, seconds)
            held = (identity, fingerprint, kept_id, self._name, now + seconds, expires_at, ROW_BYTES)
            connection.execute(_HOLD, held)
            return Claimed(kept_id, is_again)

        return await self._database.written(work)

    def _look(
        self, connection: sqlite3.Connection, identity: bytes, fingerprint: bytes
    ) -> tuple[ClaimRow | None, Found | None]:
        found = connection.execute(_SELECT, (identity,)).fetchone()
        row = None if found is None else ClaimRow(*found)
        return row, verdict(row, fingerprint, self._now(), self._is_over)

    def _is_over(self, holder: str) -> bool:
        """Whether nobody can be at it: who asks here has let go, whatever was committed."""
        return holder == self._name or self._attendance.is_gone(holder)

    async def prolong(self, identities: Sequence[bytes], seconds: float) -> None:
        """Hold on to what is held still."""
        now = self._now()
        until, expires_at = now + seconds, now + max(self._settings.ttl, seconds)
        values = [(until, expires_at, identity, self._name) for identity in identities]
        await self._database.written(lambda connection: connection.executemany(_PROLONG, values))

    def finish(self, identity: bytes, outcome: Outcome | None, on_done: Callable[[], object]) -> None:
        """Note an outcome."""
        expires_at = self._now() + self._settings.ttl

        def work(connection: sqlite3.Connection) -> None:
            data = None if outcome is None else write_outcome(outcome)
            size = ROW_BYTES + len(data or b"")
            connection.execute(_FINISH, (data, expires_at, size, identity, self._name))

        self._database.write(work, 0 if outcome is None else len(outcome.body), on_done=on_done)

    def release(self, identity: bytes, on_done: Callable[[], object], *, was_begun: bool) -> None:
        """Let go."""
        statement = _RELEASE if was_begun else _DROP

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement, (identity, self._name))

        self._database.write(work, on_done=on_done)

    async def forget(self, answer_id: str) -> None:
        """Drop an outcome."""
        await self._database.written(lambda connection: connection.execute(_FORGET, (ROW_BYTES, answer_id)))

    def sweep(self, now: float) -> None:
        """Delete what has expired, and the oldest outcomes beyond the bound."""
        self._database.write_in_slices(lambda connection: _delete_expired(connection, now))
        self._database.write_in_slices(self._make_room)

    def leave(self) -> None:
        """Nothing is held here any more."""
        if self._name:
            self._attendance.leave(self._name)

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        (total,) = connection.execute(_TOTAL).fetchone()
        over = total - self._settings.max_bytes
        oldest = [] if over <= 0 else connection.execute(_OLDEST, (_AT_ONCE,)).fetchall()
        for rowid, size in oldest:
            connection.execute(_DELETE, (rowid,))
            over -= size
            if over <= 0:
                return False
        return bool(oldest)


def _delete_expired(connection: sqlite3.Connection, now: float) -> bool:
    expired = connection.execute(_EXPIRED, (now, now, _AT_ONCE)).fetchall()
    connection.executemany(_DELETE, expired)
    return len(expired) == _AT_ONCE
