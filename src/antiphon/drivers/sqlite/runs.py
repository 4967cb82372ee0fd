"""Runs in SQLite; implements `ports.runs.RunStore`. Several processes of one host may share the file."""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from antiphon.dialects.responses.output import output_of_frames
from antiphon.drivers.sqlite.attendance import Attendance
from antiphon.drivers.sqlite.conversations import add_answer, hand_over
from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.sqlite.history import keep_history, read_latest, release
from antiphon.drivers.sqlite.responses import keep_response
from antiphon.drivers.sqlite.run_queue import CLAIM, QUEUED, Room, may_begin
from antiphon.drivers.sqlite.watching import Watch
from antiphon.ports.runs import (
    UNLIMITED,
    Append,
    Carried,
    Lease,
    NewRun,
    Page,
    QueueFull,
    RunLimits,
    RunState,
    StaleRun,
)
from antiphon.ports.stores import KeptResponse
from antiphon.turn.history import grow

_CREATE = """
INSERT INTO runs (id, owner, status, epoch, last_seq, worker, lease_until, attempt, is_shown, is_public, has_effect,
    priority, created_at, queue_deadline, deadline)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)
"""
_CREATE_REQUEST = (
    "INSERT INTO run_requests (id, request, history, conversation, given) VALUES (?, ?, ?, ?, ?)"
)
_NOTICE = "INSERT INTO webhook_notices (id, run_id, hook) VALUES (?, ?, ?)"
_EVENT = "INSERT INTO run_events (id, seq, time, frame) VALUES (?, ?, ?, ?)"
_MINE = "SELECT 1 FROM runs WHERE id = ? AND epoch = ? AND status = 'in_progress'"
_REQUEST = "SELECT request, history FROM run_requests WHERE id = ?"
_RENEW = "UPDATE runs SET lease_until = ? WHERE id = ? AND epoch = ? AND status = 'in_progress'"
_APPEND = """
UPDATE runs SET last_seq = last_seq + ?, status = coalesce(?, status), lease_until = ?,
    is_shown = is_shown OR ?, has_effect = has_effect OR ?,
    provider = coalesce(?, provider), upstream_id = coalesce(?, upstream_id), upstream_seq = coalesce(?, upstream_seq)
WHERE id = ? AND epoch = ? AND last_seq = ? AND status = 'in_progress'
"""
_RELEASE = """
UPDATE runs SET worker = NULL, lease_until = 0 WHERE id = ? AND epoch = ? AND status = 'in_progress'
"""
_END = """
UPDATE runs SET status = ?, epoch = epoch + 1, last_seq = last_seq + ?
WHERE id = ? AND status IN ('queued', 'in_progress') AND (? IS NULL OR (epoch = ? AND last_seq = ?))
RETURNING last_seq, created_at
"""
_RESTART = """
UPDATE runs SET status = 'queued', epoch = epoch + 1, last_seq = :last, is_shown = is_shown AND :last = last_seq, worker = NULL,
    queue_deadline = deadline
WHERE id = :id AND epoch = :epoch AND last_seq = :expected AND status = 'in_progress'
AND (:last = last_seq OR NOT (is_public AND is_shown))
"""
_CUT = "DELETE FROM run_events WHERE id = ? AND seq > ?"
_STALE = """
SELECT id, owner, attempt, is_shown, is_public, has_effect, CASE
    WHEN status NOT IN ('queued', 'in_progress') THEN 'ended'
    WHEN deadline <= :now THEN 'deadline'
    WHEN status = 'queued' THEN 'queue_deadline'
    WHEN worker IS NULL THEN 'released'
    ELSE 'lease'
END, status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq
FROM runs
WHERE (status = 'in_progress' AND (lease_until < :now OR deadline <= :now OR worker IN (SELECT value FROM json_each(:gone))))
OR (status = 'queued' AND queue_deadline <= :now)
OR (status NOT IN ('queued', 'in_progress') AND (lease_until < :now OR worker IN (SELECT value FROM json_each(:gone))))
ORDER BY created_at LIMIT :limit
"""
_WORKERS = "SELECT DISTINCT worker FROM runs WHERE worker IS NOT NULL"
_STATE = (
    "SELECT status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq FROM runs WHERE id = ?"
)
_STATE_OF = _STATE + " AND owner = ?"
_SHOWN = "SELECT history FROM runs JOIN run_requests USING (id) WHERE runs.id = ? AND owner = ?"
_READ = "SELECT frame, time FROM run_events WHERE id = ? AND seq > ? ORDER BY seq"
_PUBLISH = "UPDATE runs SET is_public = 1 WHERE id = ? AND NOT is_public"
_DELETE_RUN = "DELETE FROM runs WHERE id = ? RETURNING status"
_DELETE_REQUEST = "DELETE FROM run_requests WHERE id = ? RETURNING history"
_DELETE_EVENTS = "DELETE FROM run_events WHERE id = ?"
_CONVERSATION = """
SELECT owner, conversation, given, history FROM runs JOIN run_requests USING (id) WHERE runs.id = ?
"""
_IS_OWN = "SELECT 1 FROM runs WHERE id = ? AND owner = ?"
_LEFT_BEHIND = "SELECT id FROM runs WHERE deadline < ? LIMIT ?"

