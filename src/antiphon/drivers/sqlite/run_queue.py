"""The queue of runs in SQLite: who is next, whether a run may be begun at once, and how many may wait."""

import sqlite3
from typing import Final

from antiphon.ports.runs import NewRun, RunLimits

_MAY_BEGIN = """
SELECT :most IS NULL OR :most > (SELECT count(*) FROM runs WHERE status = 'in_progress' AND owner = :owner)
"""
QUEUED = "SELECT count(*) FROM runs WHERE status = 'queued'"
_QUEUED_OF = QUEUED + " AND owner = ?"
# Owners are found by leaps through the index, and of each only as many runs are looked at as can be taken. What an
# owner has in progress counts as taken before: so they take turns, and nobody has more than may be.
_WAITING = """
WITH RECURSIVE owners (owner) AS (
    SELECT min(owner) FROM runs WHERE status = 'queued'
    UNION ALL
    SELECT (SELECT min(owner) FROM runs WHERE status = 'queued' AND owner > owners.owner)
    FROM owners WHERE owner IS NOT NULL
),
running (owner, count) AS (SELECT owner, count(*) FROM runs WHERE status = 'in_progress' GROUP BY owner),
waiting AS (
    SELECT runs.id, priority, created_at, coalesce(running.count, 0)
        + row_number() OVER (PARTITION BY runs.owner ORDER BY priority DESC, created_at) AS turn
    FROM owners JOIN runs ON runs.id IN (
        SELECT next.id FROM runs AS next
        WHERE next.status = 'queued' AND next.owner = owners.owner AND next.queue_deadline > :now
        ORDER BY next.priority DESC, next.created_at LIMIT :limit
    )
    LEFT JOIN running ON running.owner = runs.owner
)
"""
_CLAIM_WAITING = """
UPDATE runs SET status = 'in_progress', epoch = epoch + 1, worker = :worker,
    lease_until = :until, attempt = attempt + CASE WHEN upstream_id IS NULL THEN 1 ELSE 0 END
WHERE id IN (
    SELECT id FROM waiting WHERE :most IS NULL OR turn <= :most
    ORDER BY priority DESC, turn, created_at LIMIT :limit
)
RETURNING id, owner, epoch, last_seq, attempt, created_at, deadline, provider, upstream_id, upstream_seq
"""
CLAIM = _WAITING + _CLAIM_WAITING
"""Takes `:worker`, `:now`, `:until`, `:limit`, and as `:most` how many an owner may have in progress, or null."""
_IS_WAITING = "SELECT 1 FROM waiting WHERE priority >= :priority AND (:most IS NULL OR turn <= :most) LIMIT 1"
_IS_URGENT_WAITING = _WAITING + _IS_WAITING

_UNCOUNTED: Final = 16
"""Of how many runs that may wait one is let in uncounted, where there was room when they were counted."""


def may_begin(connection: sqlite3.Connection, new: NewRun, limits: RunLimits, now: float) -> bool:
    """Whether a new run may be begun at once."""
    most = limits.in_progress_per_owner
    (may,) = connection.execute(_MAY_BEGIN, {"most": most, "owner": new.owner}).fetchone()
    waiting = {"now": now, "limit": 1, "priority": new.priority, "most": most}
    return bool(may) and connection.execute(_IS_URGENT_WAITING, waiting).fetchone() is None


class Room:
    """Room for runs that wait, counted now and then: counting ten thousand for each new one would take too long.

    Several processes may so let in a sixteenth more than may be, each.
    """

    def __init__(self) -> None:
        self._left: dict[str | None, int] = {}

    def is_full(self, connection: sqlite3.Connection, owner: str | None, most: int | None) -> bool:
        """Whether no more runs of `owner`, or of all, may wait; if some may, one is let in."""
        if most is None:
            return False
        left = self._left.get(owner, 0)
        if left <= 0:
            query, values = (QUEUED, ()) if owner is None else (_QUEUED_OF, (owner,))
            left = most - int(connection.execute(query, values).fetchone()[0])
            left = min(left, 1 + most // _UNCOUNTED)
        self._left[owner] = left - 1
        return left <= 0
