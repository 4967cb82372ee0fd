-- oldest program: 1
-- The same table as in SQLite; see there.
CREATE TABLE idempotency (
    identity    bytea PRIMARY KEY,
    fingerprint bytea NOT NULL,
    answer_id   text NOT NULL,
    holder      text,
    held_until  double precision NOT NULL,
    expires_at  double precision NOT NULL,
    has_ended   boolean NOT NULL DEFAULT false,
    outcome     bytea,
    size        bigint NOT NULL
);
CREATE INDEX idempotency_by_answer ON idempotency (answer_id);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
