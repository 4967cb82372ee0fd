"""Runs in PostgreSQL; implements `ports.runs.RunStore` for the workers of several hosts.

Leases and deadlines are by the database's clock, which all hosts have in common. Statements that touch several runs
lock them in the order of their ids, so that no two of them wait for each other.
"""

import secrets
from collections.abc import Callable, Sequence

from antiphon.drivers.postgres.connection import Connection, Row
from antiphon.drivers.postgres.database import NOW, Database
from antiphon.drivers.postgres.hints import Hints
from antiphon.drivers.postgres.history import keep_history
from antiphon.drivers.postgres.responses import keep_response
from antiphon.drivers.postgres.values import is_storable
from antiphon.ports.runs import Append, Carried, Lease, NewRun, Page, RunState, StaleRun
from antiphon.ports.stores import KeptResponse
from antiphon.turn.history import grow
from antiphon.wire.errors import StoreFault

# A deadline is told by the clock of whoever accepts the run: what counts is how long after that it is.
_CREATE = f"""
WITH run AS (
    INSERT INTO runs (id, owner, status, epoch, last_seq, worker, lease_until, attempt, is_shown, is_public,
        has_effect, priority, created_at, queue_deadline, deadline)
    SELECT $1, $2, $3, $4, cardinality($13::bytea[]) - 1, $5, now + $6, $4, false, $7, false, $8, $9,
        now + $10, now + $11
    FROM (SELECT {NOW} + $14 AS now) AS clock
), request AS (
    INSERT INTO run_requests (id, request, history) VALUES ($1, $12, $15)
)
INSERT INTO run_events (id, seq, time, frame)
SELECT $1, place - 1, 0, frame FROM unnest($13::bytea[]) WITH ORDINALITY AS given (frame, place)
"""  # noqa: S608 - a constant
_CLAIM = f"""
WITH chosen AS MATERIALIZED (
    SELECT id, {NOW} + $3 AS now FROM runs WHERE status = 'queued' AND queue_deadline > {NOW} + $3
    ORDER BY priority DESC, created_at LIMIT $2 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE runs SET status = 'in_progress', epoch = epoch + 1, worker = $1, lease_until = chosen.now + $4,
        attempt = attempt + CASE WHEN upstream_id IS NULL THEN 1 ELSE 0 END
    FROM chosen WHERE runs.id = chosen.id
    RETURNING runs.*
)
SELECT claimed.id, owner, epoch, last_seq, attempt, created_at, deadline, request, history,
    provider, upstream_id, upstream_seq
FROM claimed JOIN run_requests ON run_requests.id = claimed.id ORDER BY priority DESC, created_at
"""  # noqa: S608
_RENEW = f"""
WITH held AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN unnest($1::text[], $2::int[]) AS given (id, epoch)
    ON runs.id = given.id AND runs.epoch = given.epoch WHERE status = 'in_progress' ORDER BY runs.id FOR UPDATE OF runs
)
UPDATE runs SET lease_until = {NOW} + $3 FROM held WHERE runs.id = held.id RETURNING runs.id
"""  # noqa: S608
# The row is locked first, and in order; what it says then is what counts.
_APPEND = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::int[], $5::text[], $6::boolean[], $7::boolean[],
        $15::text[], $16::text[], $17::bigint[])
    AS given (id, epoch, last_seq, length, status, is_shown, has_effect, provider, upstream_id, upstream_seq)
), locked AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN given ON runs.id = given.id AND runs.epoch = given.epoch
    WHERE runs.status = 'in_progress' ORDER BY runs.id FOR UPDATE OF runs
), changed AS (
    UPDATE runs SET last_seq = runs.last_seq + given.length, status = coalesce(given.status, runs.status),
        lease_until = {NOW} + $8,
        is_shown = runs.is_shown OR given.is_shown, has_effect = runs.has_effect OR given.has_effect,
        provider = coalesce(given.provider, runs.provider),
        upstream_id = coalesce(given.upstream_id, runs.upstream_id),
        upstream_seq = coalesce(given.upstream_seq, runs.upstream_seq)
    FROM given JOIN locked ON locked.id = given.id
    WHERE runs.id = given.id AND runs.epoch = given.epoch AND runs.last_seq = given.last_seq
    AND runs.status = 'in_progress'
    RETURNING runs.id
), added AS (
    INSERT INTO run_events (id, seq, time, frame)
    SELECT event.id, seq, time, frame
    FROM unnest($9::text[], $10::bigint[], $11::bigint[], $12::bytea[]) AS event (id, seq, time, frame)
    JOIN changed ON changed.id = event.id
)
SELECT array_agg(id), pg_notify($13, $14 || ' ' || left(string_agg(id, ' '), 7800)) FROM changed HAVING count(*) > 0
"""  # noqa: S608
_COMMITTED = """
SELECT runs.id FROM runs
JOIN unnest($1::text[], $2::int[], $3::bigint[], $4::text[]) AS given (id, epoch, last_seq, status)
ON runs.id = given.id AND runs.epoch = given.epoch AND runs.last_seq = given.last_seq AND runs.status = given.status
"""
_END = f"""
WITH ended AS (
    UPDATE runs SET status = $2, epoch = epoch + 1, last_seq = last_seq + cardinality($3::bytea[])
    WHERE id = $1 AND status IN ('queued', 'in_progress') AND ($4::int IS NULL OR (epoch = $4 AND last_seq = $5))
    RETURNING last_seq, greatest(0, ({NOW} + $6 - created_at) * 1e6)::bigint AS time
), added AS (
    INSERT INTO run_events (id, seq, time, frame)
    SELECT $1, last_seq - cardinality($3::bytea[]) + place, time, frame
    FROM ended, unnest($3::bytea[]) WITH ORDINALITY AS given (frame, place)
)
SELECT pg_notify($7, $8 || ' ' || $1) FROM ended
"""  # noqa: S608
_LET_GO = """
WITH held AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN unnest($1::text[], $2::int[]) AS given (id, epoch)
    ON runs.id = given.id AND runs.epoch = given.epoch WHERE status = 'in_progress' ORDER BY runs.id FOR UPDATE OF runs
)
UPDATE runs SET worker = NULL, lease_until = 0 FROM held WHERE runs.id = held.id
"""
_RESTART = """
WITH restarted AS (
    UPDATE runs SET status = 'queued', epoch = epoch + 1, last_seq = $4, is_shown = is_shown AND last_seq = $4,
        worker = NULL, queue_deadline = deadline
    WHERE id = $1 AND epoch = $2 AND last_seq = $3 AND status = 'in_progress'
    AND (last_seq = $4 OR NOT (is_public AND is_shown)) RETURNING id
), cut AS (
    DELETE FROM run_events USING restarted WHERE run_events.id = restarted.id AND seq > $4
)
SELECT pg_notify($5, $6 || ' ' || $1) FROM restarted
"""
_STALE = f"""
WITH clock AS MATERIALIZED (SELECT {NOW} + $1 AS now), stale AS (
    (SELECT runs.*, CASE WHEN deadline <= now THEN 'deadline'
        WHEN worker IS NULL THEN 'released' ELSE 'lease' END AS why FROM runs, clock
    WHERE status = 'in_progress' AND (lease_until < now OR deadline <= now) ORDER BY created_at LIMIT $2)
    UNION ALL
    (SELECT runs.*, CASE WHEN deadline <= now THEN 'deadline' ELSE 'queue_deadline' END FROM runs, clock
    WHERE status = 'queued' AND queue_deadline <= now ORDER BY queue_deadline LIMIT $2)
    UNION ALL
    (SELECT runs.*, 'ended' FROM runs, clock
    WHERE status NOT IN ('queued', 'in_progress') AND lease_until < now ORDER BY created_at LIMIT $2)
)
SELECT id, owner, attempt, is_shown, is_public, has_effect, why,
    status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq
FROM stale ORDER BY created_at LIMIT $2
"""  # noqa: S608
_STATE_OF = """
SELECT status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq FROM runs WHERE id = $1 AND owner = $2
"""
_SHOWN = """
SELECT history FROM runs JOIN run_requests ON run_requests.id = runs.id WHERE runs.id = $1 AND owner = $2
"""
# One statement, so that the events and where the run stands are of one moment.
_READ = """
SELECT runs.id, frames, times, status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq
FROM unnest($1::text[], $2::bigint[]) AS wanted (id, after) JOIN runs ON runs.id = wanted.id
CROSS JOIN LATERAL (
    SELECT array_agg(frame ORDER BY seq) AS frames, array_agg(time ORDER BY seq) AS times
    FROM run_events WHERE run_events.id = wanted.id AND seq > wanted.after
) AS more
"""
_PUBLISH = "UPDATE runs SET is_public = true WHERE id = $1 AND NOT is_public"
_FORGET = """
WITH gone AS (
    DELETE FROM runs WHERE id = $1 AND ($2::text IS NULL OR owner = $2) RETURNING id
), events AS (
    DELETE FROM run_events USING gone WHERE run_events.id = gone.id
)
DELETE FROM run_requests USING gone WHERE run_requests.id = gone.id RETURNING history
"""
_RELEASE = "SELECT release_history_v1($1)"
_NOTIFY = "SELECT pg_notify($1, $2 || ' ' || $3)"
_QUEUED = "SELECT count(*) FROM runs WHERE status = 'queued'"


class PostgresRuns:
    """Runs of all workers of all hosts."""

    def __init__(
        self, database: Database, lease: float, clock_offset: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Give leases of `lease` seconds; `clock_offset` is added to the database's clock, where a test says so."""
        self._database = database
        self._lease = lease
        self._offset = clock_offset
        self._hints = Hints(database.url)
        self._in_doubt: set[tuple[str, int, int]] = set()
        """Appends of which it is not known whether they were committed: run, epoch, last number before them."""

    def enter(self) -> str:
        """Name a worker of this process, which begins now; that it dies is seen when its leases run out."""
        return secrets.token_hex(8)

    def leave(self, worker: str) -> None:
        """Do nothing: what the worker holds it has let go."""

    async def create(self, new: NewRun, worker: str | None) -> Lease | None:
        """Accept a run: it is on disk when this returns. `worker`, if given, has it from the beginning."""
        status, epoch = ("queued", 0) if worker is None else ("in_progress", 1)
        nodes = grow(new.owner, new.context.before, new.context.new)

        async def work(connection: Connection) -> bytes | None:
            history = await keep_history(connection, new.owner, new.context, nodes)
            await connection.execute(
                _CREATE,
                *(new.id, new.owner, status, epoch, worker, self._lease, new.is_public, new.priority),
                new.created_at,
                new.queue_deadline - new.created_at,
                new.deadline - new.created_at,
                *(new.request, list(new.frames), self._offset(), history),
            )
            return history

        history = await self._database.transact(work)
        if worker is None:
            return None
        return Lease(
            run_id=new.id,
            owner=new.owner,
            epoch=epoch,
            last_seq=len(new.frames) - 1,
            attempt=1,
            created_at=new.created_at,
            deadline=new.deadline,
            request=new.request,
            history=history,
        )

    async def claim(self, worker: str, limit: int) -> list[Lease]:
        """Take up to `limit` queued runs, the most urgent and the oldest first."""
        rows = await self._database.fetch(_CLAIM, worker, limit, self._offset(), self._lease)
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
            for run_id, owner, epoch, last_seq, attempt, created_at, deadline, request, history, *carried in rows
        ]

    async def renew(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Prolong the leases of runs, by id and epoch, and return those that are still held."""
        ids, epochs = [run_id for run_id, _ in held], [epoch for _, epoch in held]
        return {
            row[0] for row in await self._database.fetch(_RENEW, ids, epochs, self._offset() + self._lease)
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
        try:
            rows = await self._database.fetch(
                _APPEND,
                [append.run_id for append in left],
                [append.epoch for append in left],
                [append.last_seq for append in left],
                [len(append.frames) for append in left],
                [append.status for append in left],
                [append.is_shown for append in left],
                [append.has_effect for append in left],
                self._offset() + self._lease,
                *([event[column] for event in events] for column in range(4)),
                *self._hints.address,
                *([_columns(append.carried)[column] for append in left] for column in range(3)),
            )
        except StoreFault:
            self._in_doubt.update(map(_name, appends))
            raise
        return done.union(*(row[0] for row in rows))

    async def _committed(self, appends: Sequence[Append]) -> set[str]:
        """Return the runs that took an append of which no answer came back: nobody else writes in its epoch."""
        rows = await self._database.fetch(
            _COMMITTED,
            [append.run_id for append in appends],
            [append.epoch for append in appends],
            [append.last_seq + len(append.frames) for append in appends],
            [append.status or "in_progress" for append in appends],
        )
        return {row[0] for row in rows}

    async def release(self, held: Sequence[tuple[str, int]]) -> None:
        """Let runs go, by id and epoch, as if their leases had run out: they are stale at once."""
        await self._database.fetch(_LET_GO, [run_id for run_id, _ in held], [epoch for _, epoch in held])

    async def end(
        self, run_id: str, status: str, frames: Sequence[bytes] = (), expected: RunState | None = None
    ) -> bool:
        """End somebody else's run, in a new epoch; False if it has moved on from what was `expected`, or has ended."""
        epoch, last_seq = (None, None) if expected is None else (expected.epoch, expected.last_seq)
        rows = await self._database.fetch(
            _END, run_id, status, list(frames), epoch, last_seq, self._offset(), *self._hints.address
        )
        return bool(rows)

    async def restart(self, run_id: str, state: RunState, keep: int) -> bool:
        """Queue a run again with its first `keep` events, in a new epoch.

        False if it has moved on from `state`, or if others of its events are promised to somebody.
        """
        rows = await self._database.fetch(
            _RESTART, run_id, state.epoch, state.last_seq, keep - 1, *self._hints.address
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
            for row in await self._database.fetch(_STALE, self._offset(), limit)
        ]

    async def state(self, run_id: str, owner: str) -> RunState | None:
        """Return where the owner's run stands; None once it is settled."""
        if not is_storable(run_id):
            return None
        row = await self._database.fetch_row(_STATE_OF, run_id, owner)
        return None if row is None else _state(row)

    async def shown(self, run_id: str, owner: str) -> bytes | None:
        """Return the last item of what the owner's run is shown, "" if that is nothing; None: there is no such run."""
        if not is_storable(run_id):
            return None
        row = await self._database.fetch_row(_SHOWN, run_id, owner)
        return None if row is None else row[0] or b""

    async def read(self, run_id: str, after: int) -> Page:
        """Return the events after the number `after`, and where the run stands."""
        return (await self.read_many([(run_id, after)]))[0]

    async def read_many(self, wanted: Sequence[tuple[str, int]]) -> list[Page]:
        """Do the same for several runs at once."""
        rows = await self._database.fetch(
            _READ, [run_id for run_id, _ in wanted], [after for _, after in wanted]
        )
        pages = {row[0]: _page(row) for row in rows}
        return [pages.get(run_id) or Page() for run_id, _ in wanted]

    async def publish(self, run_id: str) -> None:
        """Promise the events of a run to somebody: from now on none is taken back."""
        await self._database.fetch(_PUBLISH, run_id)

    async def settle(self, kept: KeptResponse) -> bool:
        """Put the answer of an ended run where kept responses are, in place of its log; False if it is gone."""

        async def work(connection: Connection) -> bool:
            row = await connection.fetchrow(_FORGET, kept.id, None)
            if row is None:
                return False
            await keep_response(connection, kept, row[0])
            await connection.execute(_NOTIFY, *self._hints.address, kept.id)
            return True

        return await self._database.transact(work)

    async def delete(self, run_id: str, owner: str) -> bool:
        """Forget the owner's run, whatever its state."""
        if not is_storable(run_id):
            return False

        async def work(connection: Connection) -> bool:
            row = await connection.fetchrow(_FORGET, run_id, owner)
            if row is None:
                return False
            await connection.execute(_RELEASE, row[0])
            await connection.execute(_NOTIFY, *self._hints.address, run_id)
            return True

        return await self._database.transact(work)

    async def queued(self) -> int:
        """Return how many runs wait."""
        row = await self._database.fetch_row(_QUEUED)
        assert row is not None
        return int(row[0])

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that another process has written to."""
        await self._hints.listen(changed)


def _name(append: Append) -> tuple[str, int, int]:
    return append.run_id, append.epoch, append.last_seq


def _page(row: Row) -> Page:
    return Page(row[1] or [], row[2] or [], _state(row[3:]))


def _state(row: Row) -> RunState:
    status, epoch, last_seq, created_at, *carried = row
    return RunState(status, epoch, last_seq, created_at, _carried(carried))


def _columns(carried: Carried | None) -> tuple[str | None, str | None, int | None]:
    return (None,) * 3 if carried is None else (carried.provider, carried.response_id, carried.last_seq)


def _carried(columns: Row) -> Carried | None:
    return None if columns[1] is None else Carried(*columns)