_AT_ONCE: Final = 100
_ANSWERED: Final = frozenset({"completed", "incomplete"})


class SqliteRuns:
    """Runs of all workers that share the file."""

    def __init__(self, database: Database, lease: float, wall_clock: Callable[[], float] = time.time) -> None:
        """Give leases of `lease` seconds."""
        self._database = database
        self._lease = lease
        self._room = Room()
        self._now = wall_clock
        self._watch = Watch(database, lease)  # what is held is renewed more often than that
        self._attendance = Attendance(database.path.with_name(database.path.name + "-workers"))

    def enter(self) -> str:
        """Name a worker of this process, which begins now. It is seen at once when the process dies."""
        return self._attendance.enter()

    def leave(self, worker: str) -> None:
        """The worker works no more: whatever it holds may be taken over."""
        self._attendance.leave(worker)

    async def create(self, new: NewRun, worker: str | None, limits: RunLimits = UNLIMITED) -> Lease | None:
        """Accept a run: it is on disk when this returns. Raises QueueFull."""
        self._watch.use()
        nodes = grow(new.owner, new.context.before, new.context.new)

        def work(connection: sqlite3.Connection) -> Lease | QueueFull | None:
            now = self._now()
            may = worker is not None and (new.is_shown or may_begin(connection, new, limits, now))
            holder = worker if may else None
            if holder is None:
                for owner, most in ((new.owner, limits.queued_per_owner), (None, limits.queued)):
                    if self._room.is_full(connection, owner, most):
                        return QueueFull(is_owners=owner is not None)
            status, epoch = ("queued", 0) if holder is None else ("in_progress", 1)
            frames = [*new.frames] if holder is None else [*new.frames, *new.begun]
            history = keep_history(connection, new.owner, new.context, nodes)
            connection.execute(
                _CREATE,
                (
                    *(new.id, new.owner, status, epoch, len(frames) - 1, holder, now + self._lease, epoch),
                    *(new.is_shown, new.is_public, new.priority),
                    *(new.created_at, new.queue_deadline, new.deadline),
                ),
            )
            conversation, given = new.context.conversation, len(new.context.given)
            connection.execute(_CREATE_REQUEST, (new.id, new.request, history, conversation, given))
            if conversation is not None:
                hand_over(connection, conversation, new.id)
            connection.executemany(_NOTICE, [(each, new.id, hook) for each, hook in new.notices])
            _add_events(connection, new.id, 0, frames, [0] * len(frames))
            if holder is None:
                return None
            return Lease(
                run_id=new.id,
                owner=new.owner,
                epoch=epoch,
                last_seq=len(frames) - 1,
                attempt=1,
                created_at=new.created_at,
                deadline=new.deadline,
                request=new.request,
                history=history,
            )

        created = await self._database.written(work)
        if isinstance(created, QueueFull):
            raise created
        return created

    async def claim(self, worker: str, limit: int, limits: RunLimits = UNLIMITED) -> list[Lease]:
        """Take up to `limit` queued runs: the most urgent, and of these by turns one of each owner."""
        now = self._now()
        values = {
            "worker": worker,
            "now": now,
            "until": now + self._lease,
            "limit": limit,
            "most": limits.in_progress_per_owner,
        }

        def work(connection: sqlite3.Connection) -> list[Lease]:
            claimed = connection.execute(CLAIM, values).fetchall()
            return [_lease(connection, row) for row in claimed]

        return await self._database.written(work)

    async def mine(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Return which of the runs, by id and epoch, are still held."""
        return await self._database.read(
            lambda connection: {each[0] for each in held if connection.execute(_MINE, each).fetchone()}
        )

    async def renew(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Prolong the leases of runs, by id and epoch, and return those that are still held."""
        self._watch.use()
        until = self._now() + self._lease

        def work(connection: sqlite3.Connection) -> set[str]:
            return {
                run_id
                for run_id, epoch in held
                if connection.execute(_RENEW, (until, run_id, epoch)).rowcount
            }

        return await self._database.written(work)

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        """Add events; False where the writer is fenced. Prolongs the leases."""
        self._watch.use()
        now = self._now()
        until = now + self._lease

        def work(connection: sqlite3.Connection) -> list[bool]:
            return [_append(connection, append, until, now) for append in appends]

        return await self._database.written(work)

    async def release(self, held: Sequence[tuple[str, int]]) -> None:
        """Let runs go, by id and epoch, as if their leases had run out: they are stale at once."""
        await self._database.written(lambda connection: connection.executemany(_RELEASE, held))

    async def end(
        self, run_id: str, status: str, frames: Sequence[bytes] = (), expected: RunState | None = None
    ) -> bool:
        """End somebody else's run, in a new epoch; False if it has moved on from what was `expected`, or has ended."""
        epoch, last_seq = (None, None) if expected is None else (expected.epoch, expected.last_seq)
        now = self._now()

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(_END, (status, len(frames), run_id, epoch, epoch, last_seq)).fetchone()
            if row is None:
                return False
            last, created_at = row
            times = [max(0, int((now - created_at) * 1e6))] * len(frames)
            _add_events(connection, run_id, last + 1 - len(frames), frames, times)
            return True

        return await self._database.written(work)

    async def restart(self, run_id: str, state: RunState, keep: int) -> bool:
        """Queue a run again with its first `keep` events, in a new epoch.

        False if it has moved on from `state`, or if others of its events are promised to somebody.
        """
        last = keep - 1
        named = {"id": run_id, "epoch": state.epoch, "expected": state.last_seq, "last": last}

        def work(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(_RESTART, named).rowcount
            if changed:
                connection.execute(_CUT, (run_id, last))
            return bool(changed)

        return await self._database.written(work)

    async def stale(self, limit: int) -> list[StaleRun]:
        """Return runs whose worker is gone, that are too late, or that have ended and are not settled."""
        now, is_gone = self._now(), self._attendance.is_gone

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            gone = [worker for (worker,) in connection.execute(_WORKERS).fetchall() if is_gone(worker)]
            return connection.execute(
                _STALE, {"now": now, "limit": limit, "gone": json.dumps(gone)}
            ).fetchall()

        return [
            StaleRun(
                id=row[0],
                owner=row[1],
                attempt=row[2],
                is_shown=bool(row[3]),
                is_public=bool(row[4]),
                has_effect=bool(row[5]),
                why=row[6],
                state=_state(row[7:]),
            )
            for row in await self._database.read(work)
        ]

    async def state(self, run_id: str, owner: str) -> RunState | None:
        """Return where the owner's run stands; None once it is settled."""
        row = await self._database.read(
            lambda connection: connection.execute(_STATE_OF, (run_id, owner)).fetchone()
        )
        return None if row is None else _state(row)

    async def shown(self, run_id: str, owner: str) -> bytes | None:
        """Return the last item of what the owner's run is shown, "" if that is nothing; None: there is no such run."""
        row = await self._database.read(
            lambda connection: connection.execute(_SHOWN, (run_id, owner)).fetchone()
        )
        return None if row is None else row[0] or b""

    async def read(self, run_id: str, after: int) -> Page:
        """Return the events after the number `after`, and where the run stands."""
        return (await self.read_many([(run_id, after)]))[0]

    async def read_many(self, wanted: Sequence[tuple[str, int]]) -> list[Page]:
        """Do the same for several runs at once, each with a number of its own."""
        self._watch.use()

        def work(connection: sqlite3.Connection) -> list[Page]:
            connection.execute("BEGIN")
            try:
                return [_page(connection, run_id, after) for run_id, after in wanted]
            finally:
                connection.execute("COMMIT")

        return await self._database.read(work, is_long=any(after < 0 for _, after in wanted))

    async def publish(self, run_id: str) -> None:
        """Promise the events of a run to somebody: from now on none is taken back."""
        await self._database.written(lambda connection: connection.execute(_PUBLISH, (run_id,)))

    async def settle(self, kept: KeptResponse) -> bool:
        """Put the answer of an ended run where kept responses are, in place of its log; False if it is gone."""

        def work(connection: sqlite3.Connection) -> bool:
            if connection.execute(_DELETE_RUN, (kept.id,)).fetchone() is None:
                return False
            (history,) = connection.execute(_DELETE_REQUEST, (kept.id,)).fetchone()
            connection.execute(_DELETE_EVENTS, (kept.id,))
            keep_response(connection, kept, history)
            return True

        return await self._database.written(work)

    async def delete(self, run_id: str, owner: str) -> bool:
        """Forget the owner's run, whatever its state."""

        def work(connection: sqlite3.Connection) -> bool:
            if connection.execute(_IS_OWN, (run_id, owner)).fetchone() is None:
                return False
            _forget(connection, run_id)
            return True

        return await self._database.written(work)

    async def queued(self) -> int:
        """Return how many runs wait."""
        row = await self._database.read(lambda connection: connection.execute(QUEUED).fetchone())
        return int(row[0])

    def sweep(self, before: float) -> None:
        """Forget runs that ought to have been over before `before`, whatever has kept them from it."""

        def work(connection: sqlite3.Connection) -> bool:
            left = connection.execute(_LEFT_BEHIND, (before, _AT_ONCE)).fetchall()
            for (run_id,) in left:
                _forget(connection, run_id)
            return len(left) == _AT_ONCE

        self._database.write_in_slices(work)

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` when the file was written to, while this process has to do with runs."""
        await self._watch.run(lambda: changed(()))


def _forget(connection: sqlite3.Connection, run_id: str) -> None:
    connection.execute(_DELETE_RUN, (run_id,))
    (history,) = connection.execute(_DELETE_REQUEST, (run_id,)).fetchone()
    release(connection, history)
    connection.execute(_DELETE_EVENTS, (run_id,))


def _append(connection: sqlite3.Connection, append: Append, until: float, now: float) -> bool:
    changed = connection.execute(
        _APPEND,
        (
            *(len(append.frames), append.status, until, append.is_shown, append.has_effect),
            *_columns(append.carried),
            *(append.run_id, append.epoch, append.last_seq),
        ),
    ).rowcount
    if changed:
        _add_events(connection, append.run_id, append.last_seq + 1, append.frames, append.times)
        if append.status in _ANSWERED:
            _add_to_conversation(connection, append.run_id, now)
    return bool(changed)


def _add_to_conversation(connection: sqlite3.Connection, run_id: str, now: float) -> None:
    """Add what was asked and what was answered, in the transaction that ends the run."""
    owner, conversation, given, history = connection.execute(_CONVERSATION, (run_id,)).fetchone()
    if conversation is None:
        return
    frames = [frame for frame, _ in connection.execute(_READ, (run_id, -1))]
    items = (*read_latest(connection, history, given), *output_of_frames(frames))
    add_answer(connection, conversation, owner, run_id, items, now)


def _page(connection: sqlite3.Connection, run_id: str, after: int) -> Page:
    state = connection.execute(_STATE, (run_id,)).fetchone()
    rows = connection.execute(_READ, (run_id, after)).fetchall()
    frames, times = [row[0] for row in rows], [row[1] for row in rows]
    return Page(frames, times, None if state is None else _state(state))


def _add_events(
    connection: sqlite3.Connection, run_id: str, first: int, frames: Sequence[bytes], times: Sequence[int]
) -> None:
    connection.executemany(
        _EVENT,
        [
            (run_id, first + place, time, frame)
            for place, (time, frame) in enumerate(zip(times, frames, strict=True))
        ],
    )


def _columns(carried: Carried | None) -> tuple[str | None, str | None, int | None]:
    return (None,) * 3 if carried is None else (carried.provider, carried.response_id, carried.last_seq)


def _carried(columns: Sequence[Any]) -> Carried | None:
    return None if columns[1] is None else Carried(*columns)


def _state(row: tuple[Any, ...]) -> RunState:
    status, epoch, last_seq, created_at, *carried = row
    return RunState(status, epoch, last_seq, created_at, _carried(carried))


def _lease(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Lease:
    run_id, owner, epoch, last_seq, attempt, created_at, deadline, *carried = row
    request, history = connection.execute(_REQUEST, (run_id,)).fetchone()
    return Lease(
        run_id=run_id,
        owner=owner,
        epoch=epoch,
        last_seq=last_seq,
        attempt=attempt,
        created_at=created_at,
        deadline=deadline,
        request=request,
        history=history,
        carried=_carried(carried),
    )
