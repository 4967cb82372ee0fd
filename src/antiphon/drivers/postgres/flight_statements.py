"""What is asked of PostgreSQL about flights. Times are those of its own clock, in seconds."""

from typing import Final

_NOW: Final = "extract(epoch FROM clock_timestamp())::float8"
CHANNEL: Final = "antiphon_flights_"
"""Before the name of the process that is told."""

CLAIM = f"""
INSERT INTO flights AS held (flight, epoch, leader, lease_until) VALUES ($1, $2, $3, {_NOW} + $4)
ON CONFLICT (flight) DO UPDATE
SET epoch = EXCLUDED.epoch, leader = EXCLUDED.leader, lease_until = EXCLUDED.lease_until
WHERE held.lease_until < {_NOW} OR held.epoch = EXCLUDED.epoch
RETURNING 1
"""  # noqa: S608
FOLLOW = f"""
WITH led AS (
    SELECT epoch, leader FROM flights WHERE flight = $1 AND lease_until >= {_NOW}
), following AS (
    INSERT INTO flight_followers (epoch, process, until) SELECT epoch, $2, {_NOW} + $3 FROM led
    ON CONFLICT (epoch, process) DO UPDATE SET until = EXCLUDED.until
)
SELECT epoch, pg_notify('{CHANNEL}' || leader, encode($1, 'hex')) FROM led
"""  # noqa: S608
RENEW = f"""
WITH renewed AS (
    UPDATE flights SET lease_until = {_NOW} + $3
    FROM unnest($1::bytea[], $2::text[]) AS given (flight, epoch)
    WHERE flights.flight = given.flight AND flights.epoch = given.epoch
    RETURNING flights.epoch
)
SELECT epoch, EXISTS (
    SELECT FROM flight_followers WHERE flight_followers.epoch = renewed.epoch AND until >= {_NOW}
) FROM renewed
"""  # noqa: S608
APPEND = f"""
WITH mine AS (
    UPDATE flights SET lease_until = {_NOW} + $5, epoch = coalesce($6, epoch)
    WHERE flight = $1 AND (epoch = $2 OR epoch = $6)
    RETURNING 1
), told AS (
    INSERT INTO flight_pieces (epoch, number, piece, told_at)
    SELECT $2, $3::integer + place - 1, piece, {_NOW}
    FROM mine, unnest($4::bytea[]) WITH ORDINALITY AS given (piece, place)
    ON CONFLICT DO NOTHING
)
SELECT count(*), count(said) FROM mine LEFT JOIN (
    SELECT pg_notify('{CHANNEL}' || process, encode($1, 'hex'))::text AS said
    FROM flight_followers WHERE epoch = $2
) AS notified ON true
"""  # noqa: S608
RELEASE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::text[]) AS given (flight, epoch)
), followed AS MATERIALIZED (
    SELECT epoch, process FROM flight_followers JOIN given USING (epoch) WHERE until >= {_NOW}
), gone AS (
    DELETE FROM flights USING given WHERE flights.flight = given.flight AND flights.epoch = given.epoch
    AND ($3 OR given.epoch NOT IN (SELECT epoch FROM followed))
    RETURNING flights.flight, flights.epoch
), told AS (
    SELECT pg_notify('{CHANNEL}' || process, encode(flight, 'hex'))::text AS said
    FROM gone JOIN followed USING (epoch)
)
SELECT gone.epoch, gone.epoch IS NULL, (SELECT count(said) FROM told)
FROM gone UNION ALL SELECT DISTINCT epoch, true, 0 FROM followed WHERE NOT $3
"""  # noqa: S608
LEAVE = f"""
WITH gone AS (DELETE FROM flight_followers WHERE epoch = $2 AND process = $3 RETURNING epoch)
SELECT pg_notify('{CHANNEL}' || leader, encode($1, 'hex')) FROM flights JOIN gone USING (epoch) WHERE flight = $1
"""  # noqa: S608
READ = f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::integer[], $4::integer[]) WITH ORDINALITY
    AS wanted (flight, epoch, position, most, place)
), attending AS (
    INSERT INTO flight_followers (epoch, process, until) SELECT epoch, $5, {_NOW} + $6 FROM wanted
    ON CONFLICT (epoch, process) DO UPDATE SET until = EXCLUDED.until
)
SELECT array(
    SELECT piece FROM flight_pieces WHERE flight_pieces.epoch = wanted.epoch AND number >= position
    ORDER BY number LIMIT most
), EXISTS (
    SELECT FROM flights
    WHERE flights.flight = wanted.flight AND flights.epoch = wanted.epoch AND lease_until >= {_NOW}
) FROM wanted ORDER BY place
"""  # noqa: S608
SWEEP: Final = (
    f"DELETE FROM flights WHERE lease_until < {_NOW} - $1",  # noqa: S608
    f"DELETE FROM flight_followers WHERE until < {_NOW} - $1",  # noqa: S608
    f"""
    DELETE FROM flight_pieces WHERE told_at < {_NOW} - $1
    AND NOT EXISTS (SELECT FROM flights WHERE flights.epoch = flight_pieces.epoch)
    AND NOT EXISTS (SELECT FROM flight_followers WHERE flight_followers.epoch = flight_pieces.epoch)
    """,  # noqa: S608
)
