"""Runs in PostgreSQL; implements `ports.runs.RunStore` for the workers of several hosts.

Leases and deadlines are by the database's clock, which all hosts have in common.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from antiphon.dialects.responses.output import output_of_frames
from antiphon.drivers.postgres import run_statements as sql
from antiphon.drivers.postgres.admission import Room, may_begin
from antiphon.drivers.postgres.connection import Connection, Row
from antiphon.drivers.postgres.conversations import add_answer, hand_over
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.hints import Hints
from antiphon.drivers.postgres.history import read_latest, ways_to_keep
from antiphon.drivers.postgres.responses import keep_response
from antiphon.drivers.postgres.values import is_storable
from antiphon.ports.runs import (
    UNLIMITED,
    Append,
    Carried,
    Lease,
    NewRun,
    Page,
    RunLimits,
    RunState,
    StaleRun,
)
from antiphon.ports.stores import KeptResponse
from antiphon.turn.history import grow
from antiphon.wire.errors import StoreFault

_AT_ONCE: Final = 100
_ANSWERED: Final = frozenset({"completed", "incomplete"})


class PostgresRuns:
    """Runs of all workers of all hosts."""

    def __init__(self, database: Database, lease: float, wall_clock: Callable[[], float] = time.time) -> None:
        """Give leases of `lease` seconds; `wall_clock` is the one by which deadlines are told."""
        self._now = wall_clock
        self._database = database
        self._lease = lease
        self._room = Room()
        self.hints = Hints(database.url)
        self._in_conversations: set[str] = set()
        """Those of the runs that were begun here whose answers become part of a conversation."""
        self._in_doubt: set[tuple[str, int, int]] = set()
        """Appends of which it is not known whether they were committed: run, epoch, last number before them."""

    def enter(self) -> str:
        """Name a worker of this process, which begins now; that it dies is seen when its leases run out."""
        return secrets.token_hex(8)

    def leave(self, worker: str) -> None:
        """Do nothing: what the worker holds it has let go."""

    async def create(self, new: NewRun, worker: str | None, limits: RunLimits = UNLIMITED) -> Lease | None:
        """Accept a run: it is on disk when this returns. Raises QueueFull."""
        nodes = grow(new.owner, new.context.before, new.context.new)
        if new.context.before is not None and new.context.shown is None:
            await self._database.queue.flushed()  # what it continues may wait there

        async def work(connection: Connection) -> Lease | None:
            is_begun = worker is not None and (
                new.is_shown or await may_begin(connection, new, limits, self._database.time())
            )
            if not is_begun:
                await self._room.take(connection, new.owner, limits)
            status, epoch = ("in_progress", 1) if is_begun else ("queued", 0)
            frames = [*new.frames, *new.begun] if is_begun else [*new.frames]
            holder = worker if is_begun else None
            async for way in ways_to_keep(connection, new.owner, new.context, nodes):
                history = way.head
                is_created = await connection.fetchval(
                    sql.CREATE,
                    *(new.id, new.owner, status, epoch, holder, self._lease, new.is_public, new.priority),
                    new.created_at,
                    # What counts is how long it is until then: hosts' clocks may differ from the database's.
                    new.queue_deadline - self._now(),
                    new.deadline - self._now(),
                    *(new.request, frames, self._database.time(), history, new.is_shown),
                    *(new.context.conversation, len(new.context.given), *way.values()),
                )
                if is_created:
                    break
            if new.context.conversation is not None:
                await hand_over(connection, new.context.conversation, new.id)
            for notice_id, hook in new.notices:
                await connection.execute(sql.NOTICE, notice_id, new.id, hook)
            if not is_begun:
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

        # One statement alone needs no transaction around it.
        is_more = new.notices or new.context.conversation or limits.in_progress_per_owner is not None
        lease = await (self._database.transact if is_more else self._database.alone)(work)
        if lease is not None and new.context.conversation is not None:
            self._in_conversations.add(new.id)
        return lease

    async def claim(self, worker: str, limit: int, limits: RunLimits = UNLIMITED) -> list[Lease]:
        """Take up to `limit` queued runs: the most urgent, and of these by turns one of each owner."""

        async def work(connection: Connection) -> list[Row]:
            await connection.execute(sql.LOCK_ALL)
            return await connection.fetch(
                sql.CLAIM, self._database.time(), limit, limits.in_progress_per_owner, worker, self._lease
            )

        claimed = await self._database.transact(work)
        self._in_conversations.update(row[0] for row in claimed if row[9] is not None)
        return [
            Lease(
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
            for run_id, owner, epoch, last_seq, attempt, created_at, deadline, request, history, _, *carried in (
                claimed
            )
        ]

    async def mine(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Return which of the runs, by id and epoch, are still held."""
        ids, epochs = [run_id for run_id, _ in held], [epoch for _, epoch in held]
        return {row[0] for row in await self._database.fetch(sql.MINE, ids, epochs)}

    async def renew(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Prolong the leases of runs, by id and epoch, and return those that are still held."""
        ids, epochs = [run_id for run_id, _ in held], [epoch for _, epoch in held]
        return {
            row[0]
            for row in await self._database.fetch(sql.RENEW, ids, epochs, self._lease, self._database.time())
        }

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        """Add events; False where the writer is fenced. Prolongs the leases."""
        results = [False] * len(appends)
        waiting = list(enumerate(appends))
        while waiting:
            batch: dict[str, tuple[int, Append]] = {}
            for each in waiting:
                batch.setdefault(each[1].run_id, each)
            done = await self._append([append for _, append in batch.values()])
            for place, append in batch.values():
                results[place] = append.run_id in done
            # A second one for the same run comes after the first.
            waiting = [each for each in waiting if batch[each[1].run_id] is not each]
        return results

    async def _append(self, appends: Sequence[Append]) -> set[str]:
        """Add events to different runs and return which took them."""
        doubtful = [append for append in appends if _name(append) in self._in_doubt]
        done = await self._committed(doubtful) if doubtful else set()
        self._in_doubt.clear()
        left = [append for append in appends if append.run_id not in done]
        if not left:
            return done
        events = [
            (append.run_id, append.last_seq + 1 + place, time, frame)
            for append in left
            for place, (time, frame) in enumerate(zip(append.times, append.frames, strict=True))
        ]
        values: tuple[Any, ...] = (
            [append.run_id for append in left],
            [append.epoch for append in left],
            [append.last_seq for append in left],
            [len(append.frames) for append in left],
            [append.status for append in left],
            [append.is_shown for append in left],
            [append.has_effect for append in left],
            self._lease,
            *([event[column] for event in events] for column in range(4)),
            *self.hints.address,
            *([_columns(append.carried)[column] for append in left] for column in range(3)),
            self._database.time(),
        )
        try:
            rows = await self._written(left, *values)
        except StoreFault:
            self._in_doubt.update(map(_name, appends))
            raise
        return done.union(*(row[0] for row in rows))

    async def _written(self, appends: Sequence[Append], *values: object) -> list[Row]:
        """Append; what ends the answer of a conversation adds it there in the same transaction."""
        ended = [each.run_id for each in appends if each.status is not None]
        told = [each.run_id for each in appends if each.status in _ANSWERED]
        growing = self._in_conversations.intersection(told)
        if not growing:
            rows = await self._database.fetch(sql.APPEND, *values)
        else:
            now = self._now()

            async def work(connection: Connection) -> list[Row]:
                rows = await connection.fetch(sql.APPEND, *values)
                for run_id in sorted(growing.intersection(*(row[0] for row in rows)) if rows else ()):
                    await _add_to_conversation(connection, run_id, now)
                return rows

            rows = await self._database.transact(work)
        self._in_conversations.difference_update(ended)
        return rows

    async def _committed(self, appends: Sequence[Append]) -> set[str]:
        """Return the runs that took an append of which no answer came back: nobody else writes in its epoch."""
        rows = await self._database.fetch(
            sql.COMMITTED,
            [append.run_id for append in appends],
            [append.epoch for append in appends],
            [append.last_seq + len(append.frames) for append in appends],
            [append.status or "in_progress" for append in appends],
        )
        return {row[0] for row in rows}

    async def release(self, held: Sequence[tuple[str, int]]) -> None:
        """Let runs go, by id and epoch, as if their leases had run out: they are stale at once."""
        await self._database.fetch(sql.LET_GO, [run_id for run_id, _ in held], [epoch for _, epoch in held])

    async def end(
        self, run_id: str, status: str, frames: Sequence[bytes] = (), expected: RunState | None = None
    ) -> bool:
        """End somebody else's run, in a new epoch; False if it has moved on from what was `expected`, or has ended."""
        epoch, last_seq = (None, None) if expected is None else (expected.epoch, expected.last_seq)
        rows = await self._database.fetch(
            sql.END,
            run_id,
            status,
            list(frames),
            epoch,
            last_seq,
            self._database.time(),
            *self.hints.address,
        )
        return bool(rows)

    async def restart(self, run_id: str, state: RunState, keep: int) -> bool:
        """Queue a run again with its first `keep` events, in a new epoch.

        False if it has moved on from `state`, or if others of its events are promised to somebody.
        """
        rows = await self._database.fetch(
            sql.RESTART, run_id, state.epoch, state.last_seq, keep - 1, *self.hints.address
        )
        return bool(rows)

    async def stale(self, limit: int) -> list[StaleRun]:
        """Return runs whose worker is gone, that are too late, or that have ended and are not settled."""
        return [
            StaleRun(
                id=row[0],
                owner=row[1],
                attempt=row[2],
                is_shown=row[3],
                is_public=row[4],
                has_effect=row[5],
                why=row[6],
                state=_state(row[7:]),
            )
            for row in await self._database.fetch(sql.STALE, self._database.time(), limit)
        ]

    async def state(self, run_id: str, owner: str) -> RunState | None:
        """Return where the owner's run stands; None once it is settled."""
        if not is_storable(run_id):
            return None
        row = await self._database.fetch_row(sql.STATE_OF, run_id, owner)
        return None if row is None else _state(row)

    async def shown(self, run_id: str, owner: str) -> bytes | None:
        """Return the last item of what the owner's run is shown, "" if that is nothing; None: there is no such run."""
        if not is_storable(run_id):
            return None
        row = await self._database.fetch_row(sql.SHOWN, run_id, owner)
        return None if row is None else row[0] or b""

    async def read(self, run_id: str, after: int) -> Page:
        """Return the events after the number `after`, and where the run stands."""
        return (await self.read_many([(run_id, after)]))[0]

    async def read_many(self, wanted: Sequence[tuple[str, int]]) -> list[Page]:
        """Do the same for several runs at once."""
        return _pages(wanted, await self._database.fetch(sql.READ, *_unzipped(wanted)))

    async def publish(self, run_id: str) -> None:
        """Promise the events of a run to somebody: from now on none is taken back."""
        await self._database.fetch(sql.PUBLISH, run_id)

    async def settle(self, kept: KeptResponse) -> bool:
        """Put the answer of an ended run where kept responses are, in place of its log; False if it is gone."""

        async def work(connection: Connection) -> bool:
            row = await connection.fetchrow(sql.FORGET, kept.id, None)
            if row is None:
                return False
            await keep_response(connection, kept, row[0])
            await connection.execute(sql.NOTIFY, *self.hints.address, kept.id)
            return True

        return await self._database.transact(work)

    async def delete(self, run_id: str, owner: str) -> bool:
        """Forget the owner's run, whatever its state."""
        if not is_storable(run_id):
            return False

        async def work(connection: Connection) -> bool:
            row = await connection.fetchrow(sql.FORGET, run_id, owner)
            if row is None:
                return False
            await connection.execute(sql.RELEASE, row[0])
            await connection.execute(sql.NOTIFY, *self.hints.address, run_id)
            return True

        return await self._database.transact(work)

    async def queued(self) -> int:
        """Return how many runs wait."""
        row = await self._database.fetch_row(sql.QUEUED)
        assert row is not None
        return int(row[0])

    def sweep(self, before: float) -> None:
        """Forget runs that ought to have been over before `before`, whatever has kept them from it."""

        async def work(connection: Connection) -> bool:
            left = await connection.fetch(sql.LEFT_BEHIND, before, _AT_ONCE)
            for (run_id,) in left:
                await connection.execute(sql.RELEASE, await connection.fetchval(sql.FORGET, run_id, None))
            return len(left) == _AT_ONCE

        self._database.queue.put_in_slices(work)

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that another process has written to."""
        await self.hints.listen(changed)


async def _add_to_conversation(connection: Connection, run_id: str, now: float) -> None:
    """Add what was asked and what was answered."""
    row = await connection.fetchrow(sql.CONVERSATION, run_id)
    if row is None:
        return
    owner, conversation, given, history, frames = row
    asked = () if history is None or not given else await read_latest(connection, history, given)
    await add_answer(connection, conversation, owner, run_id, (*asked, *output_of_frames(frames)), now)


def _name(append: Append) -> tuple[str, int, int]:
    return append.run_id, append.epoch, append.last_seq


def _unzipped(pairs: Sequence[tuple[str, int]]) -> tuple[list[str], list[int]]:
    return [name for name, _ in pairs], [number for _, number in pairs]


def _pages(wanted: Sequence[tuple[str, int]], rows: Sequence[Row]) -> list[Page]:
    pages = {row[0]: _page(row) for row in rows}
    return [pages.get(run_id) or Page() for run_id, _ in wanted]


def _page(row: Row) -> Page:
    return Page(row[1] or [], row[2] or [], _state(row[3:]))


def _state(row: Row) -> RunState:
    status, epoch, last_seq, created_at, *carried = row
    return RunState(status, epoch, last_seq, created_at, _carried(carried))


def _columns(carried: Carried | None) -> tuple[str | None, str | None, int | None]:
    return (None,) * 3 if carried is None else (carried.provider, carried.response_id, carried.last_seq)


def _carried(columns: Row) -> Carried | None:
    return None if columns[1] is None else Carried(*columns)
