"""The statements of `runs`. Those that touch several runs lock them in the order of their ids."""

from antiphon.drivers.postgres.database import now_at

CREATE = f"""
WITH run AS (
    INSERT INTO runs (id, owner, status, epoch, last_seq, worker, lease_until, attempt, is_shown, is_public,
        has_effect, priority, created_at, queue_deadline, deadline)
    SELECT $1, $2, $3, $4, cardinality($13::bytea[]) - 1, $5, now + $6, $4, $16, $7, false, $8, $9,
        now + $10, now + $11
    FROM (SELECT {now_at(14)} AS now) AS clock WHERE keep_history_v1($19, $20, $21, $22, $23, $24)
    RETURNING id
), request AS (
    INSERT INTO run_requests (id, request, history, conversation, given) SELECT id, $12, $15, $17, $18 FROM run
), events AS (
    INSERT INTO run_events (id, seq, time, frame)
    SELECT id, place - 1, 0, frame FROM run, unnest($13::bytea[]) WITH ORDINALITY AS given (frame, place)
)
SELECT id FROM run
"""  # noqa: S608 - a constant
# Owners are found by leaps through the index, and of each only as many runs are looked at as can be taken. What an
# owner has in progress counts as taken before: so they take turns, and nobody has more than may be.
_WAITING = f"""
WITH RECURSIVE clock AS MATERIALIZED (SELECT {now_at(1)} AS now), owners (owner) AS (
    SELECT min(owner) FROM runs WHERE status = 'queued'
    UNION ALL
    SELECT (SELECT min(owner) FROM runs WHERE status = 'queued' AND owner > owners.owner)
    FROM owners WHERE owner IS NOT NULL
), running AS (
    SELECT owner, count(*) AS count FROM runs WHERE status = 'in_progress' GROUP BY owner
), waiting AS (
    SELECT next.id, priority, created_at, coalesce(running.count, 0)
        + row_number() OVER (PARTITION BY next.owner ORDER BY priority DESC, created_at) AS turn
    FROM clock CROSS JOIN owners CROSS JOIN LATERAL (
        SELECT id, owner, priority, created_at FROM runs
        WHERE status = 'queued' AND owner = owners.owner AND queue_deadline > now
        ORDER BY priority DESC, created_at LIMIT $2
    ) AS next LEFT JOIN running ON running.owner = next.owner
)
"""  # noqa: S608
CLAIM = f"""{_WAITING}, chosen AS (
    SELECT id, turn FROM waiting WHERE $3::bigint IS NULL OR turn <= $3
    ORDER BY priority DESC, turn, created_at LIMIT $2
), locked AS MATERIALIZED (
    SELECT runs.id, turn FROM runs JOIN chosen ON chosen.id = runs.id WHERE status = 'queued'
    ORDER BY runs.id FOR UPDATE OF runs SKIP LOCKED
), claimed AS (
    UPDATE runs SET status = 'in_progress', epoch = epoch + 1, worker = $4, lease_until = now + $5,
        attempt = attempt + CASE WHEN upstream_id IS NULL THEN 1 ELSE 0 END
    FROM locked, clock WHERE runs.id = locked.id
    RETURNING runs.*, turn
)
SELECT claimed.id, owner, epoch, last_seq, attempt, created_at, deadline, request, history,
    conversation, provider, upstream_id, upstream_seq
FROM claimed JOIN run_requests ON run_requests.id = claimed.id ORDER BY priority DESC, turn, created_at
"""  # noqa: S608
IS_URGENT_WAITING = f"""{_WAITING}
SELECT 1 FROM waiting WHERE priority >= $3 AND ($4::bigint IS NULL OR turn <= $4) LIMIT 1
"""  # noqa: S608
# Whoever counts what is in progress must be the only one who does, until what it adds can be counted too: those who
# claim, and of those who accept, one for each owner.
LOCK_ALL = "SELECT pg_advisory_xact_lock(4207849484110102)"
LOCK_ONE = """
SELECT pg_advisory_xact_lock_shared(4207849484110102), pg_advisory_xact_lock(1879048193, hashtext($1))
"""
IN_PROGRESS_OF = "SELECT count(*) FROM runs WHERE status = 'in_progress' AND owner = $1"
IS_ANY_WAITING = "SELECT 1 FROM runs WHERE status = 'queued' LIMIT 1"
QUEUED = "SELECT count(*) FROM runs WHERE status = 'queued'"
QUEUED_OF = "SELECT count(*) FROM runs WHERE status = 'queued' AND owner = $1"
MINE = """
SELECT runs.id, runs.epoch FROM runs JOIN unnest($1::text[], $2::int[]) AS given (id, epoch)
ON runs.id = given.id AND runs.epoch = given.epoch WHERE status = 'in_progress'
"""
RENEW = f"""
WITH held AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN unnest($1::text[], $2::int[]) AS given (id, epoch)
    ON runs.id = given.id AND runs.epoch = given.epoch WHERE status = 'in_progress' ORDER BY runs.id FOR UPDATE OF runs
)
UPDATE runs SET lease_until = {now_at(4)} + $3 FROM held WHERE runs.id = held.id RETURNING runs.id
"""  # noqa: S608
# The row is locked first, and in order; what it says then is what counts.
APPEND = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::int[], $5::text[], $6::boolean[], $7::boolean[],
        $15::text[], $16::text[], $17::bigint[])
    AS given (id, epoch, last_seq, length, status, is_shown, has_effect, provider, upstream_id, upstream_seq)
), locked AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN given ON runs.id = given.id AND runs.epoch = given.epoch
    WHERE runs.status = 'in_progress' ORDER BY runs.id FOR UPDATE OF runs
), changed AS (
    UPDATE runs SET last_seq = runs.last_seq + given.length, status = coalesce(given.status, runs.status),
        lease_until = {now_at(18)} + $8,
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
COMMITTED = """
SELECT runs.id FROM runs
JOIN unnest($1::text[], $2::int[], $3::bigint[], $4::text[]) AS given (id, epoch, last_seq, status)
ON runs.id = given.id AND runs.epoch = given.epoch AND runs.last_seq = given.last_seq AND runs.status = given.status
"""
END = f"""
WITH ended AS (
    UPDATE runs SET status = $2, epoch = epoch + 1, last_seq = last_seq + cardinality($3::bytea[])
    WHERE id = $1 AND status IN ('queued', 'in_progress') AND ($4::int IS NULL OR (epoch = $4 AND last_seq = $5))
    RETURNING last_seq, greatest(0, ({now_at(6)} - created_at) * 1e6)::bigint AS time
), added AS (
    INSERT INTO run_events (id, seq, time, frame)
    SELECT $1, last_seq - cardinality($3::bytea[]) + place, time, frame
    FROM ended, unnest($3::bytea[]) WITH ORDINALITY AS given (frame, place)
)
SELECT pg_notify($7, $8 || ' ' || $1) FROM ended
"""  # noqa: S608
LET_GO = """
WITH held AS MATERIALIZED (
    SELECT runs.id FROM runs JOIN unnest($1::text[], $2::int[]) AS given (id, epoch)
    ON runs.id = given.id AND runs.epoch = given.epoch WHERE status = 'in_progress' ORDER BY runs.id FOR UPDATE OF runs
)
UPDATE runs SET worker = NULL, lease_until = 0 FROM held WHERE runs.id = held.id
"""
RESTART = """
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
STALE = f"""
WITH clock AS MATERIALIZED (SELECT {now_at(1)} AS now), stale AS (
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
STATE_OF = """
SELECT status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq FROM runs WHERE id = $1 AND owner = $2
"""
SHOWN = """
SELECT history FROM runs JOIN run_requests ON run_requests.id = runs.id WHERE runs.id = $1 AND owner = $2
"""
# One statement, so that the events and where the run stands are of one moment.
READ = """
SELECT runs.id, frames, times, status, epoch, last_seq, created_at, provider, upstream_id, upstream_seq
FROM unnest($1::text[], $2::bigint[]) AS wanted (id, after) JOIN runs ON runs.id = wanted.id
CROSS JOIN LATERAL (
    SELECT array_agg(frame ORDER BY seq) AS frames, array_agg(time ORDER BY seq) AS times
    FROM run_events WHERE run_events.id = wanted.id AND seq > wanted.after
) AS more
"""
PUBLISH = "UPDATE runs SET is_public = true WHERE id = $1 AND NOT is_public"
FORGET = """
WITH gone AS (
    DELETE FROM runs WHERE id = $1 AND ($2::text IS NULL OR owner = $2) RETURNING id
), events AS (
    DELETE FROM run_events USING gone WHERE run_events.id = gone.id
)
DELETE FROM run_requests USING gone WHERE run_requests.id = gone.id RETURNING history
"""
LEFT_BEHIND = "SELECT id FROM runs WHERE deadline < $1 LIMIT $2 FOR UPDATE SKIP LOCKED"
RELEASE = "SELECT release_history_v1($1)"
NOTIFY = "SELECT pg_notify($1, $2 || ' ' || $3)"
CONVERSATION = """
SELECT owner, conversation, given, history, array(SELECT frame FROM run_events WHERE id = $1 ORDER BY seq)
FROM runs JOIN run_requests ON run_requests.id = runs.id WHERE runs.id = $1
"""

NOTICE = "INSERT INTO webhook_notices (id, run_id, hook) VALUES ($1, $2, $3)"
